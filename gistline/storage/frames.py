"""Frames as jobs: claim, give back, finish. One statement or a few each, all inside the caller's transaction.

Who takes what is settled by ``FOR UPDATE SKIP LOCKED``; who finishes, by *first writer wins*: a frame that has a final
state keeps it, so a worker that outlived its lease does no harm.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final, Self, cast
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Double,
    Integer,
    String,
    Table,
    TextClause,
    Update,
    Uuid,
    bindparam,
    func,
    literal,
    select,
    text,
    true,
    update,
)
from sqlalchemy.orm import Session

from gistline.domain import DeadLetterKind, Detection, FrameState, Verdict, VerdictKind
from gistline.storage.alarm_inbox import tell_rules
from gistline.storage.arrays import among, among_given, given, given_ids, unnest_given
from gistline.storage.dead_letters import NewLetter, write_letters
from gistline.storage.findings import Measure, NewFinding, NewVerdict, save_findings, save_verdicts
from gistline.storage.tables import FrameRow

FRAMES: Final = cast("Table", FrameRow.__table__)
# Written out, not bound: the planner must see the text of the partial indexes' conditions.
PENDING: Final = text("frames.state = 'pending'")
RUNNING: Final = text("frames.state = 'running'")
NOT_FINAL: Final = text("frames.state IN ('pending', 'running')")
FRESH: Final = text("(frames.attempts = 0 AND frames.error IS NULL)")
SUSPECT: Final = text("(frames.attempts > 0 OR frames.error IS NOT NULL)")
DUE: Final = text("frames.available_at <= now() AND (frames.expires_at IS NULL OR frames.expires_at > now())")

QUEUE_ORDER: Final = (FrameRow.priority, FrameRow.queue_at, FrameRow.id)
"""Smallest ``priority`` first, then by place in the queue: cameras take turns there, however much one sends."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Who claims and for how long; ``token`` names one batch of one worker."""

    token: UUID
    seconds: float


@dataclass(frozen=True, slots=True)
class ClaimedFrame:
    """What a worker needs to know of a frame; ``attempts`` counts this one."""

    id: UUID
    sha256: str
    attempts: int
    priority: int
    accepted_at: datetime
    camera_id: int
    queue_at: datetime
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one frame ended. One that was not inspected has the reason in ``error`` and never an OK verdict."""

    frame_id: UUID
    state: FrameState
    verdict: Verdict
    findings: Sequence[tuple[Detection, int]] = ()
    """Each with its severity."""
    error: str | None = None
    letter: DeadLetterKind = DeadLetterKind.FAILED
    """What its dead letter says, should it have failed."""

    @classmethod
    def inspected(cls, frame_id: UUID, verdict: Verdict, findings: Sequence[tuple[Detection, int]]) -> Self:
        """A detector looked at it."""
        return cls(frame_id, FrameState.INSPECTED, verdict, findings)

    @classmethod
    def failed(cls, frame_id: UUID, reason: str, letter: DeadLetterKind = DeadLetterKind.FAILED) -> Self:
        """Nobody could look at it: the part must be inspected again, and somebody must look at its dead letter."""
        verdict = Verdict(VerdictKind.REINSPECT, reason)
        return cls(frame_id, FrameState.FAILED, verdict, error=reason, letter=letter)

    @classmethod
    def expired(cls, frame_id: UUID, reason: str) -> Self:
        """Nobody looked at it in time: the part must be inspected again."""
        return cls(frame_id, FrameState.EXPIRED, Verdict(VerdictKind.REINSPECT, reason), error=reason)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why claimed frames go back, and how often that may happen.

    The wait before the second attempt is ``backoff_s`` seconds and doubles each time. ``counted`` is false when the
    engine may have been at fault and not the frames; ``letter`` is what the dead letter of one that fails says.
    """

    reason: str
    max_attempts: int
    backoff_s: float
    counted: bool = True
    letter: DeadLetterKind = DeadLetterKind.FAILED


def claim_fresh(session: Session, lease: Lease, *, limit: int, ids: Sequence[UUID] = ()) -> list[ClaimedFrame]:
    """Claim pending frames that were never tried: those of ``ids`` first, the rest in queue order."""
    claimed: list[ClaimedFrame] = []
    if ids:
        claimed = _claim(session, CLAIM_NAMED, lease, limit=limit, ids=ids)
    if len(claimed) < limit:
        claimed += _claim(session, CLAIM_FRESH, lease, limit=limit - len(claimed))
    return claimed


def claim_suspect(session: Session, lease: Lease) -> list[ClaimedFrame]:
    """Claim one frame that was tried before: it runs alone, because it may be what brought its batch down."""
    return _claim(session, CLAIM_SUSPECT, lease, limit=1)


def suspect_is_due(session: Session) -> bool:
    """Whether :func:`claim_suspect` would find one."""
    return session.connection().execute(SUSPECT_IS_DUE).first() is not None


def finish(session: Session, outcomes: Iterable[Outcome], *, token: UUID | None, measure: Measure) -> set[UUID]:
    """Write the ends of frames that have none yet, with verdicts and findings.

    Returns:
        The ids written; the others were finished by somebody else, and theirs are the results that stand.

    """
    wanted = {outcome.frame_id: outcome for outcome in outcomes}
    ours = [wanted[frame_id] for frame_id in _lock_open(session, wanted)]
    if not ours:
        return set()
    _end(session, ours, token=token, engine_id=measure.engine_id)
    write_letters(
        session,
        [NewLetter(one.frame_id, one.letter, one.error or "") for one in ours if one.state is FrameState.FAILED],
    )
    save_verdicts(session, [NewVerdict(one.frame_id, one.verdict, one.error is None) for one in ours], measure)
    save_findings(
        session, [NewFinding(one.frame_id, seen, rank) for one in ours for seen, rank in one.findings], measure
    )
    tell_rules(session, [one.frame_id for one in ours])
    return {one.frame_id for one in ours}


