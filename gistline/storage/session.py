"""Connections: one engine for each process, short transactions, time-outs everywhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg.errors import DeadlockDetected, LockNotAvailable, QueryCanceled
from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, InvalidatePoolError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry

from gistline.errors import SettingsError, StorageUnavailable
from gistline.settings import DatabaseSettings

Sessions = sessionmaker[Session]
BUSY = (QueryCanceled, LockNotAvailable, DeadlockDetected)
"""What PostgreSQL ends a statement with though it is well: a time limit, or somebody else's lock."""

PING_AFTER_S: Final = 1.0
"""A connection that was not used for this long is tried before it is used."""


def open_database(settings: DatabaseSettings) -> Sessions:
    """Make the process's session factory; connects at first use, so call it after a fork.

    Raises:
        SettingsError: the URL is empty or not one of PostgreSQL.

    """
    return sessionmaker(_engine(settings), expire_on_commit=False)


def close_database(sessions: Sessions) -> None:
    """Close the pool's connections."""
    bind = sessions.kw["bind"]
    if isinstance(bind, Engine):
        bind.dispose()


@contextmanager
def transaction(sessions: Sessions) -> Iterator[Session]:
    """One transaction: commits at the end, rolls back on any error.

    Raises:
        StorageUnavailable: the database does not answer or broke the connection off.

    """
    try:
        with sessions.begin() as session:
            yield session
    except PoolTimeout as error:
        raise StorageUnavailable(
            "Every database connection of this process is busy.", cure="Try again, or raise database.pool_size."
        ) from error
    except OperationalError as error:
        raise unavailable(error) from error
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        raise StorageUnavailable("The database broke the connection off.", cure="Try again.") from error


def unavailable(error: OperationalError) -> StorageUnavailable:
    """What PostgreSQL said, in our words: away, or there and too busy for this statement."""
    said = str(error.orig).strip().rstrip(".")
    if isinstance(error.orig, BUSY):
        return StorageUnavailable(
            f"The database is too busy: {said}.",
            cure="Try again. If it recurs, look who holds locks: pg_stat_activity.",
        )
    return StorageUnavailable(f"The database does not answer: {said}.", cure="Is PostgreSQL up? See 'gistline doctor'.")


def _engine(settings: DatabaseSettings) -> Engine:
    raw = settings.url.get_secret_value()
    if not raw:
        raise SettingsError(
            "database.url is empty.", cure="Set GISTLINE_DATABASE__URL, or use 'gistline up' for the embedded server."
        )
    engine = create_engine(
        sqlalchemy_url(raw),
        pool_size=settings.pool_size,
        max_overflow=settings.pool_size,
        pool_timeout=settings.connect_timeout_s,
        pool_use_lifo=True,  # the connection used last is the one least likely to have died
        hide_parameters=True,  # a digest, a hash or somebody's text has no place in an error
        connect_args={
            "connect_timeout": settings.connect_timeout_s,
            "options": (
                f"-c statement_timeout={settings.statement_timeout_s * 1000} "
                f"-c idle_in_transaction_session_timeout={settings.idle_timeout_s * 1000} -c timezone=UTC"
            ),
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 25_000,  # keepalives say nothing while an answer is awaited on a dead network
        },
    )
    _ping_after_a_pause(engine)
    return engine


def _ping_after_a_pause(engine: Engine) -> None:
    """Have a connection tried before it is used again after ``PING_AFTER_S``; a dead one is replaced unseen.

    One that was used a moment ago is not: a round trip before each of the transactions on a frame's way costs more
    than the error that somebody sees who writes in the very second in which the server restarts, and would anyway.
    """

    def checked_in(_connection: Any, record: ConnectionPoolEntry) -> None:
        record.info["used_at"] = time.monotonic()

    def checked_out(connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: object) -> None:
        if time.monotonic() - record.info.get("used_at", float("inf")) < PING_AFTER_S:
            return
        try:
            engine.dialect.do_ping(connection)
        except psycopg.Error as error:
            raise InvalidatePoolError from error  # all idle ones are as old as this one or older

    event.listen(engine, "checkin", checked_in)
    event.listen(engine, "checkout", checked_out)


def sqlalchemy_url(raw: str) -> str:
    """Accept libpq's ``postgresql://`` and name the driver that we use.

    Raises:
        SettingsError: no URL, or one of another database.

    """
    try:
        url = make_url(raw)
    except ArgumentError as error:
        raise SettingsError(
            "database.url is no URL.", cure="Write postgresql://user:password@host:5432/name."
        ) from error
    if url.get_backend_name() not in {"postgresql", "postgres"}:
        raise SettingsError(
            f"database.url names {url.get_backend_name()!r}; only PostgreSQL is served.",
            cure="Write postgresql://user:password@host:5432/name.",
        )
    return url.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
