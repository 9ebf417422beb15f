"""What calls that were made would have cost with another model: the same tokens by kind, at that model's rates.

The tokens were counted by the model that was asked. Another one may count the same text otherwise, so input and output
are scaled by ratios that are stated with the result: the user's, or those between two generations of tokenizers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from gistline.costs.images import SINCE_4_7, sight
from gistline.costs.pricing import Processing, context_window, price_usage
from gistline.domain import TokenUsage

INPUT_SINCE_4_7 = Fraction(148, 120)
"""Tokens of coded text since 4.7 for one up to 4.6: recorded counts were 1.46 to 1.49 and 1.18 to 1.23 of cl100k."""

OUTPUT_SINCE_4_7 = Fraction(157, 108)
"""The same of English prose: 1.57 and 1.08 of cl100k."""

ONE = Fraction(1)


@dataclass(frozen=True, slots=True)
class Ratio:
    """Tokens of the new model for one of the old, and where that is from."""

    input: Fraction
    output: Fraction
    source: str


@dataclass(frozen=True, slots=True)
class MadeCall:
    """One call that was paid: who was asked, how, when, for how many tokens, and for what price.

    A ``simulated`` one was made by rule, and nobody was billed.
    """

    model: str
    usage: TokenUsage
    usd: Decimal
    at: datetime
    processing: Processing = "standard"
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class Repriced:
    """Sums over calls to one model, real ones and simulated ones apart.

    ``usage`` and ``usd`` are as booked, ``new_usage`` and ``new_usd`` what the new model would have made of them;
    ``batched`` of the ``calls`` went through batches; ``too_long`` of them have more input than the new model takes.
    """

    model: str
    simulated: bool
    calls: int
    batched: int
    ratio: Ratio
    usage: TokenUsage
    usd: Decimal
    new_usage: TokenUsage
    new_usd: Decimal
    too_long: int


def ratio_between(old: str, new: str) -> Ratio:
    """The ratio that is assumed between two models: 1 within a generation of tokenizers, else that of the records."""
    ours, theirs = (sight(model) == SINCE_4_7 for model in (old, new))
    if old == new or ours == theirs:
        return Ratio(ONE, ONE, "the same model" if old == new else "assumed: the same generation of tokenizers")
    if theirs:
        return Ratio(INPUT_SINCE_4_7, OUTPUT_SINCE_4_7, "recorded on code and English prose, not on your texts")
    return Ratio(1 / INPUT_SINCE_4_7, 1 / OUTPUT_SINCE_4_7, "recorded on code and English prose, not on your texts")


def reprice(calls: Iterable[MadeCall], model: str, *, stated: Fraction | None = None) -> list[Repriced]:
    """Price each call with ``model`` as of its own time; one result for each model that was asked, really or by rule.

    ``stated`` is the user's ratio for input and output alike. Cached input is priced as cached by the new model's
    rates, a batch as a batch, and a price tier applies to each call by its own size.

    Raises:
        SettingsError: there are no prices for ``model``; names those that have.

    """
    room = context_window(model)
    alike: dict[tuple[str, bool], list[MadeCall]] = {}
    for call in calls:
        alike.setdefault((call.model, call.simulated), []).append(call)
    return [_reprice_all(alike[key], model, room, stated) for key in sorted(alike)]


def _reprice_all(calls: list[MadeCall], model: str, room: int, stated: Fraction | None) -> Repriced:
    old = calls[0].model
    ratio = Ratio(stated, stated, "as you stated") if stated is not None else ratio_between(old, model)
    scaled = [_scaled(call.usage, ratio) for call in calls]
    prices = [
        price_usage(usage, model, at=call.at, processing=call.processing).usd
        for call, usage in zip(calls, scaled, strict=True)
    ]
    return Repriced(
        model=old,
        simulated=calls[0].simulated,
        calls=len(calls),
        batched=sum(call.processing == "batch" for call in calls),
        ratio=ratio,
        usage=_sum(call.usage for call in calls),
        usd=sum((call.usd for call in calls), Decimal(0)),
        new_usage=_sum(scaled),
        new_usd=sum(prices, Decimal(0)),
        too_long=sum(usage.total_input_tokens > room for usage in scaled),
    )


def _scaled(usage: TokenUsage, ratio: Ratio) -> TokenUsage:
    return TokenUsage(
        input_tokens=_times(usage.input_tokens, ratio.input),
        output_tokens=_times(usage.output_tokens, ratio.output),
        cache_read_tokens=_times(usage.cache_read_tokens, ratio.input),
        cache_write_5m_tokens=_times(usage.cache_write_5m_tokens, ratio.input),
        cache_write_1h_tokens=_times(usage.cache_write_1h_tokens, ratio.input),
    )


def _times(tokens: int, ratio: Fraction) -> int:
    """Rounded up: a part of a token is billed as one."""
    return -(-tokens * ratio.numerator // ratio.denominator)


def _sum(usages: Iterable[TokenUsage]) -> TokenUsage:
    total = TokenUsage()
    for one in usages:
        total = TokenUsage(
            total.input_tokens + one.input_tokens,
            total.output_tokens + one.output_tokens,
            total.cache_read_tokens + one.cache_read_tokens,
            total.cache_write_5m_tokens + one.cache_write_5m_tokens,
            total.cache_write_1h_tokens + one.cache_write_1h_tokens,
        )
    return total
