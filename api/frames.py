"""Frames: sent by cameras, read back by the camera that sent them and by whoever may see their line."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from api.admission import PlaceHeld
from api.bodies import MULTIPART, Upload, receive
from api.callers import CallerOf, ReaderOf
from api.cursors import FRAME, seen_lines
from api.deps import CameraOf, Services, ServicesOf
from api.findings import finding_answers
from api.lists import FrameEntry, FrameList, FramesQuery
from api.problems import REFUSED_UPLOADS, problems_of
from api.schemas import AcceptedFrames, EngineAnswer, FrameAnswer, FrameFields, VerdictAnswer
from gistline.errors import NotFound
from gistline.flows.submit_frames import submit_frames
from gistline.storage import lists
from gistline.storage.cameras import CameraIdentity
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
IMAGE: dict[int | str, dict[str, Any]] = {200: {"description": "The image.", "content": {"image/*": _BYTES}}}
BODY = {"requestBody": {"required": True, "content": {"image/*": _BYTES, MULTIPART: _PARTS}}}


@router.post(
    "", name="submit_frames", status_code=202, openapi_extra=BODY, dependencies=[PlaceHeld], responses=REFUSED_UPLOADS
)
async def submit(
    request: Request, camera: CameraOf, services: ServicesOf, fields: Annotated[FrameFields, Query()]
) -> AcceptedFrames:
    """Accept one image (raw body) or several (multipart/form-data): all of them, or none.

    The fields of a raw body go into the query string or into headers (`Gistline-Frame-Key`, ...). The answer comes when
    bytes and rows are durable.
    """
    upload = await receive(request, fields, services.settings)
    return await run_in_threadpool(_accept, camera, upload, services)


def _accept(camera: CameraIdentity, upload: Upload, services: Services) -> AcceptedFrames:
    accepted = submit_frames(
        camera,
        upload.images(services.settings.api.max_images),
        sessions=services.sessions,
        store=services.store,
        dispatcher=services.dispatcher,
        settings=services.settings,
    )
    return AcceptedFrames.model_validate({"frames": accepted}, from_attributes=True)


@router.get("")
def list_frames(caller: CallerOf, services: ServicesOf, query: Annotated[FramesQuery, Query()]) -> FrameList:
    """Frames, newest first."""
    wanted = query.frames(seen_lines(caller, query.line))
    with transaction(services.sessions) as session:
        page = lists.list_frames(session, wanted, query.cut(FRAME))
        return FrameList(items=[_entry(one) for one in page.items], next=query.behind(page))


@router.get("/{frame_id}", name="read_frame", responses=problems_of(NotFound))
def read(frame_id: UUID, reader: ReaderOf, services: ServicesOf) -> FrameAnswer:
    """State, verdict, findings and engine of a frame; a camera reads those that it sent."""
    with transaction(services.sessions) as session:
        if isinstance(reader, CameraIdentity):
            return _answer(read_frame(session, frame_id, camera_id=reader.id))
        return _answer(read_frame(session, frame_id, lines=reader.lines))


@router.get(
    "/{frame_id}/image", name="read_frame_image", response_class=Response, responses=IMAGE | problems_of(NotFound)
)
def read_image(frame_id: UUID, caller: CallerOf, services: ServicesOf) -> Response:
    """The bytes as they were sent, as long as they are kept."""
    with transaction(services.sessions) as session:
        frame = read_frame(session, frame_id, lines=caller.lines).frame
    if not frame.bytes_stored:
        raise NotFound(
            f"The bytes of frame {frame_id} are not kept.",
            cure="See frames.keep and frames.keep_days.",
            frame_id=frame_id,
        )
    return Response(services.store.get(frame.sha256), media_type=frame.media_type)


def _entry(one: lists.ListedFrame) -> FrameEntry:
    frame = one.frame
    return FrameEntry(
        id=frame.id,
        frame_key=frame.idempotency_key,
        state=frame.state,
        camera=one.camera,
        line=frame.line,
        part_number=frame.part_number,
        verdict=one.verdict,
        captured_at=frame.captured_at,
        accepted_at=frame.accepted_at,
        finished_at=frame.finished_at,
    )


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
