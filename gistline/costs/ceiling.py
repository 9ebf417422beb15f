"""The dearest that a call can come to, known before it is made."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from gistline.costs.pricing import Processing, price_usage, price_vector
from gistline.domain import TokenUsage

CACHE_WRITES = ("cache_write_5m_tokens", "cache_write_1h_tokens")
"""How a cache that was asked for may be billed dearer than plain input; one that was not asked for is not written."""


def dearest(
    model: str,
    *,
    input_tokens: int,
    output_tokens: int,
    at: datetime,
    cache_write: int = 0,
    processing: Processing = "standard",
) -> Decimal:
    """US dollars that a call of at most so many tokens can come to at most.

    Up to ``cache_write`` of the input tokens may be written to a cache: they count at a write's dearest rate. Where a
    price tier re-prices the whole request, all sizes up to ``input_tokens`` are covered, those just below a tier too,
    should it be cheaper.

    Raises:
        SettingsError: there are no prices for ``model``.

    """
    sizes = {input_tokens, *(start for start in tier_starts(model, at=at) if start < input_tokens)}
    usages = [TokenUsage(size, output_tokens) for size in sizes]
    if cache_write:
        usages += [
            TokenUsage(size - written, output_tokens, **{kind: written})
            for kind in CACHE_WRITES
            for size, written in ((size, min(size, cache_write)) for size in sizes)
        ]
    return max(price_usage(usage, model, at=at, processing=processing).usd for usage in usages)


def affordable_input(model: str, *, usd: Decimal, output_tokens: int, at: datetime, most: int) -> int:
    """The most input tokens, up to ``most``, whose call cannot come to more than ``usd``; negative if not even none."""
    low, high = -1, most
    while low < high:
        middle = (low + high + 1) // 2
        cost = dearest(model, input_tokens=middle, output_tokens=output_tokens, at=at)
        low, high = (middle, high) if cost <= usd else (low, middle - 1)
    return low


def tier_starts(model: str, *, at: datetime) -> list[int]:
    """Input tokens above which another price holds for the whole request."""
    rates = price_vector(model, at=at).rates.values()
    return sorted({tier["start"] for rate in rates if isinstance(rate, dict) for tier in rate["tiers"]})
