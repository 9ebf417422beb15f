"""One frame with all that is known of it, for its camera or for whoever may see its line.

Reading only; the columns that run the queue stay inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from gistline.errors import NotFound
from gistline.storage.sight import Lines, within
from gistline.storage.tables import Camera, EngineRow, FindingRow, FrameRow, ReportRow, VerdictRow


@dataclass(frozen=True, slots=True)
class InspectedFrame:
    """A frame with what is known of it so far: verdict and engine are None until it was inspected."""

    frame: FrameRow
    verdict: VerdictRow | None
    engine: EngineRow | None
    findings: Sequence[FindingRow]


def read_frame(
    session: Session, frame_id: UUID, *, camera_id: int | None = None, lines: Lines = None
) -> InspectedFrame:
    """One frame, of this camera and of one of these lines where they are given.

    Raises:
        NotFound: no such frame, or one of another camera or line; which of them is not said.

    """
    statement = (
        select(FrameRow, VerdictRow, EngineRow)
        .outerjoin(VerdictRow, VerdictRow.frame_id == FrameRow.id)
        .outerjoin(EngineRow, EngineRow.id == FrameRow.engine_id)
        .where(FrameRow.id == frame_id, within(FrameRow.line, lines))
    )
    if camera_id is not None:
        statement = statement.where(FrameRow.camera_id == camera_id)
    row = session.execute(statement).one_or_none()
    if row is None:
        raise NotFound(
            f"There is no frame {frame_id} that you may see.", cure="Ask with the key that sent it.", frame_id=frame_id
        )
    frame, verdict, engine = row
    return InspectedFrame(frame, verdict, engine, _findings(session, frame_id))


def _findings(session: Session, frame_id: UUID) -> Sequence[FindingRow]:
    statement = select(FindingRow).where(FindingRow.frame_id == frame_id)
    return session.scalars(statement.order_by(FindingRow.confidence.desc(), FindingRow.id)).all()


@dataclass(frozen=True, slots=True)
class SeenFrame(InspectedFrame):
    """The same for people, with the camera that took it and the report that counts its findings."""

    camera: Camera
    report_id: UUID | None


def see_frame(session: Session, frame_id: UUID, *, lines: Lines) -> SeenFrame:
    """One frame of one of ``lines``.

    Raises:
        NotFound: no such frame, or one of another line; which of them is not said.

    """
    statement = (
        select(FrameRow, VerdictRow, EngineRow, Camera, ReportRow.id)
        .join(Camera, Camera.id == FrameRow.camera_id)
        .outerjoin(VerdictRow, VerdictRow.frame_id == FrameRow.id)
        .outerjoin(EngineRow, EngineRow.id == FrameRow.engine_id)
        .outerjoin(ReportRow, ReportRow.window_id == FrameRow.report_window_id)
        .where(FrameRow.id == frame_id, within(FrameRow.line, lines))
    )
    row = session.execute(statement).one_or_none()
    if row is None:
        raise NotFound(
            f"There is no frame {frame_id}.",
            cure="It went with its retention, or it belongs to a line that you may not see.",
            frame_id=frame_id,
        )
    frame, verdict, engine, camera, report_id = row
    return SeenFrame(frame, verdict, engine, _findings(session, frame_id), camera, report_id)
