"""Ids that carry their moment: UUID version 7 begins with the milliseconds since 1970, so ids sort as time does.

The big tables are cut by such an id (``partitions.py``): a bound on the id reads only the partitions of that time.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_VERSION_7: Final = 7 << 76
_VARIANT: Final = 2 << 62
_COUNTER_BITS: Final = 12
MOST_AT_ONCE: Final = 1 << (_COUNTER_BITS - 1)
"""Ids that :func:`ids_at` makes in one call at most."""


def lowest_id(moment: datetime) -> UUID:
    """The bound below every id made at ``moment`` (timezone-aware) or later, and above every earlier one."""
    return UUID(int=max(0, (moment - _EPOCH) // _MILLISECOND) << 80)


def moment_of(made: UUID) -> datetime:
    """When an id was made, to the millisecond.

    Raises:
        OverflowError: the id is no version 7 and its first 48 bits are after the year 9999.

    """
    return _EPOCH + (made.int >> 80) * _MILLISECOND


def ids_at(moment: datetime, count: int) -> list[UUID]:
    """``count`` new ids of one moment, in their order; at most ``MOST_AT_ONCE``.

    The moment is the database's clock, not this process's: a process whose clock is off would otherwise put its rows
    into partitions of another time.
    """
    if count > MOST_AT_ONCE:
        raise ValueError(f"{count} ids at once; at most {MOST_AT_ONCE} of one millisecond keep their order")
    start = int(lowest_id(moment)) | _VERSION_7 | _VARIANT
    first = secrets.randbelow(MOST_AT_ONCE)
    return [UUID(int=start | (first + place) << 64 | secrets.randbits(62)) for place in range(count)]
