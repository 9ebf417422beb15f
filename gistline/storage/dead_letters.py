"""Frames that were given up: why, since when, and what somebody decided about them.

A frame with an open dead letter keeps its bytes, however old it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import String, Uuid, and_, delete, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from gistline.domain import DeadLetterKind, DeadLetterResolution, FrameState
from gistline.storage import sight
from gistline.storage.arrays import among, unnested, within
from gistline.storage.sight import Lines
from gistline.storage.tables import Camera, DeadLetterRow, FrameRow, VerdictRow


@dataclass(frozen=True, slots=True)
class NewLetter:
    """A frame that is given up now."""

    frame_id: UUID
    kind: DeadLetterKind
    reason: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A frame that was given up after ``attempts`` attempts; ``bytes_stored`` says whether it can be tried again."""

    id: UUID
    frame_id: UUID
    camera: str
    line: str
    kind: DeadLetterKind
    reason: str
    attempts: int
    created_at: datetime
    bytes_stored: bool
    resolution: DeadLetterResolution | None
    resolved_at: datetime | None
    resolved_by: str | None


def write_letters(session: Session, letters: Sequence[NewLetter]) -> None:
    """Open a letter for each of these frames, in the transaction that fails them."""
    if not letters:
        return
    new = unnested(
        id=(Uuid(), [uuid7() for _ in letters]),
        frame_id=(Uuid(), [one.frame_id for one in letters]),
        kind=(DeadLetterRow.__table__.c.kind.type, [one.kind for one in letters]),
        reason=(String(), [one.reason for one in letters]),
    )
    failed = FrameRow.id == new.c.frame_id, within(FrameRow.id, [one.frame_id for one in letters])
    tried = select(*new.c, FrameRow.attempts).join(FrameRow, and_(*failed))
    session.connection().execute(insert(DeadLetterRow).from_select([*new.c.keys(), "attempts"], tried))


def list_letters(
    session: Session, *, limit: int, resolved: bool = False, camera: str | None = None
) -> list[DeadLetter]:
    """The newest open letters first; with ``resolved``, those that were decided about too."""
    statement = (
        select(DeadLetterRow, Camera.name, FrameRow.line, FrameRow.bytes_stored)
        .join(FrameRow, FrameRow.id == DeadLetterRow.frame_id)
        .join(Camera, Camera.id == FrameRow.camera_id)
        .order_by(DeadLetterRow.created_at.desc(), DeadLetterRow.id.desc())
        .limit(limit)
    )
    if not resolved:
        statement = statement.where(DeadLetterRow.resolved_at.is_(None))
    if camera is not None:
        statement = statement.where(Camera.name == camera)
    return [_letter(*row) for row in session.execute(statement)]


def lock_open_letters(session: Session, frame_ids: Iterable[UUID] | None, lines: Lines = None) -> dict[UUID, bool]:
    """Lock the open letters of these frames, or all, of these lines; says of each frame whether it has bytes.

    The locks are held until the transaction ends.
    """
    held = (
        select(FrameRow.id, FrameRow.bytes_stored)
        .join(DeadLetterRow, DeadLetterRow.frame_id == FrameRow.id)
        .where(DeadLetterRow.resolved_at.is_(None), sight.within(FrameRow.line, lines))
        .order_by(FrameRow.id)
        .with_for_update()
    )
    if frame_ids is not None:
        held = held.where(among(FrameRow.id, frame_ids))
    return {row.id: row.bytes_stored for row in session.execute(held)}


def resolve_letters(
    session: Session, frame_ids: Sequence[UUID], resolution: DeadLetterResolution, *, resolved_by: str
) -> None:
    """Close the open letters of these frames."""
    close = (
        update(DeadLetterRow)
        .where(among(DeadLetterRow.frame_id, frame_ids), DeadLetterRow.resolved_at.is_(None))
        .values(resolution=resolution, resolved_at=func.now(), resolved_by=resolved_by)
    )
    session.execute(close.execution_options(synchronize_session=False))


def queue_again(session: Session, frame_ids: Sequence[UUID]) -> None:
    """Let failed frames wait once more, as if new but to be tried alone: their reason stays until they end.

    Their verdict goes, since a new one comes; a deadline that is over does not count any more. They are reported again
    in the window in which they end.
    """
    session.execute(delete(VerdictRow).where(among(VerdictRow.frame_id, frame_ids)))
    again = (
        update(FrameRow)
        .where(among(FrameRow.id, frame_ids), FrameRow.state == FrameState.FAILED)
        .values(
            state=FrameState.PENDING,
            attempts=0,
            error=literal("tried again after: ") + func.coalesce(FrameRow.error, ""),
            token=None,
            finished_at=None,
            report_window_id=None,
            expires_at=None,
            available_at=func.now(),
            queue_at=func.now(),
            sent_at=None,
            rings=0,
        )
    )
    session.execute(again.execution_options(synchronize_session=False))


def _letter(row: DeadLetterRow, camera: str, line: str, stored: bool) -> DeadLetter:
    return DeadLetter(
        id=row.id,
        frame_id=row.frame_id,
        camera=camera,
        line=line,
        kind=row.kind,
        reason=row.reason,
        attempts=row.attempts,
        created_at=row.created_at,
        bytes_stored=stored,
        resolution=row.resolution,
        resolved_at=row.resolved_at,
        resolved_by=row.resolved_by,
    )
