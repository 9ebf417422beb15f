"""One verdict for each frame that a gate waits for: the first one wins, numbers have no gap, each is published.

Frames are awaited from their acceptance on, in the transaction that accepts them. Whoever decides locks the frames'
rows first, in the order of their ids, and the cameras' counters after that, so that two of them cannot wait for each
other in a circle.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Final, cast
from uuid import UUID

from sqlalchemy import (
    String,
    Table,
    Uuid,
    any_,
    delete,
    func,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.orm import Session

from gistline.domain import FrameState
from gistline.domain_acting import GateDecision, GateVerdict, VerdictSource
from gistline.settings_acting import VerdictChannelSettings
from gistline.storage.arrays import IDS, given, given_ids, unnested, uuids
from gistline.storage.tables import FrameRow, GateChannelRow, GateVerdictRow

VERDICTS: Final = cast("Table", GateVerdictRow.__table__)
CHANNELS: Final = cast("Table", GateChannelRow.__table__)
AWAITED: Final = text("gate_verdicts.kind IS NULL")
UNPUBLISHED: Final = text("gate_verdicts.kind IS NOT NULL AND gate_verdicts.published_at IS NULL")
CHUNK: Final = 200


@dataclass(frozen=True, slots=True)
class _Awaited:
    """What a verdict says of its frame."""

    frame_id: UUID
    camera: str
    line: str
    frame_key: str
    part_number: str | None
    captured_at: datetime
    accepted_at: datetime


def await_verdicts(session: Session, frame_ids: Iterable[UUID], settings: VerdictChannelSettings) -> None:
    """From the transaction's commit on, somebody watches that these frames get a verdict in time."""
    wanted = list(frame_ids)
    own = settings.deadline_ms_by_camera
    about = {"deadline_ms": settings.deadline_ms, "cameras": list(own), "own_ms": list(own.values())}
    session.connection().execute(AWAIT, given_ids(wanted) | about)


def decide(session: Session, decisions: Sequence[GateDecision], settings: VerdictChannelSettings) -> list[GateVerdict]:
    """Decide about frames that nobody decided about before; what comes too late is recorded as superseded.

    Returns:
        The verdicts that stand because of this call, in the order of ``decisions``: publish them after the commit.

    """
    wanted = {one.frame_id: one for one in decisions}
    found = _write(session, wanted.values(), settings)
    if unknown := wanted.keys() - found.keys():
        await_verdicts(session, unknown, settings)  # accepted before the channel was switched on
        found |= _write(session, [one for frame_id, one in wanted.items() if frame_id in unknown], settings)
    _supersede(session, [one for frame_id, one in wanted.items() if frame_id in found and not found[frame_id]])
    return [stands for frame_id in wanted if (stands := found.get(frame_id)) is not None]


def overdue(session: Session) -> list[UUID]:
    """Frames whose deadline passed without a verdict, locked; those that another process decides about are left out."""
    late = select(GateVerdictRow.frame_id).where(AWAITED, GateVerdictRow.due_at <= func.clock_timestamp())
    late = late.order_by(GateVerdictRow.due_at).limit(CHUNK)
    return list(session.scalars(late.with_for_update(skip_locked=True)))


def failed(session: Session) -> list[tuple[UUID, str]]:
    """Frames without a verdict that have failed or expired for good, and why; locked.

    The worker that sees a frame fail says so itself. This finds those that nobody saw: given up by the sweep, or sent
    back once too often.
    """
    ended = select(GateVerdictRow.frame_id, func.coalesce(FrameRow.error, ""))
    ended = ended.join(FrameRow, FrameRow.id == GateVerdictRow.frame_id)
    ended = ended.where(AWAITED, FrameRow.state.in_([FrameState.FAILED, FrameState.EXPIRED])).limit(CHUNK)
    locked = ended.with_for_update(of=GateVerdictRow, skip_locked=True)
    return [(row[0], row[1]) for row in session.execute(locked)]


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


def prune_verdicts(session: Session, *, keep_days: int) -> bool:
    """Delete what was told long ago, :data:`CHUNK` rows at most; whether more may be left."""
    old = GateVerdictRow.decided_at < func.now() - timedelta(days=keep_days)
    oldest = select(GateVerdictRow.frame_id).where(old, GateVerdictRow.published_at.is_not(None))
    oldest = oldest.order_by(GateVerdictRow.decided_at).limit(CHUNK).with_for_update(skip_locked=True)
    gone = delete(GateVerdictRow).where(GateVerdictRow.frame_id.in_(oldest)).returning(GateVerdictRow.frame_id)
    return len(session.scalars(gone.execution_options(synchronize_session=False)).all()) == CHUNK


