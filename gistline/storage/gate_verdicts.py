"""One verdict for each frame that a gate waits for: the first one wins, numbers have no gap, each is published.

Frames are awaited from their acceptance on, in the transaction that accepts them. Whoever decides locks the frames'
rows first, in the order of their ids, and the cameras' counters after that, so that two of them cannot wait for each
other in a circle.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Final, cast
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    String,
    Table,
    Update,
    Uuid,
    any_,
    bindparam,
    case,
    delete,
    func,
    literal,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from gistline.domain import VerdictKind
from gistline.domain_acting import GateDecision, GateVerdict, VerdictSource
from gistline.settings_acting import VerdictChannelSettings
from gistline.storage.arrays import IDS, among, given, given_ids, unnest_given, unnested, uuids
from gistline.storage.tables import Camera, FrameRow, GateChannelRow, GateVerdictRow

VERDICTS: Final = cast("Table", GateVerdictRow.__table__)
CHANNELS: Final = cast("Table", GateChannelRow.__table__)
AWAITED: Final = text("gate_verdicts.kind IS NULL")
UNPUBLISHED: Final = text("gate_verdicts.kind IS NOT NULL AND gate_verdicts.published_at IS NULL")
CHUNK: Final = 200


@dataclass(frozen=True, slots=True)
class _Awaited:
    """What a verdict says of its frame; ``kind`` is None while nobody has decided."""

    frame_id: UUID
    kind: VerdictKind | None
    camera_id: int
    camera: str
    line: str
    frame_key: str
    part_number: str | None
    captured_at: datetime
    accepted_at: datetime


def await_verdicts(session: Session, frame_ids: Iterable[UUID], settings: VerdictChannelSettings) -> None:
    """From the transaction's commit on, somebody watches that these frames get a verdict in time."""
    own = settings.deadline_ms_by_camera
    deadline: Any = literal(settings.deadline_ms, BigInteger())
    if own:
        deadline = case(*((Camera.name == name, literal(ms, BigInteger())) for name, ms in own.items()), else_=deadline)
    columns = {
        "frame_id": FrameRow.id,
        "camera_id": FrameRow.camera_id,
        "camera": Camera.name,
        "line": FrameRow.line,
        "frame_key": FrameRow.idempotency_key,
        "part_number": FrameRow.part_number,
        "captured_at": FrameRow.captured_at,
        "accepted_at": FrameRow.accepted_at,
        "due_at": FrameRow.accepted_at + func.make_interval(0, 0, 0, 0, 0, 0, deadline / 1000.0),
    }
    frames = select(*columns.values()).join(Camera, Camera.id == FrameRow.camera_id)
    frames = frames.where(among(FrameRow.id, frame_ids))
    new = insert(GateVerdictRow).from_select(list(columns), frames)
    session.execute(new.on_conflict_do_nothing())


def decide(session: Session, decisions: Sequence[GateDecision], settings: VerdictChannelSettings) -> list[GateVerdict]:
    """Decide about frames that nobody decided about before; what comes too late is recorded as superseded.

    Returns:
        The verdicts that stand because of this call, in the order of ``decisions``: publish them after the commit.

    """
    wanted = {one.frame_id: one for one in decisions}
    rows = _lock(session, wanted)
    if unknown := wanted.keys() - rows.keys():
        await_verdicts(session, unknown, settings)  # accepted before the channel was switched on
        rows |= _lock(session, unknown)
    found = [(one, rows[one.frame_id]) for one in wanted.values() if one.frame_id in rows]
    ours = [(one, row) for one, row in found if row.kind is None]
    _supersede(session, [one for one, row in found if row.kind is not None])
    if not ours:
        return []
    counts = Counter(row.camera_id for _, row in ours)
    numbers, decided_at = _count(session, {row.camera_id: row.camera for _, row in ours}, counts)
    numbered = []
    for decision, row in ours:
        numbers[row.camera_id] += 1
        numbered.append((decision, row, numbers[row.camera_id]))
    _write(session, numbered, decided_at + timedelta(milliseconds=settings.publish_again_ms), decided_at)
    return [_verdict(decision, row, seq, decided_at) for decision, row, seq in numbered]


