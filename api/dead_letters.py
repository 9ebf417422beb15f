"""Frames that were given up: listed, tried again, let go."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from api.callers import CallerOf, allow
from api.cursors import TIMED, seen_lines
from api.deps import ServicesOf
from api.lists import DeadLetterEntry, DeadLetterList, DeadLettersQuery
from api.problems import problems_of
from api.schemas import DecisionAnswer
from gistline.domain import Caller, Role
from gistline.errors import Conflict, NotFound
from gistline.flows.dead_letters import discard_dead_letters, retry_dead_letters
from gistline.storage import lists
from gistline.storage.session import transaction

router = APIRouter(prefix="/v1/dead-letters", tags=["dead letters"])
OperatorOf = Annotated[Caller, allow(Role.OPERATOR)]


@router.get("", name="list_dead_letters")
def list_letters(caller: CallerOf, services: ServicesOf, query: Annotated[DeadLettersQuery, Query()]) -> DeadLetterList:
    """Dead letters, newest first."""
    wanted, cut = query.frames(seen_lines(caller, query.line)), query.cut(TIMED)
    with transaction(services.sessions) as session:
        page = lists.list_letters(session, wanted, cut, kind=query.kind, is_open=query.open)
        return DeadLetterList(items=[_letter(one) for one in page.items], next=query.behind(page))


@router.post("/{frame_id}/retry", name="retry_dead_letter", responses=problems_of(NotFound, Conflict))
def retry(frame_id: UUID, operator: OperatorOf, services: ServicesOf) -> DecisionAnswer:
    """Let the frame wait for a worker once more, alone."""
    decided = retry_dead_letters(services.sessions, [frame_id], by=operator.actor, lines=operator.lines)
    if decided.without_bytes:
        raise Conflict(
            f"The bytes of frame {frame_id} are gone.", cure="Discard it; it stays failed.", frame_id=frame_id
        )
    return DecisionAnswer(frame_id=frame_id, decision="retried")


@router.post("/{frame_id}/discard", name="discard_dead_letter", responses=problems_of(NotFound))
def discard(frame_id: UUID, operator: OperatorOf, services: ServicesOf) -> DecisionAnswer:
    """Let the frame go: it stays failed, its bytes are pruned when they are old enough."""
    discard_dead_letters(services.sessions, [frame_id], by=operator.actor, lines=operator.lines)
    return DecisionAnswer(frame_id=frame_id, decision="discarded")


def _letter(one: lists.ListedLetter) -> DeadLetterEntry:
    letter = one.letter
    return DeadLetterEntry(
        id=letter.id,
        frame_id=letter.frame_id,
        camera=one.camera,
        line=one.line,
        kind=letter.kind,
        reason=letter.reason,
        attempts=letter.attempts,
        bytes_stored=one.bytes_stored,
        created_at=letter.created_at,
        resolution=letter.resolution,
        resolved_at=letter.resolved_at,
        resolved_by=letter.resolved_by,
    )
