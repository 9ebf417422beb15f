"""What a review looks at: frames of the last hours, what was found on them, and which still have their bytes.

Every question is bounded in rows: it reads the newest ones by the tables' own order, however many there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Subquery, func, select
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.orm import Session

from gistline.domain import Box, Detection, FrameState
from gistline.storage.health import serving_workers
from gistline.storage.moments import lowest_id
from gistline.storage.tables import Camera, EngineRow, FindingRow, FrameRow, PassportRow


@dataclass(frozen=True, slots=True)
class Served:
    """An engine in service and the passport it serves under, None where its frames name none."""

    engine_id: int
    model_sha256: str
    runtime: str
    device: str
    passport_id: UUID | None
    machine: str
    measured_at: datetime | None


@dataclass(frozen=True, slots=True)
class Output:
    """What an engine said of one frame: its strongest finding and how many there were."""

    id: UUID
    camera: str
    line: str
    label: str | None
    confidence: float
    findings: int


@dataclass(frozen=True, slots=True)
class KeptFrame:
    """A frame whose bytes are kept."""

    id: UUID
    sha256: str
    media_type: str
    camera: str
    line: str


def served_engines(session: Session) -> list[Served]:
    """Engines that live detect workers serve; where none is alive, the one that inspected the newest frame."""
    told = {one.passport for one in serving_workers(session) if one.passport}
    statement = (
        select(
            EngineRow.id, EngineRow.weights_sha256, EngineRow.runtime, EngineRow.device, PassportRow.id,
            PassportRow.machine, PassportRow.measured_at,
        )
        .join(PassportRow, PassportRow.engine_id == EngineRow.id)
        .where(PassportRow.id.in_([UUID(one) for one in told]))
        .order_by(EngineRow.id, PassportRow.measured_at.desc())
    )  # fmt: skip
    found = [Served(*row) for row in session.execute(statement)]
    if not found:
        found = _of_newest_frame(session)
    return list({one.engine_id: one for one in reversed(found)}.values())


def outputs_since(session: Session, engine_id: int, since: datetime, *, most: int, of_camera: int) -> list[Output]:
    """The newest ``most`` frames of all cameras that the engine inspected since, ``of_camera`` of each at most."""
    newest = _newest(engine_id, since, most=most, of_camera=of_camera)
    labels = func.array_agg(aggregate_order_by(FindingRow.label, FindingRow.confidence.desc()))
    statement = (
        select(
            newest.c.id, Camera.name, newest.c.line, func.count(FindingRow.id), func.max(FindingRow.confidence), labels
        )
        .select_from(newest)
        .join(Camera, Camera.id == newest.c.camera_id)
        .outerjoin(FindingRow, (FindingRow.frame_id == newest.c.id) & (FindingRow.frame_id >= lowest_id(since)))
        .group_by(newest.c.id, Camera.name, newest.c.line)
    )
    return [
        Output(frame_id, camera, line, named[0] if count else None, float(best or 0.0), count)
        for frame_id, camera, line, count, best, named in session.execute(statement)
    ]


def kept_since(session: Session, engine_id: int, since: datetime, *, most: int, of_camera: int) -> list[KeptFrame]:
    """The same of frames whose bytes are kept: the newest of each camera, then the one before it of each, and so on."""
    return _kept(session, _newest(engine_id, since, most=most, of_camera=of_camera, kept=True))


def any_kept_since(session: Session, since: datetime, *, most: int, of_camera: int) -> list[KeptFrame]:
    """The same, whichever engine inspected them."""
    return _kept(session, _newest(None, since, most=most, of_camera=of_camera, kept=True))


def _kept(session: Session, newest: Subquery) -> list[KeptFrame]:
    statement = select(newest.c.id, newest.c.sha256, newest.c.media_type, Camera.name, newest.c.line)
    statement = statement.join(Camera, Camera.id == newest.c.camera_id).order_by(newest.c.rank, newest.c.id.desc())
    return [KeptFrame(*row) for row in session.execute(statement)]


def findings_of(
    session: Session, engine_id: int, frames: Sequence[UUID]
) -> tuple[dict[UUID, list[Detection]], float | None]:
    """What an engine found on these frames, strongest first, with an entry for each frame.

    Returns:
        The findings, and the least confidence that one had to have; None without any.

    """
    found: dict[UUID, list[Detection]] = {frame: [] for frame in frames}
    least: float | None = None
    rows = select(FindingRow).where(FindingRow.frame_id.in_(frames), FindingRow.engine_id == engine_id)
    for row in session.scalars(rows.order_by(FindingRow.confidence.desc(), FindingRow.id)):
        found[row.frame_id].append(Detection(row.label, row.confidence, Box(row.x, row.y, row.w, row.h)))
        least = max(least or 0.0, row.min_confidence)
    return found, least


def _newest(engine_id: int | None, since: datetime, *, most: int, of_camera: int, kept: bool = False) -> Subquery:
    told = FrameRow.id, FrameRow.camera_id, FrameRow.line, FrameRow.sha256, FrameRow.media_type
    inspected = select(*told).where(FrameRow.id >= lowest_id(since), FrameRow.state == FrameState.INSPECTED)
    if engine_id is not None:
        inspected = inspected.where(FrameRow.engine_id == engine_id)
    if kept:
        inspected = inspected.where(FrameRow.bytes_stored)
    some = inspected.order_by(FrameRow.id.desc()).limit(most).subquery()
    rank = func.row_number().over(partition_by=some.c.camera_id, order_by=some.c.id.desc()).label("rank")
    ranked = select(some, rank).subquery()
    return select(ranked).where(ranked.c.rank <= of_camera).subquery()


def _of_newest_frame(session: Session) -> list[Served]:
    newest = select(FrameRow.engine_id).where(FrameRow.engine_id.is_not(None)).order_by(FrameRow.id.desc()).limit(1)
    engine = session.scalar(select(EngineRow).where(EngineRow.id == newest.scalar_subquery()))
    if engine is None:
        return []
    paper = select(PassportRow).where(PassportRow.engine_id == engine.id)
    passport = session.scalar(paper.order_by(PassportRow.measured_at.desc(), PassportRow.id.desc()).limit(1))
    known = (
        (passport.id, passport.machine, passport.measured_at) if passport is not None else (None, engine.device, None)
    )
    return [Served(engine.id, engine.weights_sha256, engine.runtime, engine.device, *known)]