def overdue(session: Session) -> list[UUID]:
    """Frames whose deadline passed without a verdict, locked; those that another process decides about are left out."""
    late = select(GateVerdictRow.frame_id).where(AWAITED, GateVerdictRow.due_at <= func.clock_timestamp())
    late = late.order_by(GateVerdictRow.due_at).limit(CHUNK)
    return list(session.scalars(late.with_for_update(skip_locked=True)))


def next_due_s(session: Session) -> float | None:
    """Seconds until the next deadline; None when nothing is awaited."""
    left = func.extract("epoch", func.min(GateVerdictRow.due_at) - func.clock_timestamp())
    found = session.scalar(select(left).where(AWAITED))
    return None if found is None else float(found)


def take_unpublished(session: Session, *, again_ms: int) -> list[GateVerdict]:
    """Decided verdicts that the broker should have by now; nobody else is given them for ``again_ms``."""
    due = select(GateVerdictRow).where(UNPUBLISHED, GateVerdictRow.publish_at <= func.clock_timestamp())
    due = due.order_by(GateVerdictRow.camera_id, GateVerdictRow.seq).limit(CHUNK)
    rows = session.scalars(due.with_for_update(skip_locked=True)).all()
    if rows:
        later = func.clock_timestamp() + timedelta(milliseconds=again_ms)
        put_off = update(GateVerdictRow).where(GateVerdictRow.frame_id == any_(uuids(one.frame_id for one in rows)))
        session.execute(put_off.values(publish_at=later).execution_options(synchronize_session=False))
    return [_stored(row) for row in rows]


def mark_published(session: Session, frame_ids: Sequence[UUID]) -> None:
    """The broker has these."""
    if frame_ids:
        session.connection().execute(MARK_PUBLISHED, given_ids(frame_ids))


def last_numbers(session: Session) -> dict[str, int]:
    """Number of each camera's last verdict that was decided, by the camera's name."""
    return {row.camera: row.last_seq for row in session.scalars(select(GateChannelRow))}


@dataclass(frozen=True, slots=True)
class ChannelState:
    """The channel of one camera: verdicts by source, those that wait, and those that came too late."""

    camera: str
    last_seq: int
    inspection: int
    failure: int
    deadline: int
    awaited: int
    unpublished: int
    superseded: int


def channel_states(session: Session) -> list[ChannelState]:
    """Every camera's channel, over the verdicts that are still kept."""
    row = GateVerdictRow
    counts: tuple[Any, ...] = (
        *(func.count().filter(row.source == one) for one in VerdictSource),
        func.count().filter(row.kind.is_(None)),
        func.count().filter(UNPUBLISHED),
        func.count().filter(row.late_kind.is_not(None)),
    )
    statement = select(row.camera, func.coalesce(func.max(row.seq), 0), *counts).group_by(row.camera)
    return [ChannelState(*tuple(found)) for found in session.execute(statement.order_by(row.camera))]


def prune_verdicts(session: Session, *, keep_days: int) -> bool:
    """Delete what was told long ago, :data:`CHUNK` rows at most; whether more may be left."""
    old = GateVerdictRow.decided_at < func.now() - timedelta(days=keep_days)
    oldest = select(GateVerdictRow.frame_id).where(old, GateVerdictRow.published_at.is_not(None))
    oldest = oldest.order_by(GateVerdictRow.decided_at).limit(CHUNK).with_for_update(skip_locked=True)
    gone = delete(GateVerdictRow).where(GateVerdictRow.frame_id.in_(oldest)).returning(GateVerdictRow.frame_id)
    return len(session.scalars(gone.execution_options(synchronize_session=False)).all()) == CHUNK


def _lock(session: Session, frame_ids: Collection[UUID]) -> dict[UUID, _Awaited]:
    return {row.frame_id: _Awaited(*row) for row in session.connection().execute(LOCK, given_ids(frame_ids))}


def _count(session: Session, cameras: Mapping[int, str], counts: Mapping[int, int]) -> tuple[dict[int, int], datetime]:
    """Move the cameras' counters; returns where each stood before, and the moment."""
    order = sorted(counts)  # two transactions take the counters in the same order
    new = given(camera_id=order, camera=[cameras[one] for one in order], last_seq=[counts[one] for one in order])
    returned = session.connection().execute(COUNT, new).all()
    return {row[0]: row[1] - counts[row[0]] for row in returned}, max(row[2] for row in returned)


