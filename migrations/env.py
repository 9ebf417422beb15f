"""How a migration runs: one at a time (advisory lock), never waiting long for a table lock, nor holding one idly."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, create_engine, text

from gistline.storage.tables import Base

ADVISORY_LOCK = 7_161_234_001
"""Any number that no other program of the database uses; held for the length of the upgrade."""


def run() -> None:
    """Connect, take the lock, run the revisions in one transaction."""
    engine = create_engine(context.config.attributes["url"], connect_args={"connect_timeout": 10})
    try:
        with engine.begin() as connection:
            connection.execute(text(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})"))
            connection.execute(text("SET LOCAL lock_timeout = '5s'"))
            # A frozen upgrade would stop the whole fleet for as long as it stays frozen.
            connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = '60s'"))
            partitions = _partitions(connection)
            context.configure(
                connection=connection,
                target_metadata=Base.metadata,
                compare_type=True,
                compare_server_default=True,
                include_name=lambda name, kind, _: kind != "table" or name not in partitions,
            )
            context.run_migrations()
    finally:
        engine.dispose()


def _partitions(connection: Connection) -> set[str]:
    """Partitions are made as time goes on; only the tables that they belong to are declared in the code."""
    return set(connection.scalars(text("SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'")))


run()
