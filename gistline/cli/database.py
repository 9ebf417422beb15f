"""The database of a command: that of the settings with tables of this version, or the embedded one, made ready."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import click

from gistline.cli.invocation import settings_of
from gistline.embedded.servers import attached
from gistline.errors import StorageUnavailable
from gistline.settings import Settings
from gistline.storage import health, migrate
from gistline.storage.session import Sessions, close_database, open_database, transaction


@dataclass(frozen=True, slots=True)
class Database:
    """An open database; ``settings`` name it."""

    settings: Settings
    sessions: Sessions


@contextmanager
def database(context: click.Context) -> Iterator[Database]:
    """Open it for the block.

    Raises:
        StorageUnavailable: it does not answer, or its tables are not those of this version.

    """
    asked = settings_of(context)
    with attached(asked) as settings:
        if not asked.database.url.get_secret_value():
            migrate.upgrade(settings.database.url.get_secret_value())
        sessions = open_database(settings.database)
        try:
            _check_tables(sessions)
            yield Database(settings, sessions)
        finally:
            close_database(sessions)


def _check_tables(sessions: Sessions) -> None:
    with transaction(sessions) as session:
        found = health.revision(session)
    if found != migrate.head():
        raise StorageUnavailable(
            f"The tables are at {found or 'nothing'}, needed is {migrate.head()}.", cure="Run 'gistline db upgrade'."
        )
