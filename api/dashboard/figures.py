"""Numbers, money and times as people read them. Times are UTC; the page's script adds the reader's own."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from markupsafe import Markup

from api.dashboard.words import Words
from gistline.domain import Estimate, FrameCounts

NOTHING: Final = "–"


def number(value: float | None, digits: int = 0) -> str:
    """``12,345``; with ``digits`` decimals."""
    return NOTHING if value is None else f"{value:,.{digits}f}"


def share(part: float, whole: float, digits: int = 1) -> str:
    """``3.4 %`` of a whole; a dash of nothing."""
    return f"{100 * part / whole:.{digits}f} %" if whole else NOTHING


def usd(amount: Decimal | None) -> str:
    """Dollars to the digit that matters: cents from one dollar on, six decimals below a cent."""
    if amount is None:
        return NOTHING
    size = abs(amount)
    digits = 2 if size >= 1 or size == 0 else 4 if size >= Decimal("0.01") else 6
    return f"{'-' if amount < 0 else ''}${size:,.{digits}f}"


def points(estimate: Estimate | None) -> str:
    """A share in points of 100 with its interval: ``97.6 [96.8, 98.3]``."""
    if estimate is None:
        return NOTHING
    return f"{100 * estimate.value:.1f} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def moment(value: datetime | None, *, seconds: bool = False) -> Markup:
    """A ``<time>`` element in UTC."""
    if value is None:
        return Markup(NOTHING)  # noqa: S704 - a constant
    there = value.astimezone(UTC)
    shown = f"{there:%Y-%m-%d %H:%M:%S}" if seconds else f"{there:%Y-%m-%d %H:%M}"
    return Markup('<time datetime="{}">{}</time>').format(f"{there:%Y-%m-%dT%H:%M:%SZ}", shown)


def duration(seconds: float, words: Words) -> str:
    """``40 s``, ``12 min``, ``3 h``, ``2 d``: the largest unit of which there are two."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return words(f"unit.{unit}", n=f"{seconds / size:.0f}")
    return words("unit.s", n=f"{seconds:.0f}")


def ng_rate(frames: FrameCounts) -> float | None:
    """NG frames of those inspected, as a share; None when none was."""
    return frames.ng / frames.inspected if frames.inspected else None
