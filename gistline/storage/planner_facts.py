"""What PostgreSQL's planner knows of the tables that are cut by time.

Autovacuum keeps the statistics of each partition, and never those of the table that they make up; by these the planner
guesses how many rows a join has. Without them a filtered page of findings was ten times slower (docs/fleet.md).
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from gistline.storage.partitions import CUT_BY

LOCK_WAIT: Final = "500ms"
"""Whoever makes or drops a partition has the table to himself for moments; the next round tries again."""
_ONLY_SINCE: Final = (18,)
"""Older versions gather the statistics of each partition as well."""

_OUTDATED: Final = text("""
SELECT p.relname FROM pg_class p LEFT JOIN pg_stat_user_tables s ON s.relid = p.oid
 WHERE p.relkind = 'p' AND p.oid = to_regclass(p.relname) AND p.relname = ANY(:tables)
   AND (s.last_analyze IS NULL OR s.last_analyze < now() - interval '1 day'
        OR 2 * greatest(p.reltuples, 0) < (SELECT sum(greatest(c.reltuples, 0)) FROM pg_inherits i
                                             JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = p.oid))
 ORDER BY p.relname""")


def outdated_tables(session: Session) -> list[str]:
    """Tables that were not looked at for a day, or have more than doubled since."""
    return list(session.scalars(_OUTDATED, {"tables": list(CUT_BY)}))


def gather_statistics(session: Session, table: str) -> None:
    """Look at a sample of a table's rows, whatever partition they lie in: a second, however many there are.

    Raises:
        sqlalchemy.exc.OperationalError: somebody makes or drops a partition.

    """
    if table not in CUT_BY:
        raise ValueError(f"{table!r} is none of {', '.join(CUT_BY)}")
    only = "ONLY " if (session.connection().dialect.server_version_info or ()) >= _ONLY_SINCE else ""
    session.execute(text(f"SET LOCAL lock_timeout = '{LOCK_WAIT}'"))
    session.execute(text("SET LOCAL statement_timeout = 0"))
    session.execute(text(f"ANALYZE {only}{table}"))
