"""What the commands of ``gistline model`` share: the database with its tables and bundled models, and who asks."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import click

from gistline.cli.invocation import settings_of
from gistline.embedded.servers import attached
from gistline.errors import StorageUnavailable
from gistline.flows.register_model import register_bundled
from gistline.settings import Settings
from gistline.storage import health, migrate
from gistline.storage.session import Sessions, close_database, open_database, transaction


@dataclass(frozen=True, slots=True)
class Registry:
    """An open database; ``settings`` name it."""

    settings: Settings
    sessions: Sessions


@contextmanager
def registry(context: click.Context) -> Iterator[Registry]:
    """Open the database that the settings name, or the embedded one; the bundled models are in it.

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
            register_bundled(sessions, settings)
            yield Registry(settings, sessions)
        finally:
            close_database(sessions)


def actor() -> str:
    """Who runs this command, for the history."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        name = "unknown"
    return f"{name}@{socket.gethostname()}"


def _check_tables(sessions: Sessions) -> None:
    with transaction(sessions) as session:
        found = health.revision(session)
    if found != migrate.head():
        raise StorageUnavailable(
            f"The tables are at {found or 'nothing'}, needed is {migrate.head()}.", cure="Run 'gistline db upgrade'."
        )
