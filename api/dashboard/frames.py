"""One frame: its image with the boxes over it, its verdict, and what operators think of its findings."""

from __future__ import annotations

from collections import defaultdict
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Form
from fastapi.responses import RedirectResponse, Response

from api.cursors import RowId
from api.dashboard.page import ViewOf
from api.deps import ServicesOf
from api.people import PersonOf, require
from gistline.domain import Feedback, Person, Role
from gistline.errors import NotFound
from gistline.flows.give_feedback import give_feedback
from gistline.storage.feedback import LONGEST_NOTE, FindingKey, feedback_of_frame
from gistline.storage.frame_reads import see_frame
from gistline.storage.session import transaction
from gistline.storage.tables import FeedbackRow

router = APIRouter(prefix="/frames", include_in_schema=False, max_body_size=16_384)

IMAGE_HEADERS: Final = {
    "Cache-Control": "private, max-age=3600",
    "Content-Disposition": "inline",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
}
"""The bytes came from a camera: they are shown as an image and as nothing else."""


@router.get("/{frame_id}", name="frame")
def frame(frame_id: UUID, view: ViewOf) -> Response:
    """The page of a frame."""
    with transaction(view.services.sessions) as session:
        seen = see_frame(session, frame_id, lines=view.person.lines)
        opinions: dict[int, list[FeedbackRow]] = defaultdict(list)
        for row in feedback_of_frame(session, frame_id):
            opinions[row.finding_id].append(row)
    return view.page("frame.html", seen=seen, opinions=opinions, choices=list(Feedback), longest_note=LONGEST_NOTE)


@router.get("/{frame_id}/image", name="frame_image")
def image(frame_id: UUID, person: PersonOf, services: ServicesOf) -> Response:
    """The stored bytes.

    Raises:
        NotFound: no such frame of a line that the person may see, or its bytes are not kept any more.

    """
    with transaction(services.sessions) as session:
        seen = see_frame(session, frame_id, lines=person.lines)
    if not seen.frame.bytes_stored:
        raise NotFound(
            f"The image of frame {frame_id} is not kept any more.",
            cure="frames.keep and frames.keep_days say what is kept.",
            frame_id=frame_id,
        )
    data = services.store.get(seen.frame.sha256)
    return Response(data, headers=dict(IMAGE_HEADERS), media_type=seen.frame.media_type)


@router.post("/{frame_id}/findings/{finding_id}/feedback", name="feedback")
def judge(
    frame_id: UUID,
    finding_id: RowId,
    services: ServicesOf,
    person: Annotated[Person, require(Role.OPERATOR)],
    opinion: Annotated[Feedback, Form()],
    note: Annotated[str, Form(max_length=2_000)] = "",
) -> Response:
    """Keep an operator's opinion, and go back to the frame."""
    give_feedback(services.sessions, FindingKey(frame_id, finding_id), opinion, note=note, person=person)
    return RedirectResponse(f"/frames/{frame_id}?judged={finding_id}#finding-{finding_id}", 303)
