from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gistline.costs.images import ImagePlan, Words, cheapest_plan
from gistline.costs.pricing import price_usage
from gistline.costs.savings import LEVELS, Forms, Savings, UsedCall, cheapest_text, price_levels
from gistline.domain import ImageSize, TokenUsage

AT = datetime(2026, 11, 23, tzinfo=UTC)
HAIKU, SONNET = "claude-haiku-5-5", "claude-sonnet-5-5"
FORMS = Forms(prompt=1_000, rows=2_000, json=8_000, instructions=300)


def plan(model: str = SONNET, frames: int = 50) -> ImagePlan:
    return cheapest_plan({ImageSize(1920, 1080): frames}, model, at=AT, words=Words(300, 400))


def call(usage: TokenUsage, model: str = SONNET, *, batch: bool = False) -> UsedCall:
    return UsedCall(usage, price_usage(usage, model, at=AT, processing="batch" if batch else "standard").usd)


def test_each_level_is_the_price_of_a_whole_way() -> None:
    used = [call(TokenUsage(700, 400, cache_read_tokens=400), batch=True)]
    levels = price_levels(plan(), FORMS, used, model=SONNET, at=AT)
    # 1,100 tokens were counted for an estimate of 1,000: every form is scaled by 1.1; $2 in, $10 out, $0.10 read
    assert levels["images"] == Decimal(50 * 2691 + 300 * plan().requests) * 2 / 10**6 + Decimal("0.004")
    assert levels["json"] == Decimal(8_800 * 2 + 400 * 10) / 10**6
    assert levels["rows"] == Decimal(2_200 * 2 + 400 * 10) / 10**6
    assert levels["packed"] == Decimal(1_100 * 2 + 400 * 10) / 10**6
    assert levels["cached"] == Decimal(700 * 2 + 40 + 400 * 10) / 10**6
    assert levels["batched"] == levels["cached"] / 2 == used[0].usd
    assert levels["images_batch"] == levels["images"] / 2


def test_a_report_by_rule_saves_all_the_images_cost() -> None:
    levels = price_levels(plan(), Forms(0, 0, 0, 0), [], model=SONNET, at=AT)
    saved = Savings(levels, Decimal(0))
    assert [usd for _, _, usd in saved.steps] == [saved.total_usd, 0, 0, 0, 0, 0]
    assert saved.total_usd == plan().usd.quantize(Decimal("0.000001"))


def test_several_calls_pay_for_what_joins_them() -> None:
    part, join = TokenUsage(900, 50), TokenUsage(200, 400)
    levels = price_levels(plan(), FORMS, [call(part), call(part), call(join)], model=SONNET, at=AT)
    assert levels["packed"] == levels["cached"] == levels["batched"] == Decimal(2_000 * 2 + 500 * 10) / 10**6
    assert levels["json"] == Decimal(16_000 * 2 + 400 * 10) / 10**6


@pytest.mark.parametrize(("tokens", "usd"), [(99_999, "0.0099999"), (100_000, "0.01"), (100_100, "0.01002")])
def test_a_long_text_is_cut_where_the_price_tier_begins(tokens: int, usd: str) -> None:
    assert cheapest_text(tokens, HAIKU, at=AT, words=Words(100, 0)) == Decimal(usd)


def test_a_text_longer_than_the_context_takes_several_requests() -> None:
    whole = cheapest_text(450_000, "claude-haiku-4-5", at=AT, words=Words(1_000, 10))
    assert whole == Decimal(449_000 + 3 * 1_000) / 10**6 + Decimal(10 * 5) / 10**6


amounts = st.decimals(min_value=0, max_value=5, places=11, allow_nan=False)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(amounts, min_size=len(LEVELS), max_size=len(LEVELS)), amounts, amounts)
def test_the_steps_add_up_to_the_micro_dollar(levels: list[Decimal], paid: Decimal, undivided: Decimal) -> None:
    named = dict(zip(LEVELS, levels, strict=True)) | {"images_batch": levels[0] / 2}
    saved = Savings(named, paid, undivided)
    assert sum(usd for _, _, usd in saved.steps) == saved.total_usd
    assert all(usd == usd.quantize(Decimal("0.000001")) for _, _, usd in saved.steps)
    exact = levels[0] - paid + undivided
    assert abs(saved.total_usd - exact) <= Decimal("0.0000015")
    told = saved.as_json()
    assert sum(Decimal(step["usd"]) for step in told["steps"]) == Decimal(told["saving_usd"])


def test_lost_answers_and_repairs_are_taken_off() -> None:
    used = [call(TokenUsage(1_000, 400))]
    levels = price_levels(plan(), FORMS, used, model=SONNET, at=AT)
    saved = Savings(levels, used[0].usd * 3)
    assert saved.steps[-1][0] == "paid"
    assert saved.steps[-1][2] == -2 * used[0].usd
    assert saved.total_usd == Savings(levels, used[0].usd).total_usd - 2 * used[0].usd
    assert replace(saved, undivided=Decimal("0.5")).total_usd == saved.total_usd + Decimal("0.5")
