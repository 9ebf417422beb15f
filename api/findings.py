"""Findings of a frame."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from fastapi import APIRouter

from api.deps import CameraOf, ServicesOf
from api.schemas import FindingAnswer, FindingsAnswer
from gistline.storage.frame_reads import read_frame
from gistline.storage.session import transaction
from gistline.storage.tables import FindingRow

router = APIRouter(prefix="/v1/findings", tags=["findings"])


@router.get("")
def list_findings(frame: UUID, camera: CameraOf, services: ServicesOf) -> FindingsAnswer:
    """Findings of one of the camera's own frames, most confident first; empty too while it is not yet inspected."""
    with transaction(services.sessions) as session:
        found = read_frame(session, frame, camera_id=camera.id)
        return FindingsAnswer(findings=finding_answers(found.findings))


def finding_answers(rows: Iterable[FindingRow]) -> list[FindingAnswer]:
    """Rows as they are answered."""
    return [FindingAnswer.model_validate(row) for row in rows]
