"""Decide about frames that were given up: try them again, or let them go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.orm import Session

from gistline.domain import DeadLetterResolution
from gistline.errors import NotFound
from gistline.storage import audit
from gistline.storage.dead_letters import lock_open_letters, queue_again, resolve_letters
from gistline.storage.session import Sessions, transaction
from gistline.storage.sight import Lines


@dataclass(frozen=True, slots=True)
class Decided:
    """Frames whose letters were closed, and those that cannot be tried again because their bytes are gone."""

    frames: tuple[UUID, ...]
    without_bytes: tuple[UUID, ...] = ()


def retry_dead_letters(
    sessions: Sessions, frame_ids: Sequence[UUID] | None, *, by: str, lines: Lines = None
) -> Decided:
    """Queue these frames again, or all that have an open letter; the sweep rings for them within a second.

    Each is tried alone, so that one that brings its worker down takes no other with it. Only frames of ``lines`` (None:
    all) are touched.

    Raises:
        NotFound: a frame has no open letter; nothing was changed.
        StorageUnavailable: the database does not answer; nothing was changed.

    """
    with transaction(sessions) as session:
        held = _hold(session, frame_ids, lines)
        again = tuple(one for one, stored in held.items() if stored)
        resolve_letters(session, again, DeadLetterResolution.RETRIED, resolved_by=by)
        queue_again(session, again)
        _record(session, again, "frame.retry", by)
    return Decided(again, tuple(one for one, stored in held.items() if not stored))


def discard_dead_letters(
    sessions: Sessions, frame_ids: Sequence[UUID] | None, *, by: str, lines: Lines = None
) -> Decided:
    """Close the letters of these frames, or all: they stay failed, and their bytes go when they are old enough.

    Raises:
        NotFound: a frame has no open letter; nothing was changed.
        StorageUnavailable: the database does not answer; nothing was changed.

    """
    with transaction(sessions) as session:
        held = _hold(session, frame_ids, lines)
        resolve_letters(session, list(held), DeadLetterResolution.DISCARDED, resolved_by=by)
        _record(session, list(held), "frame.discard", by)
    return Decided(tuple(held))


def _record(session: Session, frames: Sequence[UUID], action: str, by: str) -> None:
    for one in frames:
        audit.record(session, actor=by, action=action, subject=f"frame {one}")


def _hold(session: Session, frame_ids: Sequence[UUID] | None, lines: Lines) -> dict[UUID, bool]:
    """Frames with open letters, locked, and whether each has its bytes."""
    held = lock_open_letters(session, frame_ids, lines)
    unknown = [one for one in frame_ids or () if one not in held]
    if unknown:
        raise NotFound(
            f"No open dead letter of frame {', '.join(map(str, unknown))}.",
            cure="'gistline dead-letters list' shows those that are open.",
        )
    return held
