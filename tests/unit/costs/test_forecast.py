"""What a period will have cost at the pace so far."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from gistline.costs.forecast import forecast

START = datetime(2026, 11, 26, tzinfo=UTC)
END = START + timedelta(days=1)


@pytest.mark.parametrize(
    ("hours", "expected"), [(0, None), (1, None), (6, Decimal(8)), (12, Decimal(4)), (24, Decimal(2)), (30, Decimal(2))]
)
def test_two_dollars_spent(hours: int, expected: Decimal | None) -> None:
    assert forecast(Decimal(2), START, END, START + timedelta(hours=hours)) == expected
