"""What rules about the state of things look at: counted for each camera of a scope."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Text, func, select, text
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by
from sqlalchemy.orm import Session

from gistline.domain_acting import Scope, VerdictSource
from gistline.storage.tables import Camera, DeadLetterRow, FrameRow, GateVerdictRow


@dataclass(frozen=True, slots=True)
class Found:
    """So many of something at one camera, since when, and the latest in words."""

    scope: Scope
    count: int
    oldest: datetime
    latest: str = ""


def open_letters(session: Session, scope: Scope) -> Iterator[Found]:
    """Frames that were given up and that nobody has decided about."""
    latest = _first(DeadLetterRow.reason, DeadLetterRow.created_at.desc())
    statement = (
        select(Camera.line, Camera.name, func.count(), func.min(DeadLetterRow.created_at), latest)
        .join(FrameRow, FrameRow.id == DeadLetterRow.frame_id)
        .join(Camera, Camera.id == FrameRow.camera_id)
        .where(DeadLetterRow.resolved_at.is_(None))
    )
    yield from _found(session, _within(statement, scope, Camera.line, Camera.name))


def oldest_waiting(session: Session, scope: Scope) -> Iterator[Found]:
    """Frames that wait for a worker."""
    statement = (
        select(Camera.line, Camera.name, func.count(), func.min(FrameRow.accepted_at))
        .join(Camera, Camera.id == FrameRow.camera_id)
        .where(text("frames.state = 'pending'"))
    )
    yield from _found(session, _within(statement, scope, Camera.line, Camera.name))


def missed_verdicts(session: Session, scope: Scope, *, since: datetime) -> Iterator[Found]:
    """Verdicts that gates were told and that no inspection made."""
    row = GateVerdictRow
    latest = _first(func.concat(row.frame_key, ": ", row.reason), row.decided_at.desc())
    statement = select(row.line, row.camera, func.count(), func.min(row.decided_at), latest)
    statement = statement.where(row.decided_at > since, row.source != VerdictSource.INSPECTION)
    yield from _found(session, _within(statement, scope, row.line, row.camera))


def _first(value: Any, order: Any) -> Any:
    """The first of a group's values; one is sent, however many there are."""
    return func.array_agg(aggregate_order_by(value, order), type_=ARRAY(Text))[1]


def _within(statement: Any, scope: Scope, line: Any, camera: Any) -> Any:
    if scope.line is not None:
        statement = statement.where(line == scope.line)
    if scope.camera is not None:
        statement = statement.where(camera == scope.camera)
    return statement.group_by(line, camera).order_by(line, camera)


def _found(session: Session, statement: Any) -> Iterator[Found]:
    for line, camera, count, oldest, *latest in session.execute(statement):
        yield Found(Scope(line, camera), count, oldest, str(latest[0]) if latest else "")