def give_back(session: Session, ids: Sequence[UUID], token: UUID) -> None:
    """Undo a claim as if it had never been: for a worker that leaves, or whose store is away."""
    session.execute(_unclaim(ids).where(FrameRow.token == token, RUNNING).values(attempts=FrameRow.attempts - 1))


def retry_or_fail(
    session: Session, ids: Sequence[UUID], trouble: Trouble, *, token: UUID | None, measure: Measure
) -> set[UUID]:
    """Return running frames that went wrong to the queue, to be tried alone and later; those tried enough fail.

    With a ``token``, only frames that are still claimed under it.

    Returns:
        The ids that failed.

    """
    held = select(FrameRow.id, FrameRow.attempts).where(among(FrameRow.id, ids), RUNNING)
    if token is not None:
        held = held.where(FrameRow.token == token)
    tried = {row.id: row.attempts for row in session.execute(held.order_by(FrameRow.id).with_for_update())}
    spent = [one for one, attempts in tried.items() if trouble.counted and attempts >= trouble.max_attempts]
    again = [one for one in tried if one not in spent]
    if again:
        _put_off(session, again, trouble)
    ends = [Outcome.failed(one, f"{trouble.reason} (attempt {tried[one]}, the last)", trouble.letter) for one in spent]
    return finish(session, ends, token=token, measure=measure)


def _claim(
    session: Session, statement: Update, lease: Lease, *, limit: int, ids: Sequence[UUID] = ()
) -> list[ClaimedFrame]:
    named = given_ids(ids) if ids else {}
    about = {"most": limit, "lease_token": lease.token, "lease_s": lease.seconds} | named
    claimed = [ClaimedFrame(*row) for row in session.connection().execute(statement, about)]
    return sorted(claimed, key=lambda frame: (frame.priority, frame.queue_at, frame.id))


def _unclaim(ids: Sequence[UUID]) -> Update:
    return (
        update(FrameRow)
        .where(among(FrameRow.id, ids))
        .values(state=FrameState.PENDING, lease_until=None, token=None, rings=0)
        .execution_options(synchronize_session=False)
    )


def _put_off(session: Session, ids: Sequence[UUID], trouble: Trouble) -> None:
    attempts = FrameRow.attempts if trouble.counted else FrameRow.attempts - 1
    wait = func.make_interval(0, 0, 0, 0, 0, 0, trouble.backoff_s * func.power(2, func.greatest(attempts - 1, 0)))
    again = _unclaim(ids).values(attempts=attempts, available_at=func.now() + wait, error=trouble.reason)
    session.execute(again)


def _lock_open(session: Session, ids: Collection[UUID]) -> Sequence[UUID]:
    """Lock those that are not final, in one order for all workers, so that two of them cannot block each other."""
    return session.connection().scalars(LOCK_OPEN, given_ids(ids)).all()


def _end(session: Session, outcomes: Iterable[Outcome], *, token: UUID | None, engine_id: int | None) -> None:
    ends = list(outcomes)
    ids = [one.frame_id for one in ends]
    new = given(
        id=ids,
        state=[one.state for one in ends],
        error=[one.error for one in ends],
        engine_id=[None if one.error else engine_id for one in ends],
    )
    session.connection().execute(END, new | given_ids(ids) | {"by_token": token})


def _claiming(condition: ColumnElement[bool] | TextClause, among_these: ColumnElement[bool]) -> Update:
    """Claim the first ``:most`` due frames of a kind."""
    picked = select(FRAMES.c.id).where(PENDING, condition, DUE, among_these)
    picked = picked.order_by(*(FRAMES.c[one.key] for one in QUEUE_ORDER)).limit(bindparam("most", type_=Integer()))
    rows = picked.with_for_update(skip_locked=True).cte("picked")
    seconds: Any = bindparam("lease_s", type_=Double())
    return (
        update(FRAMES)
        .where(FRAMES.c.id == rows.c.id)
        .values(
            state=FrameState.RUNNING,
            attempts=FRAMES.c.attempts + 1,
            token=bindparam("lease_token", type_=Uuid()),
            lease_until=func.now() + func.make_interval(0, 0, 0, 0, 0, 0, seconds),
        )
        .returning(*(FRAMES.c[field.name] for field in fields(ClaimedFrame)))
    )


def _ending() -> Update:
    new = unnest_given(id=Uuid(), state=FRAMES.c.state.type, error=String(), engine_id=Integer())
    taken = {name: new.c[name] for name in ("state", "error", "engine_id")}
    end = update(FRAMES).where(FRAMES.c.id == new.c.id, among_given(FRAMES.c.id))
    by = bindparam("by_token", type_=Uuid())
    return end.values(**taken, token=by, lease_until=None, finished_at=func.now())


# Built once, since a frame that an idle worker takes up waits for every millisecond of this.
CLAIM_FRESH: Final = _claiming(FRESH, true())
CLAIM_NAMED: Final = _claiming(FRESH, among_given(FRAMES.c.id))
CLAIM_SUSPECT: Final = _claiming(SUSPECT, true())
SUSPECT_IS_DUE: Final = select(literal(1)).select_from(FRAMES).where(PENDING, SUSPECT, DUE).limit(1)
LOCK_OPEN: Final = (
    select(FRAMES.c.id).where(among_given(FRAMES.c.id), NOT_FINAL).order_by(FRAMES.c.id).with_for_update()
)
END: Final = _ending()
