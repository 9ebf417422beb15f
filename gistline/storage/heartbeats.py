"""Signs of life of the worker processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from gistline.storage.tables import WorkerHeartbeat


@dataclass(frozen=True, slots=True)
class Beat:
    """One process: its unique name, kind (``detect``, ``report``), whether it takes work, and facts about it."""

    name: str
    kind: str
    ready: bool
    detail: Mapping[str, Any]


def save_beat(session: Session, beat: Beat) -> None:
    """Insert or renew the process's row."""
    now = {"kind": beat.kind, "ready": beat.ready, "detail": dict(beat.detail), "beat_at": func.now()}
    new = insert(WorkerHeartbeat).values(name=beat.name, **now)
    session.execute(new.on_conflict_do_update(index_elements=[WorkerHeartbeat.name], set_=now))


def remove_beat(session: Session, name: str) -> None:
    """The process leaves in good order."""
    session.execute(delete(WorkerHeartbeat).where(WorkerHeartbeat.name == name))


def forget_silent(session: Session, *, days: int = 1) -> None:
    """Remove rows of processes that were killed long ago."""
    session.execute(delete(WorkerHeartbeat).where(WorkerHeartbeat.beat_at < func.now() - timedelta(days=days)))
