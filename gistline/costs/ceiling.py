"""The dearest that a call can come to, known before it is made."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from gistline.costs.pricing import Processing, price_usage, price_vector
from gistline.domain import TokenUsage

INPUT_KINDS = ("input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens")
"""How the API may bill input. A cache that was not asked for is not written, but any of them bounds the others."""


def dearest(
    model: str,
    *,
    input_tokens: int,
    output_tokens: int,
    at: datetime,
    cached: bool = False,
    processing: Processing = "standard",
) -> Decimal:
    """US dollars that a call of at most so many tokens can come to at most.

    With ``cached``, every input token counts at the dearest rate of a cache write. Where a price tier re-prices the
    whole request, all sizes up to ``input_tokens`` are covered, those just below a tier too, should it be cheaper.

    Raises:
        SettingsError: there are no prices for ``model``.

    """
    kinds = INPUT_KINDS if cached else INPUT_KINDS[:1]
    sizes = {input_tokens, *(start for start in tier_starts(model, at=at) if start < input_tokens)}
    return max(
        price_usage(TokenUsage(output_tokens=output_tokens, **{kind: size}), model, at=at, processing=processing).usd
        for kind in kinds
        for size in sizes
    )


def affordable_input(
    model: str, *, usd: Decimal, output_tokens: int, at: datetime, most: int, cached: bool = False
) -> int:
    """The most input tokens, up to ``most``, whose call cannot come to more than ``usd``; negative if not even none."""
    low, high = -1, most
    while low < high:
        middle = (low + high + 1) // 2
        cost = dearest(model, input_tokens=middle, output_tokens=output_tokens, at=at, cached=cached)
        low, high = (middle, high) if cost <= usd else (low, middle - 1)
    return low


def tier_starts(model: str, *, at: datetime) -> list[int]:
    """Input tokens above which another price holds for the whole request."""
    rates = price_vector(model, at=at).rates.values()
    return sorted({tier["start"] for rate in rates if isinstance(rate, dict) for tier in rate["tiers"]})
