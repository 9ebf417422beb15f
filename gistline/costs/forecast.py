"""What a budget's period will have cost at its end, at the pace so far. Pure."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Final

EARLIEST: Final = Decimal("0.05")
"""Before this share of the period is over, the pace says nothing."""


def forecast(spent: Decimal, start: datetime, end: datetime, now: datetime) -> Decimal | None:
    """Dollars of the whole period if spending goes on as it did; None while it is too early to say.

    Plants do not work evenly: one that rests at night will seem dear in the morning.
    """
    over = Decimal((now - start).total_seconds()) / Decimal((end - start).total_seconds())
    if over < EARLIEST:
        return None
    return spent if over >= 1 else spent / over
