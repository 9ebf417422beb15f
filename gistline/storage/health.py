"""Whether the database answers with the right tables, and which workers have been seen lately."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from gistline.storage.tables import WorkerHeartbeat

FRESH_BEAT_S = 15
"""A worker not heard of for this long counts as gone."""


@dataclass(frozen=True, slots=True)
class Workers:
    """Workers of one kind heard of lately, and how many of them are ready to take work."""

    alive: int
    ready: int


def revision(session: Session) -> str | None:
    """Revision of the tables, None where there are none."""
    if session.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return None
    found: str | None = session.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def ready_names(session: Session) -> set[str]:
    """Names of the workers heard of lately that take work."""
    heard = WorkerHeartbeat.beat_at > func.now() - timedelta(seconds=FRESH_BEAT_S)
    return set(session.scalars(select(WorkerHeartbeat.name).where(heard, WorkerHeartbeat.ready)))


def workers(session: Session) -> dict[str, Workers]:
    """Workers by kind (``"detect"``, ``"report"``...)."""
    heard = WorkerHeartbeat.beat_at > func.now() - timedelta(seconds=FRESH_BEAT_S)
    statement = (
        select(WorkerHeartbeat.kind, func.count(), func.count().filter(WorkerHeartbeat.ready))
        .where(heard)
        .group_by(WorkerHeartbeat.kind)
    )
    return {kind: Workers(alive, ready) for kind, alive, ready in session.execute(statement)}
