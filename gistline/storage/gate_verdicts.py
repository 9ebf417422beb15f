"""One verdict for each frame that a gate waits for: the first one wins, numbers have no gap, each is published.

Frames are awaited from their acceptance on, in the transaction that accepts them. Whoever decides locks the frames'
rows first, in the order of their ids, and the cameras' counters after that, so that two of them cannot wait for each
other in a circle.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import BigInteger, String, Uuid, any_, case, delete, func, literal, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from gistline.domain_acting import GateDecision, GateVerdict, VerdictSource
from gistline.settings_acting import VerdictChannelSettings
from gistline.storage.arrays import among, unnested, uuids
from gistline.storage.tables import Camera, FrameRow, GateChannelRow, GateVerdictRow

AWAITED: Final = text("gate_verdicts.kind IS NULL")
UNPUBLISHED: Final = text("gate_verdicts.kind IS NOT NULL AND gate_verdicts.published_at IS NULL")
CHUNK: Final = 200


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
    if unknown := [one for one in wanted if one not in rows]:
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
        done = update(GateVerdictRow).where(GateVerdictRow.frame_id == any_(uuids(frame_ids)), UNPUBLISHED)
        done = done.values(published_at=func.clock_timestamp())
        session.execute(done.execution_options(synchronize_session=False))


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


def _lock(session: Session, frame_ids: Iterable[UUID]) -> dict[UUID, GateVerdictRow]:
    rows = select(GateVerdictRow).where(GateVerdictRow.frame_id == any_(uuids(frame_ids)))
    rows = rows.order_by(GateVerdictRow.frame_id).with_for_update()
    return {row.frame_id: row for row in session.scalars(rows)}


def _count(session: Session, cameras: Mapping[int, str], counts: Mapping[int, int]) -> tuple[dict[int, int], datetime]:
    """Move the cameras' counters; returns where each stood before, and the moment."""
    rows = [
        {"camera_id": one, "camera": cameras[one], "last_seq": counts[one]} for one in sorted(counts)
    ]  # sorted: two transactions take the counters in the same order
    new = insert(GateChannelRow).values(rows)
    moved = new.on_conflict_do_update(
        index_elements=[GateChannelRow.camera_id],
        set_={"last_seq": GateChannelRow.last_seq + new.excluded.last_seq, "camera": new.excluded.camera},
    )
    now = func.clock_timestamp().label("now")
    returned = session.execute(moved.returning(GateChannelRow.camera_id, GateChannelRow.last_seq, now)).all()
    return {row[0]: row[1] - counts[row[0]] for row in returned}, max(row[2] for row in returned)


def _write(
    session: Session,
    numbered: Sequence[tuple[GateDecision, GateVerdictRow, int]],
    publish_at: datetime,
    decided_at: datetime,
) -> None:
    columns = GateVerdictRow.__table__.c
    given = [decision for decision, _, _ in numbered]
    new = unnested(
        frame_id=(Uuid(), [one.frame_id for one in given]),
        kind=(columns.kind.type, [one.kind for one in given]),
        source=(columns.source.type, [one.source for one in given]),
        reason=(String(), [one.reason for one in given]),
        engine_id=(BigInteger(), [one.engine_id for one in given]),
        passport_id=(Uuid(), [one.passport_id for one in given]),
        seq=(BigInteger(), [seq for _, _, seq in numbered]),
    )
    taken = {name: new.c[name] for name in ("kind", "source", "reason", "engine_id", "passport_id", "seq")}
    write = (
        update(GateVerdictRow)
        .where(GateVerdictRow.frame_id == new.c.frame_id)
        .values(**taken, decided_at=decided_at, publish_at=publish_at)
        .execution_options(synchronize_session=False)
    )
    session.execute(write)


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


def _verdict(decision: GateDecision, row: GateVerdictRow, seq: int, decided_at: Any) -> GateVerdict:
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
