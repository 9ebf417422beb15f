"""Workers that were asked to finish what they hold and leave."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import delete, func, literal, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from gistline.storage.tables import DrainRow


def ask_to_leave(session: Session, workers: Sequence[str], *, by: str) -> None:
    """Ask these workers, by the names of their heartbeats; asking twice changes nothing."""
    if workers:
        rows = [{"worker": worker, "asked_by": by, "asked_at": func.now()} for worker in sorted(set(workers))]
        session.execute(insert(DrainRow).values(rows).on_conflict_do_nothing())


def is_asked_to_leave(session: Session, worker: str) -> bool:
    """Whether it is to leave, or has left because of that."""
    return session.execute(select(literal(1)).where(DrainRow.worker == worker)).first() is not None


def forget_old_drains(session: Session) -> None:
    """Delete what was asked a day ago: such a worker has left, or nobody waits for it any more."""
    session.execute(delete(DrainRow).where(DrainRow.asked_at < func.now() - timedelta(days=1)))


def forget_drain(session: Session, worker: str) -> None:
    """A process starts under this name: what was asked of an earlier one does not concern it."""
    session.execute(delete(DrainRow).where(DrainRow.worker == worker))
