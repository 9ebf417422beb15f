"""What a camera may read of its own frames. Reading only; the columns that run the queue stay inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from gistline.errors import NotFound
from gistline.storage.tables import EngineRow, FindingRow, FrameRow, VerdictRow


@dataclass(frozen=True, slots=True)
class InspectedFrame:
    """A frame with what is known of it so far: verdict and engine are None until it was inspected."""

    frame: FrameRow
    verdict: VerdictRow | None
    engine: EngineRow | None
    findings: Sequence[FindingRow]


def read_frame(session: Session, frame_id: UUID, *, camera_id: int) -> InspectedFrame:
    """One frame of this camera.

    Raises:
        NotFound: no such frame, or one of another camera; which of them is not said.

    """
    statement = (
        select(FrameRow, VerdictRow, EngineRow)
        .outerjoin(VerdictRow, VerdictRow.frame_id == FrameRow.id)
        .outerjoin(EngineRow, EngineRow.id == FrameRow.engine_id)
        .where(FrameRow.id == frame_id, FrameRow.camera_id == camera_id)
    )
    row = session.execute(statement).one_or_none()
    if row is None:
        raise NotFound(
            f"There is no frame {frame_id} of this camera.", cure="Ask with the key that sent it.", frame_id=frame_id
        )
    frame, verdict, engine = row
    return InspectedFrame(frame, verdict, engine, _findings(session, frame_id))


def _findings(session: Session, frame_id: UUID) -> Sequence[FindingRow]:
    statement = select(FindingRow).where(FindingRow.frame_id == frame_id)
    return session.scalars(statement.order_by(FindingRow.confidence.desc(), FindingRow.id)).all()
