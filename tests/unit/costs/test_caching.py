"""Whether the fixed part is cached, by hand: 1,000 tokens, so that rates in dollars a million read as thousandths."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from gistline.cli.amounts import exact
from gistline.costs.caching import Reuse, weigh_caching
from gistline.costs.ceiling import affordable_input, dearest
from gistline.costs.pricing import price_usage
from gistline.domain import Language, TokenUsage
from gistline.errors import SettingsError
from gistline.reports.prompt import fixed_text
from gistline.reports.tokens import TokenCounter

AT = datetime(2026, 11, 26, tzinfo=UTC)
HAIKU, SONNET, OPUS, OLD = "claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5", "claude-haiku-4-5"


@pytest.mark.parametrize(
    ("model", "reuse", "short", "long", "chosen"),
    [
        # haiku: 0.10 plain, 0.125 and 0.20 written, 0.01 read, dollars a million
        (HAIKU, (1, 1), "0.000125", "0.0002", None),
        (HAIKU, (1, 2), "0.000125", "0.00021", None),  # 0.20 + 0.01 against 2 x 0.10
        (HAIKU, (1, 3), "0.000125", "0.00022", "1h"),  # 0.20 + 2 x 0.01 against 3 x 0.10
        (HAIKU, (2, 2), "0.000135", "0.00021", "5m"),  # 0.125 + 0.01 against 2 x 0.10
        (HAIKU, (3, 3), "0.000145", "0.00022", "5m"),
        (HAIKU, (2, 5), "0.000135", "0.00024", "1h"),  # 0.0675 a call against 0.048
        # sonnet: 2, 2.50 and 4, 0.10
        (SONNET, (2, 2), "0.0026", "0.0041", "5m"),
        (SONNET, (1, 3), "0.0025", "0.0042", "1h"),
        # opus: 4, 5 and 8, 0.20
        (OPUS, (1, 2), "0.005", "0.0082", None),
        (OPUS, (4, 4), "0.0056", "0.0086", "5m"),
    ],
)
def test_the_cheapest_of_the_calls_is_chosen(
    model: str, reuse: tuple[int, int], short: str, long: str, chosen: str | None
) -> None:
    found = weigh_caching(1000, model, at=AT, reuse=Reuse(*reuse))
    assert [option.usd for option in found.options] == [Decimal(short), Decimal(long)]
    assert [option.calls for option in found.options] == list(reuse)
    assert [option.break_even for option in found.options] == [2, 3]
    assert found.chosen == chosen
    assert found.reason == ("pays" if chosen else "too_few_calls")


def test_the_cost_of_a_call_with_and_without() -> None:
    (short, long) = weigh_caching(755, HAIKU, at=AT, reuse=Reuse(3, 7)).options
    assert (short.plain_usd, short.write_usd, short.read_usd) == (
        Decimal("0.0000755"),
        Decimal("0.000094375"),
        Decimal("0.00000755"),
    )
    assert short.uncached_usd == Decimal("0.0002265")
    assert short.usd == Decimal("0.000109475")
    assert short.usd_per_call == Decimal("0.000036491667")  # 0.000109475 / 3
    assert long.usd == Decimal("0.0001963")  # 0.000151 + 6 x 0.00000755
    assert long.usd_per_call == Decimal("0.000028042857")


@pytest.mark.parametrize(
    ("tokens", "model", "reason"),
    [
        (511, HAIKU, "too_short"),
        (512, HAIKU, "pays"),
        (4095, OLD, "too_short"),
        (4096, OLD, "pays"),
        (4096, "claude-haiku-4-5-20251001", "pays"),
        (50_000, "claude-2", "unknown_model"),
        (50_000, "claude-3-haiku", "unknown_model"),
    ],
)
def test_what_is_too_short_or_unknown_is_not_cached_however_many_calls_come(
    tokens: int, model: str, reason: str
) -> None:
    found = weigh_caching(tokens, model, at=AT, reuse=Reuse(1000, 1000))
    assert (found.reason, found.chosen is None) == (reason, reason != "pays")
    assert bool(found.options) is (reason != "unknown_model")


def test_a_model_without_prices_is_named() -> None:
    with pytest.raises(SettingsError, match="claude-9"):
        weigh_caching(1000, "claude-9", at=AT, reuse=Reuse(1, 1))


def test_the_dearest_covers_a_written_cache() -> None:
    # 700 x 0.10 + 300 x 0.20 + 100 x 0.50
    asked = {"input_tokens": 1000, "output_tokens": 100, "at": AT}
    assert dearest(HAIKU, **asked, cache_write=300) == Decimal("0.00018")  # type: ignore[arg-type]
    assert dearest(HAIKU, **asked, cache_write=5000) == Decimal("0.00025")  # type: ignore[arg-type]
    assert dearest(HAIKU, **asked) == Decimal("0.00015")  # type: ignore[arg-type]
    for usage in (TokenUsage(700, 100, 0, 300, 0), TokenUsage(700, 100, 0, 0, 300), TokenUsage(700, 100, 300)):
        assert price_usage(usage, HAIKU, at=AT).usd <= Decimal("0.00018")
    # just above the tier the whole request is five times as dear
    assert dearest(HAIKU, input_tokens=100_001, output_tokens=0, at=AT, cache_write=1) == Decimal("0.050001")
    assert affordable_input(HAIKU, usd=Decimal("0.00015"), output_tokens=100, at=AT, most=5000) == 1000


def test_the_page_prints_what_the_program_computes() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reports.md").read_text("utf-8")
    tokens = {language: TokenCounter().estimate(fixed_text(language)) for language in Language}
    assert f"{tokens[Language.ENGLISH]} tokens in English, {tokens[Language.CHINESE]} in" in page
    for model in (HAIKU, SONNET, OPUS):
        short, long = weigh_caching(tokens[Language.ENGLISH], model, at=AT, reuse=Reuse(1, 1)).options
        amounts = [f"${exact(usd)}" for usd in (short.plain_usd, short.write_usd, short.read_usd, long.write_usd)]
        cells = (model, *amounts[:3], short.break_even, amounts[3], long.break_even)
        assert f"| {' | '.join(map(str, cells))} |" in page