def _write(
    session: Session, decisions: Collection[GateDecision], settings: VerdictChannelSettings
) -> dict[UUID, GateVerdict | None]:
    """Decide; of the frames that have a row the verdict that stands, or None where somebody was quicker."""
    new = given(
        frame_id=[one.frame_id for one in decisions],
        kind=[one.kind.value for one in decisions],
        source=[one.source.value for one in decisions],
        reason=[one.reason for one in decisions],
        engine_id=[one.engine_id for one in decisions],
        passport_id=[one.passport_id for one in decisions],
    )
    by_frame = {one.frame_id: one for one in decisions}
    about = new | {"again_s": settings.publish_again_ms / 1000}
    found: dict[UUID, GateVerdict | None] = {}
    for is_ours, seq, decided_at, *about_frame in session.connection().execute(DECIDE, about):
        row = _Awaited(*about_frame)
        stands = _verdict(by_frame[row.frame_id], row, seq, decided_at) if is_ours else None
        found[row.frame_id] = stands
    return found


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


# One round trip and built once: between the engine's answer and the gate each millisecond counts. Rows are locked in
# the order of the frames' ids, counters in that of the cameras'. A row that somebody else decides about meanwhile is
# seen by ``held`` as it was decided; one that nobody decides about does not change.
_AWAITED_COLUMNS: Final = ", ".join(f"held.{field.name}" for field in fields(_Awaited))
DECIDE: Final = text(
    f"""
    WITH new AS (
        SELECT * FROM unnest(
            CAST(:given_frame_id AS uuid[]), CAST(:given_kind AS text[]), CAST(:given_source AS text[]),
            CAST(:given_reason AS text[]), CAST(:given_engine_id AS bigint[]), CAST(:given_passport_id AS uuid[])
        ) WITH ORDINALITY AS new (frame_id, kind, source, reason, engine_id, passport_id, place)
    ), held AS MATERIALIZED (
        SELECT * FROM gate_verdicts WHERE frame_id = ANY(CAST(:given_frame_id AS uuid[])) ORDER BY frame_id FOR UPDATE
    ), ours AS MATERIALIZED (
        SELECT new.*, held.camera_id, held.camera,
            row_number() OVER (PARTITION BY held.camera_id ORDER BY new.place) AS number,
            count(*) OVER (PARTITION BY held.camera_id) AS numbers
        FROM held JOIN new USING (frame_id) WHERE held.kind IS NULL
    ), counted AS (
        INSERT INTO gate_channels (camera_id, camera, last_seq)
        SELECT DISTINCT camera_id, camera, numbers FROM ours ORDER BY camera_id
        ON CONFLICT (camera_id) DO UPDATE
        SET last_seq = gate_channels.last_seq + excluded.last_seq, camera = excluded.camera
        RETURNING camera_id, last_seq, clock_timestamp() AS moment
    ), numbered AS MATERIALIZED (
        SELECT ours.*, counted.last_seq - ours.numbers + ours.number AS seq,
            max(counted.moment) OVER () AS decided_at
        FROM ours JOIN counted USING (camera_id)
    ), written AS (
        UPDATE gate_verdicts SET kind = numbered.kind, source = numbered.source, reason = numbered.reason,
            engine_id = numbered.engine_id, passport_id = numbered.passport_id, seq = numbered.seq,
            decided_at = numbered.decided_at,
            publish_at = numbered.decided_at + make_interval(secs => :again_s)
        FROM numbered WHERE gate_verdicts.frame_id = numbered.frame_id
        RETURNING gate_verdicts.frame_id
    )
    SELECT written.frame_id IS NOT NULL, numbered.seq, numbered.decided_at, {_AWAITED_COLUMNS}
    FROM held LEFT JOIN numbered USING (frame_id) LEFT JOIN written USING (frame_id)
    """  # noqa: S608 - a constant
)
AWAIT: Final = text(
    """
    INSERT INTO gate_verdicts
        (frame_id, camera_id, camera, line, frame_key, part_number, captured_at, accepted_at, due_at)
    SELECT frames.id, frames.camera_id, cameras.name, frames.line, frames.idempotency_key, frames.part_number,
        frames.captured_at, frames.accepted_at,
        frames.accepted_at + make_interval(secs => coalesce(own.ms, CAST(:deadline_ms AS bigint)) / 1000.0)
    FROM frames JOIN cameras ON cameras.id = frames.camera_id
    LEFT JOIN unnest(CAST(:cameras AS text[]), CAST(:own_ms AS bigint[])) AS own (camera, ms)
        ON own.camera = cameras.name
    WHERE frames.id = ANY(CAST(:given_ids AS uuid[]))
        AND frames.id BETWEEN CAST(:lowest_id AS uuid) AND CAST(:highest_id AS uuid)
    ON CONFLICT DO NOTHING
    """
)
MARK_PUBLISHED: Final = (
    update(VERDICTS).where(VERDICTS.c.frame_id == any_(IDS), UNPUBLISHED).values(published_at=func.clock_timestamp())
)
