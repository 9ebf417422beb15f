from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import pytest

from gistline.costs.pricing import Processing, price_usage
from gistline.costs.reprice import MadeCall, ratio_between, reprice
from gistline.domain import TokenUsage
from gistline.errors import SettingsError

AT = datetime(2026, 11, 23, tzinfo=UTC)
HAIKU, OLD_HAIKU, SONNET = "claude-haiku-5-5", "claude-haiku-4-5", "claude-sonnet-5-5"
USAGE = TokenUsage(1_000, 200, 3_000, 500, 700)


def made(usage: TokenUsage = USAGE, model: str = HAIKU, *, batch: bool = False, simulated: bool = False) -> MadeCall:
    processing: Processing = "batch" if batch else "standard"
    return MadeCall(
        model, usage, price_usage(usage, model, at=AT, processing=processing).usd, AT, processing, simulated
    )


def test_the_same_model_costs_what_was_booked() -> None:
    calls = [made(), made(batch=True), made(TokenUsage(100_001, 5)), made(TokenUsage(7, 7, 100_000))]
    (found,) = reprice(calls, HAIKU)
    assert found.new_usd == found.usd == sum(call.usd for call in calls)
    assert found.new_usage == found.usage
    assert (found.calls, found.batched, found.too_long) == (4, 1, 0)


def test_each_kind_of_token_is_priced_by_its_own_rate() -> None:
    (found,) = reprice([made()], SONNET)
    assert found.new_usd == Decimal("0.002") + Decimal("0.002") + Decimal("0.0003") + Decimal("0.00125") + Decimal(
        "0.0028"
    )
    (halved,) = reprice([made(batch=True)], SONNET)
    assert halved.new_usd == found.new_usd / 2


def test_a_tier_applies_to_each_call_by_its_own_size() -> None:
    small, large = made(TokenUsage(60_000), SONNET), made(TokenUsage(120_000), SONNET)
    (found,) = reprice([small, small, large], HAIKU)
    assert found.new_usd == Decimal("0.006") * 2 + Decimal("0.06")


def test_another_tokenizer_counts_otherwise_and_says_so() -> None:
    (found,) = reprice([made(TokenUsage(1_200, 108), OLD_HAIKU)], HAIKU)
    assert (found.new_usage.input_tokens, found.new_usage.output_tokens) == (1_480, 157)
    assert "recorded" in found.ratio.source
    back = ratio_between(HAIKU, OLD_HAIKU)
    assert (back.input, back.output) == (Fraction(120, 148), Fraction(108, 157))
    assert "same generation" in ratio_between(HAIKU, SONNET).source
    (stated,) = reprice([made(TokenUsage(1_000, 100), OLD_HAIKU)], HAIKU, stated=Fraction("1.0005"))
    assert (stated.new_usage.input_tokens, stated.new_usage.output_tokens) == (1_001, 101)  # a part is billed as one
    assert stated.ratio.source == "as you stated"


def test_models_and_simulated_calls_stand_apart() -> None:
    found = reprice([made(), made(model=OLD_HAIKU), made(simulated=True)], SONNET)
    assert [(one.model, one.simulated, one.calls) for one in found] == [
        (OLD_HAIKU, False, 1),
        (HAIKU, False, 1),
        (HAIKU, True, 1),
    ]


def test_what_would_not_fit_is_counted() -> None:
    (found,) = reprice([made(TokenUsage(300_000), SONNET)], "claude-sonnet-4-5", stated=Fraction(1))
    assert found.too_long == 1


def test_an_unknown_model_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(SettingsError, match=HAIKU):
        reprice([], "claude-9")
