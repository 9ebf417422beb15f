"""Money as it is printed: never rounded."""

from __future__ import annotations

from decimal import Decimal


def exact(value: int | Decimal) -> int | str:
    """A count as it is, an amount as plain decimal text without trailing zeros."""
    if isinstance(value, int):
        return value
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") or "0" if "." in text else text
