"""What the commands of ``gistline model`` share: the database with the bundled models in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from gistline.cli.database import Database, database
from gistline.flows.register_model import register_bundled


@contextmanager
def registry(context: click.Context) -> Iterator[Database]:
    """Open the database that the settings name, or the embedded one; the bundled models are in it.

    Raises:
        StorageUnavailable: it does not answer, or its tables are not those of this version.

    """
    with database(context) as opened:
        register_bundled(opened.sessions, opened.settings)
        yield opened
