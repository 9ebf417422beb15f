"""Frames: sent by cameras, read back by the camera that sent them."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool

from api.admission import PlaceHeld
from api.bodies import MULTIPART, read_images
from api.deps import CameraOf, ServicesOf
from api.findings import finding_answers
from api.schemas import AcceptedFrames, EngineAnswer, FrameAnswer, FrameFields, VerdictAnswer
from gistline.flows.submit_frames import submit_frames
from gistline.storage.frame_reads import InspectedFrame, read_frame
from gistline.storage.session import transaction

router = APIRouter(prefix="/v1/frames", tags=["frames"])

_BYTES: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_PARTS: dict[str, Any] = {
    "schema": {
        "type": "object",
        "required": ["images"],
        "properties": {
            "images": {"type": "array", "items": {"type": "string", "format": "binary"}},
            "meta": {"type": "string", "description": "JSON list with the fields of each image, in order."},
        },
    }
}
BODY = {"requestBody": {"required": True, "content": {"image/*": _BYTES, MULTIPART: _PARTS}}}


@router.post("", status_code=202, openapi_extra=BODY, dependencies=[PlaceHeld])
async def submit(
    request: Request, camera: CameraOf, services: ServicesOf, fields: Annotated[FrameFields, Query()]
) -> AcceptedFrames:
    """Accept one image (raw body) or several (multipart/form-data): all of them, or none.

    The fields of a raw body go into the query string or into headers (`Gistline-Frame-Key`, ...). The answer comes when
    bytes and rows are durable.
    """
    images = await read_images(request, fields, services.settings)
    accepted = await run_in_threadpool(
        submit_frames,
        camera,
        images,
        sessions=services.sessions,
        store=services.store,
        dispatcher=services.dispatcher,
        settings=services.settings,
    )
    return AcceptedFrames.model_validate({"frames": accepted}, from_attributes=True)


@router.get("/{frame_id}")
def read(frame_id: UUID, camera: CameraOf, services: ServicesOf) -> FrameAnswer:
    """State, verdict, findings and engine of one of the camera's own frames."""
    with transaction(services.sessions) as session:
        return _answer(read_frame(session, frame_id, camera_id=camera.id))


def _answer(found: InspectedFrame) -> FrameAnswer:
    frame = found.frame
    return FrameAnswer(
        id=frame.id,
        frame_key=frame.idempotency_key,
        state=frame.state,
        line=frame.line,
        part_number=frame.part_number,
        media_type=frame.media_type,
        byte_count=frame.byte_count,
        width=frame.width,
        height=frame.height,
        captured_at=frame.captured_at,
        accepted_at=frame.accepted_at,
        finished_at=frame.finished_at,
        error=frame.error,
        verdict=VerdictAnswer.model_validate(found.verdict) if found.verdict else None,
        engine=EngineAnswer.model_validate(found.engine) if found.engine else None,
        findings=finding_answers(found.findings),
    )
