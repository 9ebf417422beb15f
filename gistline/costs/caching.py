"""Whether the part that all requests share is worth writing to the provider's prompt cache, and for how long.

Writing costs more than plain input, reading less. So a beginning that is written once and read by the calls that follow
within its lifetime pays from some number of calls on, and costs more below it. A beginning shorter than the model's
minimum is not cached, whatever was asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import Literal

from gistline.costs.pricing import price_usage, price_vector
from gistline.domain import TokenUsage

Lifetime = Literal["5m", "1h"]
Reason = Literal["unknown_model", "too_short", "too_few_calls", "pays"]

_SMALLEST = Decimal("1e-12")

_LATEST = ("claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5")
_OLDER = (
    "claude-haiku-4-5",
    "claude-sonnet-4-0",
    "claude-sonnet-4-5",
    "claude-sonnet-4-6",
    "claude-sonnet-5",
    "claude-opus-4-0",
    "claude-opus-4-1",
    "claude-opus-4-5",
    "claude-opus-4-6",
    "claude-opus-4-7",
    "claude-opus-4-8",
    "claude-opus-5",
)

MINIMUM = dict.fromkeys(_LATEST, 512) | dict.fromkeys(_OLDER, 4_096)
"""Fewest tokens of a beginning that a model caches. Older models' are said to be 1,024 to 4,096: here the upper end."""


@dataclass(frozen=True, slots=True)
class Reuse:
    """Calls with the same beginning that are expected within five minutes and within an hour, this one among them."""

    within_5m: int
    within_1h: int


@dataclass(frozen=True, slots=True)
class Option:
    """The beginning kept for one ``lifetime``: dollars of sending it once plainly, of writing and of reading it.

    ``calls`` are those expected within the lifetime: one writes, the others read. That is the dearest it comes to:
    each read makes the entry live on, so that in a steady stream fewer calls write.
    """

    lifetime: Lifetime
    calls: int
    plain_usd: Decimal
    write_usd: Decimal
    read_usd: Decimal

    @property
    def usd(self) -> Decimal:
        """Dollars of the beginning over all calls, cached."""
        return self.write_usd + (self.calls - 1) * self.read_usd

    @property
    def uncached_usd(self) -> Decimal:
        """Dollars of the beginning over all calls, sent plainly."""
        return self.calls * self.plain_usd

    @property
    def usd_per_call(self) -> Decimal:
        """:attr:`usd` over the calls, rounded to twelve places."""
        return (self.usd / self.calls).quantize(_SMALLEST, ROUND_HALF_EVEN)

    @property
    def saving(self) -> Fraction:
        """What a call saves on average, exactly; negative where it costs more."""
        return Fraction(self.uncached_usd - self.usd) / self.calls

    @property
    def break_even(self) -> int | None:
        """The fewest calls within the lifetime that make caching cheaper; None where reading costs no less."""
        gain = self.plain_usd - self.read_usd
        return max(1, int((self.write_usd - self.read_usd) // gain) + 1) if gain > 0 else None


@dataclass(frozen=True, slots=True)
class Caching:
    """The arithmetic and what follows from it. ``minimum`` is None and ``options`` are empty for an unknown model."""

    model: str
    tokens: int
    minimum: int | None
    options: tuple[Option, ...]
    chosen: Lifetime | None
    reason: Reason


def weigh_caching(tokens: int, model: str, *, at: datetime, reuse: Reuse) -> Caching:
    """Weigh caching a beginning of ``tokens`` in requests below any price tier.

    The lifetime that saves most for each call is chosen, the shorter of equals; none where nothing is saved.

    Raises:
        SettingsError: there are no prices for ``model``.

    """
    minimum = MINIMUM.get(price_vector(model, at=at).model)
    if minimum is None:
        return Caching(model, tokens, None, (), None, "unknown_model")
    plain, read = _usd(TokenUsage(tokens), model, at), _usd(TokenUsage(cache_read_tokens=tokens), model, at)
    short = Option("5m", reuse.within_5m, plain, _usd(TokenUsage(cache_write_5m_tokens=tokens), model, at), read)
    long = Option("1h", reuse.within_1h, plain, _usd(TokenUsage(cache_write_1h_tokens=tokens), model, at), read)
    options, best = (short, long), max(short, long, key=lambda option: option.saving)
    if tokens < minimum:
        return Caching(model, tokens, minimum, options, None, "too_short")
    if best.saving <= 0:
        return Caching(model, tokens, minimum, options, None, "too_few_calls")
    return Caching(model, tokens, minimum, options, best.lifetime, "pays")


def _usd(usage: TokenUsage, model: str, at: datetime) -> Decimal:
    return price_usage(usage, model, at=at).usd
