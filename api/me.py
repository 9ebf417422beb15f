"""Who am I, and what may I see?"""

from __future__ import annotations

from fastapi import APIRouter

from api.people import PersonOf
from api.schemas import CallerAnswer

router = APIRouter(prefix="/v1/me", tags=["me"])


@router.get("")
async def read(person: PersonOf) -> CallerAnswer:
    """Name, role and lines of whoever asks."""
    return CallerAnswer(
        kind=type(person).__name__.lower(),
        name=person.name,
        role=person.role,
        lines=None if person.lines is None else sorted(person.lines),
    )
