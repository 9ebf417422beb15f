"""The tables that grow with the frames are cut by time; here their partitions are read, made ahead and locked.

A *period* has one partition of every such table, named ``TABLE_pYYYYMMDD`` after its first day; the first of all,
``TABLE_first``, reaches back without end. What no period covers falls into ``TABLE_default``, so that no insert ever
fails for want of a partition. Bounds are ids of version 7 (``moments.py``), read from PostgreSQL's own catalogue.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from psycopg.errors import LockNotAvailable
from sqlalchemy import func, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from gistline.storage.moments import lowest_id, moment_of

CUT_BY: Final = {
    "frames": "id",
    "findings": "frame_id",
    "verdicts": "frame_id",
    "report_findings": "frame_id",
    "submissions": "id",
    "batches": "id",
}
"""Each table that is cut, and by which id."""
PARTITION_LOCK: Final = 7_161_234_008
"""Advisory lock of whoever makes or drops partitions; any number that no other program of the database uses."""
LEAST_AHEAD: Final = timedelta(days=7)
DEFAULT: Final = "default"
FIRST: Final = "first"

_LINKS: Final = (
    ("findings", "frame_id", "frames", "id"),
    ("verdicts", "frame_id", "frames", "id"),
    ("report_findings", "frame_id, finding_id", "findings", "frame_id, id"),
)
"""Foreign keys lie between partitions of one period: a period can then be dropped without looking at the others."""
_BOUNDS: Final = re.compile(r"FOR VALUES FROM \((MINVALUE|'([0-9a-f-]{36})')\) TO \('([0-9a-f-]{36})'\)")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """A stretch of time that has partitions of its own; ``starts_at`` of the first of all is the year 1."""

    starts_at: datetime
    ends_at: datetime

    @property
    def name(self) -> str:
        """End of the names of its partitions."""
        return FIRST if self.starts_at == _BEGINNING else f"p{self.starts_at:%Y%m%d}"

    @property
    def lowest(self) -> UUID:
        """No id of the period is lower."""
        return UUID(int=0) if self.starts_at == _BEGINNING else lowest_id(self.starts_at)

    @property
    def end(self) -> UUID:
        """Every id of the period is lower."""
        return lowest_id(self.ends_at)


def periods(session: Session, table: str = "frames") -> list[Period]:
    """The periods that have a partition of ``table``, oldest first."""
    bounds = session.scalars(
        text(
            "SELECT pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
            "WHERE i.inhparent = to_regclass(:table)"
        ),
        {"table": table},
    )
    found = [_BOUNDS.fullmatch(bound) for bound in bounds]
    return sorted(
        Period(moment_of(UUID(match[2])) if match[2] else _BEGINNING, moment_of(UUID(match[3])))
        for match in found
        if match
    )


def missing_periods(existing: Sequence[Period], *, now: datetime, days: int) -> Iterator[Period]:
    """What is to be made so that time is covered from ``now`` for a week, or a period if that is longer.

    Periods are ``days`` long and begin at midnight UTC, on the same days whoever makes them; where others are in the
    way (the length was changed), the gap between them is filled.
    """
    length = timedelta(days=days)
    cursor = _begin(now, length)
    before = [period.ends_at for period in existing if period.ends_at <= now]
    cursor = max([cursor, *before])
    while cursor <= now + max(LEAST_AHEAD, length):
        inside = next((one for one in existing if one.starts_at <= cursor < one.ends_at), None)
        if inside is None:
            later = [one.starts_at for one in existing if one.starts_at > cursor]
            made = Period(cursor, min([_begin(cursor, length) + length, *later]))
            yield made
            cursor = made.ends_at
        else:
            cursor = inside.ends_at


def alone(session: Session) -> bool:
    """Whether this transaction may make or drop partitions: false while another one does."""
    return bool(session.scalar(select(func.pg_try_advisory_xact_lock(PARTITION_LOCK))))


def database_time(session: Session) -> datetime:
    """When the transaction began, by the database's clock."""
    return session.execute(select(func.now())).scalar_one()


def has_strays(session: Session, period: Period) -> bool:
    """Whether rows of this period are in a default partition already; it cannot have partitions then."""
    bounds = {"low": period.lowest, "end": period.end}
    some = " OR ".join(
        f"EXISTS (SELECT FROM {table}_{DEFAULT} WHERE {column} >= :low AND {column} < :end)"
        for table, column in CUT_BY.items()
    )
    return bool(session.scalar(text(f"SELECT {some}"), bounds))


def make_period(session: Session, period: Period, *, wait_ms: int) -> bool:
    """Make the period's partitions; false, with nothing done, when the tables stayed busy for ``wait_ms``.

    The new tables are built before anything is locked: the fleet waits only while they are attached.
    """

    def attach() -> bool:
        for table in CUT_BY:
            bounds = f"FROM ('{period.lowest}') TO ('{period.end}')"
            session.execute(text(f"ALTER TABLE {table} ATTACH PARTITION {table}_{period.name} FOR VALUES {bounds}"))
        return True

    with session.begin_nested() as whole:
        for table in CUT_BY:
            like = f"CREATE TABLE {table}_{period.name} (LIKE {table} INCLUDING ALL EXCLUDING IDENTITY)"
            session.execute(text(like))
        for statement in _links(period):
            session.execute(text(statement))
        made = when_quiet(session, [f"{table}_{DEFAULT}" for table in CUT_BY], attach, wait_ms=wait_ms)
        if not made:
            whole.rollback()
    return made


def when_quiet(session: Session, tables: Sequence[str], act: Callable[[], bool], *, wait_ms: int) -> bool:
    """Act while nobody else uses these tables, their partitions apart; the lock stays until the transaction ends.

    Keep ``wait_ms`` under PostgreSQL's ``deadlock_timeout`` (1 s): in a circle of waiting transactions it is then this
    one that gives way.

    Returns:
        What ``act`` returned; false, with nothing done, when the tables stayed busy for ``wait_ms``.

    """
    locked = ", ".join(f"ONLY {table}" for table in tables)
    try:
        with session.begin_nested():
            session.execute(text(f"SET LOCAL lock_timeout = {wait_ms}"))
            session.execute(text(f"LOCK TABLE {locked} IN ACCESS EXCLUSIVE MODE"))
            return act()
    except OperationalError as error:
        if not isinstance(error.orig, LockNotAvailable):
            raise
        return False


def _links(period: Period) -> Iterator[str]:
    for table, columns, other, referred in _LINKS:
        yield (
            f"ALTER TABLE {table}_{period.name} ADD CONSTRAINT fk_{table}_{period.name}_{other} "
            f"FOREIGN KEY ({columns}) REFERENCES {other}_{period.name} ({referred})"
        )


def _begin(moment: datetime, length: timedelta) -> datetime:
    return moment - (moment - _EPOCH) % length
