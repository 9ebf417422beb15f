"""Bring a database's tables to this version, by Alembic, one process at a time."""

from __future__ import annotations

import warnings
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

import migrations
from gistline.storage.session import sqlalchemy_url


def config(url: str) -> Config:
    """Alembic's configuration for the database at ``url``; the scripts come from the package ``migrations``."""
    made = Config()
    made.set_main_option("script_location", str(Path(migrations.__file__).parent))
    made.set_main_option("file_template", "%%(year)d_%%(month).2d_%%(day).2d_%%(slug)s")
    made.attributes["url"] = sqlalchemy_url(url)
    return made


def upgrade(url: str) -> None:
    """Run every migration that is still missing; waits for another process that does the same."""
    command.upgrade(config(url), "head")


def check(url: str) -> None:
    """Raise when the tables in code and in the database differ (``alembic check``)."""
    with warnings.catch_warnings():
        # SQLAlchemy 2.1 reflects NOT VALID constraints with an argument that it does not know itself.
        warnings.filterwarnings("ignore", message="Can't validate argument 'dialect_options'")
        command.check(config(url))


def current(url: str) -> str | None:
    """Revision of the database, or None when it is empty."""
    engine = create_engine(sqlalchemy_url(url))
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()


def head() -> str:
    """Revision that this version of the program needs."""
    found = ScriptDirectory(str(Path(migrations.__file__).parent)).get_current_head()
    if found is None:
        raise RuntimeError("the package 'migrations' holds no revision")
    return found
