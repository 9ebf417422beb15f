"""The words of money: what a budget in dollars is for, and how long it lasts."""

from __future__ import annotations

from enum import StrEnum


class BudgetScope(StrEnum):
    """What a budget in dollars is for: everything, one production line, or one camera."""

    SITE = "site"
    LINE = "line"
    CAMERA = "camera"


class BudgetPeriod(StrEnum):
    """How long a budget lasts before it begins anew: a day or a calendar month, both in UTC."""

    DAY = "day"
    MONTH = "month"
