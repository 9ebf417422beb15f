"""A database role that may look at what dashboards show, and at nothing else: no keys, no passwords, no writing."""

from __future__ import annotations

from typing import Final

from psycopg import sql
from sqlalchemy import select, text
from sqlalchemy.orm import Session

READABLE: Final = (
    "accuracy_reviews",
    "alarms",
    "batches",
    "cameras",
    "dead_letters",
    "engines",
    "findings",
    "frames",
    "llm_attempts",
    "passports",
    "prices_used",
    "report_findings",
    "report_windows",
    "reports",
    "serving",
    "submissions",
    "verdicts",
    "worker_heartbeats",
)
"""Tables that the role may read; views whose name begins with ``v_`` are added."""
STATEMENT_TIMEOUT: Final = "15s"


def may_make_roles(session: Session) -> bool:
    """Whether this connection's role may make others."""
    return bool(session.scalar(text("SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user")))


def make_reader(session: Session, name: str, password: str) -> None:
    """Make the role, or give it another password; then let it read what it may, and nothing that it could before."""
    role = sql.Identifier(name)
    found = session.scalar(
        select(text("1")).select_from(text("pg_roles")).where(text("rolname = :name")), {"name": name}
    )
    verb = sql.SQL("ALTER" if found else "CREATE")
    _run(session, sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(verb, role, _hashed(session, name, password)))
    for setting, value in (("default_transaction_read_only", "on"), ("statement_timeout", STATEMENT_TIMEOUT)):
        _run(session, sql.SQL("ALTER ROLE {} SET {} = {}").format(role, sql.Identifier(setting), sql.Literal(value)))
    database = sql.Identifier(str(session.scalar(text("SELECT current_database()"))))
    _run(session, sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, role))
    _run(session, sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(role))
    _run(session, sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {}").format(role))
    tables = sql.SQL(", ").join(map(sql.Identifier, (*READABLE, *_views(session))))
    _run(session, sql.SQL("GRANT SELECT ON {} TO {}").format(tables, role))


def _views(session: Session) -> list[str]:
    named = text("SELECT viewname FROM pg_views WHERE schemaname = 'public' AND viewname LIKE 'v\\_%' ORDER BY 1")
    return list(session.scalars(named))


def _hashed(session: Session, name: str, password: str) -> sql.Composable:
    """The password as the server keeps it, hashed here: what is sent may stand in the server's log."""
    driver = session.connection().connection.driver_connection
    if driver is None:
        raise AssertionError("a session in a transaction has a connection")
    hashed = driver.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256")
    return sql.Literal(hashed.decode())


def _run(session: Session, statement: sql.Composed) -> None:
    session.connection().exec_driver_sql(statement.as_string().replace("%", "%%"))