def _write(
    session: Session,
    numbered: Sequence[tuple[GateDecision, _Awaited, int]],
    publish_at: datetime,
    decided_at: datetime,
) -> None:
    decisions = [decision for decision, _, _ in numbered]
    new = given(
        frame_id=[one.frame_id for one in decisions],
        kind=[one.kind for one in decisions],
        source=[one.source for one in decisions],
        reason=[one.reason for one in decisions],
        engine_id=[one.engine_id for one in decisions],
        passport_id=[one.passport_id for one in decisions],
        seq=[seq for _, _, seq in numbered],
    )
    session.connection().execute(DECIDE, new | {"moment": decided_at, "again": publish_at})


def _supersede(session: Session, decisions: Sequence[GateDecision]) -> None:
    late = [one for one in decisions if one.source is VerdictSource.INSPECTION]
    if not late:
        return
    new = unnested(frame_id=(Uuid(), [one.frame_id for one in late]), kind=(String(), [one.kind.value for one in late]))
    unsaid = or_(GateVerdictRow.source != VerdictSource.INSPECTION, GateVerdictRow.kind != new.c.kind)
    note = (
        update(GateVerdictRow)
        .where(GateVerdictRow.frame_id == new.c.frame_id, GateVerdictRow.late_kind.is_(None), unsaid)
        .values(late_kind=new.c.kind, late_at=func.clock_timestamp())
        .execution_options(synchronize_session=False)
    )
    session.execute(note)


def _verdict(decision: GateDecision, row: GateVerdictRow | _Awaited, seq: int, decided_at: Any) -> GateVerdict:
    return GateVerdict(
        seq=seq,
        kind=decision.kind,
        reason=decision.reason,
        source=decision.source,
        camera=row.camera,
        line=row.line,
        frame_id=row.frame_id,
        frame_key=row.frame_key,
        part_number=row.part_number,
        captured_at=row.captured_at,
        accepted_at=row.accepted_at,
        decided_at=decided_at,
        engine_id=decision.engine_id,
        passport_id=decision.passport_id,
    )


def _stored(row: GateVerdictRow) -> GateVerdict:
    if row.kind is None or row.source is None or row.seq is None:
        raise AssertionError("only decided verdicts are published")
    decision = GateDecision(row.frame_id, row.kind, row.reason or "", row.source, row.engine_id, row.passport_id)
    return _verdict(decision, row, row.seq, row.decided_at)


def _counting() -> Any:
    new = unnest_given(camera_id=BigInteger(), camera=String(), last_seq=BigInteger())
    rows = insert(CHANNELS).from_select([*new.c.keys()], select(*new.c))
    moved = rows.on_conflict_do_update(
        index_elements=[CHANNELS.c.camera_id],
        set_={"last_seq": CHANNELS.c.last_seq + rows.excluded.last_seq, "camera": rows.excluded.camera},
    )
    return moved.returning(CHANNELS.c.camera_id, CHANNELS.c.last_seq, func.clock_timestamp())


def _deciding() -> Update:
    new = unnest_given(
        frame_id=Uuid(),
        kind=VERDICTS.c.kind.type,
        source=VERDICTS.c.source.type,
        reason=String(),
        engine_id=BigInteger(),
        passport_id=Uuid(),
        seq=BigInteger(),
    )
    taken = {name: new.c[name] for name in ("kind", "source", "reason", "engine_id", "passport_id", "seq")}
    moment, again = (bindparam(name, type_=VERDICTS.c.decided_at.type) for name in ("moment", "again"))
    decide = update(VERDICTS).where(VERDICTS.c.frame_id == new.c.frame_id)
    return decide.values(**taken, decided_at=moment, publish_at=again)


# Built once: between the engine's answer and the gate each millisecond counts.
LOCK: Final = (
    select(*(VERDICTS.c[field.name] for field in fields(_Awaited)))
    .where(VERDICTS.c.frame_id == any_(IDS))
    .order_by(VERDICTS.c.frame_id)
    .with_for_update()
)
COUNT: Final = _counting()
DECIDE: Final = _deciding()
MARK_PUBLISHED: Final = (
    update(VERDICTS).where(VERDICTS.c.frame_id == any_(IDS), UNPUBLISHED).values(published_at=func.clock_timestamp())
)
