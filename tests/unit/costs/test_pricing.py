from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import version

import genai_prices.data_snapshot
import pytest
from genai_prices.data_snapshot import DataSnapshot

from gistline.costs.pricing import context_window, known_models, price_usage, price_vector
from gistline.domain import TokenUsage
from gistline.errors import SettingsError

AT = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("model", "usage", "usd"),
    [
        # 1,000 x 0.10 + 100 x 0.50 dollars a million tokens
        ("claude-haiku-5-5", TokenUsage(1000, 100), "0.00015"),
        # 1,000 x 0.10 + 200 x 0.01 + 300 x 0.125 + 400 x 0.20 + 100 x 0.50
        ("claude-haiku-5-5", TokenUsage(1000, 100, 200, 300, 400), "0.0002695"),
        # one token over 100,000 makes the whole request five times as dear: 100,001 x 0.50 + 10 x 2.50
        ("claude-haiku-5-5", TokenUsage(100_000), "0.01"),
        ("claude-haiku-5-5", TokenUsage(100_001, 10), "0.0500255"),
        # cached tokens push a request over the tier as well: 1 x 0.50 + 100,000 x 0.05
        ("claude-haiku-5-5", TokenUsage(1, 0, 100_000), "0.0050005"),
        # 1,000 x 2 + 200 x 0.10 + 300 x 2.50 + 400 x 4 + 100 x 10
        ("claude-sonnet-5-5", TokenUsage(1000, 100, 200, 300, 400), "0.00537"),
        # 1,000 x 4 + 100 x 20
        ("claude-opus-5-5", TokenUsage(1000, 100), "0.006"),
        # 1,000 x 1 + 200 x 0.10 + 300 x 1.25 + 400 x 2 + 100 x 5
        ("claude-haiku-4-5", TokenUsage(1000, 100, 200, 300, 400), "0.002695"),
        ("claude-haiku-4-5", TokenUsage(), "0"),
    ],
)
def test_prices_computed_by_hand(model: str, usage: TokenUsage, usd: str) -> None:
    assert price_usage(usage, model, at=AT).usd == Decimal(usd)


@pytest.mark.parametrize("model", ["claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5", "claude-haiku-4-5"])
def test_a_batch_is_half_the_price(model: str) -> None:
    usage = TokenUsage(1000, 100, 200, 300, 400)
    standard, batch = price_usage(usage, model, at=AT), price_usage(usage, model, at=AT, processing="batch")
    assert batch.usd * 2 == standard.usd
    assert batch.vector != standard.vector


def test_the_price_list_and_its_version_come_with_the_amount() -> None:
    vector = price_vector("claude-haiku-5-5", at=AT)
    assert (vector.model, vector.source) == ("claude-haiku-5-5", "genai-prices")
    assert vector.source_version == version("genai-prices")
    assert vector.rates["input_mtok"] == {"base": "0.1", "tiers": [{"start": 100_000, "price": "0.5"}]}
    assert price_vector("claude-opus-5-5", at=AT).rates["output_mtok"] == "20"


def test_an_unknown_model_is_named_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="no prices for the model 'gpt-4o'") as caught:
        price_usage(TokenUsage(1), "gpt-4o", at=AT)
    assert "claude-haiku-5-5" in caught.value.cure
    assert "claude-haiku-5-5" in known_models()


def test_one_token_of_any_kind_at_any_price_fits_twelve_decimals() -> None:
    for model in known_models():
        usd = price_usage(TokenUsage(1, 1, 1, 1, 1), model, at=AT, processing="batch").usd
        assert usd == round(usd, 12)


def test_an_updated_price_list_in_the_process_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = price_usage(TokenUsage(1000, 100), "claude-haiku-5-5", at=AT)
    monkeypatch.setattr(genai_prices.data_snapshot, "_custom_snapshot", DataSnapshot([], from_auto_update=True))
    assert price_usage(TokenUsage(1000, 100), "claude-haiku-5-5", at=AT) == before


def test_context_windows() -> None:
    assert context_window("claude-haiku-5-5") == 1_000_000
    assert context_window("claude-haiku-4-5") == 200_000
