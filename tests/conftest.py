"""Real servers for the tests: one PostgreSQL and one Redis a session, an own database and an empty Redis a test.

``TEST_DATABASE_URL`` and ``TEST_REDIS_URL`` name servers of your own (the role must be allowed to create databases; the
Redis database is emptied); otherwise the embedded ones run in a temporary folder. A server that cannot be had skips the
test on a laptop and fails it where ``CI`` is set.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import NoReturn

import pytest
from redis import Redis
from sqlalchemy import URL, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from gistline.embedded.postgres import postgres
from gistline.embedded.redis import redis
from gistline.errors import StorageUnavailable
from gistline.storage import migrate
from gistline.storage.session import sqlalchemy_url

TEMPLATE = f"gistline_template_{os.getpid()}"


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """SQLAlchemy URL of a database on the session's server that stays as it is; for tests of the server itself."""
    own = os.environ.get("TEST_DATABASE_URL")
    if own:
        yield sqlalchemy_url(own)
        return
    folder = tmp_path_factory.mktemp("postgres")
    with ExitStack() as stack:
        try:
            # Nobody needs a test's data after a power cut; everything else is as in production.
            url = stack.enter_context(postgres(folder / "data", folder / "log", options={"fsync": "off"}))
        except StorageUnavailable as error:
            _do_without(error)
        yield url


@pytest.fixture(scope="session")
def template_database(postgres_url: str) -> Iterator[str]:
    """Name of a database that the real migrations built, once a session; it is only ever copied."""
    with _scratch_database(postgres_url, TEMPLATE, template="template0") as url:
        migrate.upgrade(url)
        yield TEMPLATE


@pytest.fixture
def database_url(postgres_url: str, template_database: str, fresh_name: str) -> Iterator[str]:
    """SQLAlchemy URL of a migrated, empty database that belongs to this test alone."""
    with _scratch_database(postgres_url, fresh_name, template=template_database) as url:
        yield url


@pytest.fixture
def empty_database_url(postgres_url: str, fresh_name: str) -> Iterator[str]:
    """SQLAlchemy URL of a database without any table; for tests of the migrations."""
    with _scratch_database(postgres_url, fresh_name, template="template0") as url:
        yield url


@pytest.fixture(scope="session")
def _numbers() -> Iterator[int]:
    return count(1)


@pytest.fixture
def fresh_name(_numbers: Iterator[int]) -> str:
    """A database name that no other test of this run uses."""
    return f"gistline_test_{os.getpid()}_{next(_numbers)}"


@pytest.fixture(scope="session")
def redis_server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of the session's Redis."""
    own = os.environ.get("TEST_REDIS_URL")
    if own:
        yield own
        return
    folder = tmp_path_factory.mktemp("redis")
    with ExitStack() as stack:
        try:
            url = stack.enter_context(redis(folder / "data", folder / "log"))
        except StorageUnavailable as error:
            _do_without(error)
        yield url


@pytest.fixture
def redis_url(redis_server_url: str) -> str:
    """URL of a Redis database that is empty when the test starts."""
    with Redis.from_url(redis_server_url) as client:
        client.flushdb()
    return redis_server_url


@pytest.fixture
def clean_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A working folder and an environment that set nothing, so that settings are the defaults; gives the folder."""
    for name in os.environ:
        if name.upper().startswith(("GISTLINE_", "ANTHROPIC_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@contextmanager
def _scratch_database(server: str, name: str, *, template: str) -> Iterator[str]:
    """Create a database from a template, drop it at the end, whoever is still connected."""
    url = make_url(server)
    _execute(url, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    try:
        yield url.set(database=name).render_as_string(hide_password=False)
    finally:
        _execute(url, f'DROP DATABASE "{name}" WITH (FORCE)')


def _execute(url: URL, statement: str) -> None:
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))


def _do_without(error: StorageUnavailable) -> NoReturn:
    """Skip on a laptop, fail where CI promises the servers."""
    if os.environ.get("CI"):
        pytest.fail(str(error))
    pytest.skip(str(error))
