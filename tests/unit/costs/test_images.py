from datetime import UTC, datetime
from decimal import Decimal

import pytest

from gistline.costs.images import SINCE_4_7, UP_TO_4_6, Words, cheapest_plan, image_tokens, sight
from gistline.domain import ImageSize
from gistline.errors import SettingsError

AT = datetime(2026, 11, 23, tzinfo=UTC)
HD = ImageSize(1920, 1080)
SQUARE = ImageSize(640, 640)


@pytest.mark.parametrize(
    ("width", "height", "old", "new"),
    [
        (640, 640, 529, 529),  # 23 x 23
        (1280, 720, 1196, 1196),  # 46 x 26
        (1920, 1080, 1560, 2691),  # 52 x 30 after the downscale; 69 x 39 as it is
        (3840, 2160, 1560, 4784),  # 92 x 52 after the downscale to 2576 x 1449
        (1080, 1920, 1560, 2691),
        (1, 1, 1, 1),
        (28, 28, 1, 1),
        (29, 28, 2, 2),
        (100_000, 1, 56, 92),
    ],
)
def test_tokens_of_a_picture(width: int, height: int, old: int, new: int) -> None:
    assert image_tokens(ImageSize(width, height), UP_TO_4_6) == old
    assert image_tokens(ImageSize(width, height), SINCE_4_7) == new


@pytest.mark.parametrize(
    ("model", "fine"),
    [
        ("claude-3-5-haiku-latest", False),
        ("claude-opus-4-0", False),
        ("claude-opus-4-20250514", False),
        ("claude-haiku-4-5", False),
        ("claude-haiku-4-5-20251001", False),
        ("claude-sonnet-4-6", False),
        ("claude-opus-4-7", True),
        ("claude-opus-5", True),
        ("claude-haiku-5-5", True),
        ("claude-haiku-5-5-20261001", True),
    ],
)
def test_the_model_s_version_decides_how_finely_it_sees(model: str, fine: bool) -> None:
    assert sight(model) == (SINCE_4_7 if fine else UP_TO_4_6)


def test_a_name_without_a_version_is_refused() -> None:
    with pytest.raises(SettingsError, match="holds no version"):
        sight("claude-latest")


def test_a_few_frames_go_in_one_request() -> None:
    plan = cheapest_plan({HD: 10}, "claude-sonnet-5-5", at=AT, words=Words(instructions=200, report=300))
    assert (plan.images, plan.requests, plan.largest_request) == (10, 1, 10)
    assert (plan.image_tokens, plan.input_tokens, plan.output_tokens) == (26_910, 27_110, 300)
    assert plan.usd == Decimal("0.05722")  # 27,110 x 2 + 300 x 10 dollars a million


def test_many_frames_fill_requests_and_pay_the_instructions_each_time() -> None:
    plan = cheapest_plan({SQUARE: 1000}, "claude-haiku-4-5", at=AT, words=Words(instructions=200))
    assert (plan.requests, plan.largest_request) == (10, 100)  # 100 images a request in a 200,000 token context
    assert plan.usd == Decimal("0.531")  # (529 x 1,000 + 200 x 10) x 1 dollar a million


def test_the_plan_stays_below_a_price_tier() -> None:
    plan = cheapest_plan({SQUARE: 1000}, "claude-haiku-5-5", at=AT, words=Words(instructions=200))
    # (100,000 - 200) // 529 = 188 images a request; all above would pay five times as much
    assert (plan.requests, plan.largest_request) == (6, 188)
    assert plan.usd == Decimal("0.05302")  # (529,000 + 6 x 200) x 0.10 dollars a million


def test_more_than_twenty_images_may_be_sent_smaller_and_cheaper() -> None:
    size = ImageSize(3840, 2160)
    few = cheapest_plan({size: 20}, "claude-sonnet-5-5", at=AT, words=Words())
    many = cheapest_plan({size: 21}, "claude-sonnet-5-5", at=AT, words=Words())
    assert few.image_tokens == 20 * 4784
    assert many.image_tokens == 21 * 72 * 41  # 2000 x 1125 pixels
    assert many.usd < few.usd


def test_sizes_may_be_mixed_and_no_image_is_lost() -> None:
    sizes = {HD: 30, SQUARE: 45, ImageSize(100, 100): 1}
    plan = cheapest_plan(sizes, "claude-haiku-5-5", at=AT, words=Words(instructions=200, report=100))
    assert plan.images == 76
    assert plan.image_tokens == 30 * 2691 + 45 * 529 + 16
    assert plan.input_tokens == plan.image_tokens + plan.requests * 200
    assert plan.as_json()["usd"] == str(plan.usd)


def test_no_frames_cost_nothing() -> None:
    plan = cheapest_plan({}, "claude-haiku-5-5", at=AT, words=Words(instructions=200, report=100))
    assert (plan.requests, plan.usd) == (0, Decimal(0))


def test_a_picture_that_overflows_a_request_is_refused() -> None:
    with pytest.raises(SettingsError, match="does not fit beside"):
        cheapest_plan({HD: 1}, "claude-haiku-4-5", at=AT, words=Words(instructions=199_000))
