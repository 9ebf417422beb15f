"""Workers' names in; each of them finishes what it holds, gives back the rest and leaves."""

from __future__ import annotations

from collections.abc import Sequence

from gistline.errors import NotFound
from gistline.storage import audit, drains, health
from gistline.storage.session import Sessions, transaction


def drain_workers(sessions: Sessions, names: Sequence[str], *, by: str) -> list[str]:
    """Ask live workers to leave; no names: all of them. They notice with their next heartbeat.

    Returns:
        The names of those that were asked.

    Raises:
        NotFound: no live worker has one of these names; nobody was asked.
        StorageUnavailable: the database does not answer.

    """
    with transaction(sessions) as session:
        alive = health.live_names(session)
        if unknown := sorted(set(names) - alive):
            known = ", ".join(sorted(alive)) or "none"
            raise NotFound(f"No live worker is named {', '.join(unknown)}.", cure=f"Alive are: {known}.")
        asked = sorted(set(names) or alive)
        drains.ask_to_leave(session, asked, by=by)
        for name in asked:
            audit.record(session, actor=by, action="worker.drain", subject=f"worker {name}")
    return asked


def still_alive(sessions: Sessions, names: Sequence[str]) -> list[str]:
    """Those of these workers that have not left yet."""
    with transaction(sessions) as session:
        return sorted(set(names) & health.live_names(session))
