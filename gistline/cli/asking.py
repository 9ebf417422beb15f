"""Ask a database that is there already, for the doctor: it looks, and neither starts nor changes anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.orm import Session

from gistline.embedded.servers import already_running
from gistline.errors import GistlineError
from gistline.settings import Settings
from gistline.storage import health, migrate
from gistline.storage.session import close_database, open_database, transaction

_Answer = TypeVar("_Answer")


def ask(settings: Settings, question: Callable[[Session], _Answer]) -> _Answer | None:
    """What the settings' database says, or the embedded one while its owner runs.

    None where there is neither, or where it cannot tell: another check says why.
    """
    found = already_running(settings).database
    if not found.url.get_secret_value():
        return None
    try:
        sessions = open_database(found)
    except GistlineError:
        return None
    try:
        with transaction(sessions) as session:
            return question(session) if health.revision(session) == migrate.head() else None
    except GistlineError:
        return None
    finally:
        close_database(sessions)
