"""Frames as jobs: claim, give back, finish. One statement or a few each, all inside the caller's transaction.

Who takes what is settled by ``FOR UPDATE SKIP LOCKED``; who finishes, by *first writer wins*: a frame that has a final
state keeps it, so a worker that outlived its lease does no harm.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import Enum, auto
from typing import Final, Self, cast
from uuid import UUID

from sqlalchemy import (
    Integer,
    String,
    Table,
    TextClause,
    Update,
    Uuid,
    bindparam,
    func,
    select,
    text,
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


class Turn(Enum):
    """Which frames a claim looks for. Suspects were tried before and may be what brought their batch down."""

    SUSPECT_FIRST = auto()
    FRESH_FIRST = auto()
    FRESH = auto()
    FRESH_BESIDE_OTHERS = auto()
    """While another batch runs: nothing when a suspect is due, which must find the worker empty-handed."""


def claim(
    session: Session, turn: Turn, lease: Lease, *, limit: int, ids: Sequence[UUID] = ()
) -> tuple[list[ClaimedFrame], bool]:
    """Claim up to ``limit`` frames that were never tried, those of ``ids`` first, or one that was, alone.

    Returns:
        The frames, and whether it is a suspect.

    """
    about = {"most": limit, "token": lease.token, "seconds": lease.seconds, "ids": list(ids)}
    about |= {"lowest": min(ids, default=None), "highest": max(ids, default=None)}
    rows = session.connection().execute(CLAIMS[turn], about).all()
    claimed = [ClaimedFrame(*row[1:-1]) for row in rows]
    claimed.sort(key=lambda one: (one.id not in ids, one.priority, one.queue_at, one.id))
    return claimed, any(row[0] for row in rows)


def claim_fresh(session: Session, lease: Lease, *, limit: int, ids: Sequence[UUID] = ()) -> list[ClaimedFrame]:
    """Claim pending frames that were never tried: those of ``ids`` first, the rest in queue order."""
    return claim(session, Turn.FRESH, lease, limit=limit, ids=ids)[0]


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


def _claiming(turn: Turn) -> TextClause:
    """One round trip, since a frame that an idle worker takes up waits for it.

    Parts are read only as far as ``picked`` asks, so no more rows are locked than claimed. The commit of a claim need
    not be on the disk: should the server die, the frame is pending again and whoever finishes it first wins. So
    ``synchronous_commit`` is off, for this transaction and where something was claimed.
    """
    due, order = f"FROM frames WHERE {PENDING} AND {DUE}", "ORDER BY priority, queue_at, id"
    unless = {
        Turn.SUSPECT_FIRST: "AND NOT EXISTS (SELECT FROM suspect)",
        Turn.FRESH_BESIDE_OTHERS: f"AND NOT EXISTS (SELECT {due} AND {SUSPECT})",
    }.get(turn, "")
    fresh, locked = f"SELECT id {due} AND {FRESH} {unless}", f"{order} LIMIT :most FOR UPDATE SKIP LOCKED"
    within = "id BETWEEN CAST(:lowest AS uuid) AND CAST(:highest AS uuid)"
    parts = {
        "named": f"{fresh} AND id = ANY(CAST(:ids AS uuid[])) AND {within} {locked}",
        "others": f"{fresh} AND id <> ALL(CAST(:ids AS uuid[])) {locked}",
    }
    suspect = f"SELECT id {due} AND {SUSPECT} %s {order} LIMIT 1 FOR UPDATE SKIP LOCKED"
    if turn is Turn.SUSPECT_FIRST:
        parts = {"suspect": suspect % ""} | parts
    if turn is Turn.FRESH_FIRST:
        parts["suspect"] = suspect % "AND NOT EXISTS (SELECT FROM named) AND NOT EXISTS (SELECT FROM others)"
    parts["picked"] = " UNION ALL ".join(f"SELECT id FROM {name}" for name in parts) + " LIMIT :most"  # noqa: S608
    columns = ", ".join(f"frames.{field.name}" for field in fields(ClaimedFrame))
    claim = (
        "UPDATE frames SET state = 'running', attempts = attempts + 1, token = CAST(:token AS uuid), "  # noqa: S608
        "lease_until = now() + make_interval(secs => :seconds) FROM picked WHERE frames.id = picked.id "
        f"RETURNING frames.attempts > 1 OR frames.error IS NOT NULL, {columns}, "
        "set_config('synchronous_commit', 'off', true)"
    )
    return text(f"WITH {', '.join(f'{name} AS MATERIALIZED ({part})' for name, part in parts.items())} {claim}")


def _ending() -> Update:
    new = unnest_given(id=Uuid(), state=FRAMES.c.state.type, error=String(), engine_id=Integer())
    taken = {name: new.c[name] for name in ("state", "error", "engine_id")}
    end = update(FRAMES).where(FRAMES.c.id == new.c.id, among_given(FRAMES.c.id))
    by = bindparam("by_token", type_=Uuid())
    return end.values(**taken, token=by, lease_until=None, finished_at=func.now())


# Built once, since a frame that an idle worker takes up waits for every millisecond of this.
CLAIMS: Final = {turn: _claiming(turn) for turn in Turn}
LOCK_OPEN: Final = (
    select(FRAMES.c.id).where(among_given(FRAMES.c.id), NOT_FINAL).order_by(FRAMES.c.id).with_for_update()
)
END: Final = _ending()
