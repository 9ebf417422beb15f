"""Who am I, and what may I see?"""

from __future__ import annotations

from fastapi import APIRouter

from api.callers import CallerOf
from api.schemas import CallerAnswer

router = APIRouter(prefix="/v1/me", tags=["me"])


@router.get("", name="read_caller")
async def read(caller: CallerOf) -> CallerAnswer:
    """Name, role and lines of whoever asks."""
    return CallerAnswer(
        kind=type(caller).__name__.lower(),
        name=caller.name,
        role=caller.role,
        lines=None if caller.lines is None else sorted(caller.lines),
    )
