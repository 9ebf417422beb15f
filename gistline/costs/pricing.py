"""What tokens cost: exact decimals from a dated price list, never floats, never the network.

The prices are those bundled with the installed genai-prices, and its version is part of every price. Its automatic
update would change prices while the program runs; the bundled list is therefore opened apart from the one it updates.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from importlib.metadata import version
from typing import Any, Literal

from genai_prices import Usage, data
from genai_prices.data_snapshot import DataSnapshot
from genai_prices.types import ModelInfo, PriceCalculation, TieredPrices

from gistline.domain import PriceVector, TokenUsage
from gistline.errors import SettingsError

PROVIDER = "anthropic"
SOURCE = "genai-prices"
Processing = Literal["standard", "batch"]


@dataclass(frozen=True, slots=True)
class Price:
    """An exact amount in US dollars and the price list that made it."""

    usd: Decimal
    vector: PriceVector


def price_usage(usage: TokenUsage, model: str, *, at: datetime, processing: Processing = "standard") -> Price:
    """Price one call's tokens as of ``at`` (timezone-aware).

    All of a request's input, cached or not, decides its price tier.

    Raises:
        SettingsError: no such model; names those that have prices.

    """
    written = usage.cache_write_5m_tokens + usage.cache_write_1h_tokens
    found = _calculate(
        Usage(
            input_tokens=usage.total_input_tokens,  # genai-prices counts the cached ones in
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=written,
            cache_write_1h_tokens=usage.cache_write_1h_tokens,
        ),
        model,
        at=at,
        processing=processing,
    )
    return Price(found.total_price, _vector(found))


def price_vector(model: str, *, at: datetime, processing: Processing = "standard") -> PriceVector:
    """The price list that applies to ``model`` at ``at``; raises like :func:`price_usage`."""
    return price_usage(TokenUsage(), model, at=at, processing=processing).vector


def context_window(model: str) -> int:
    """Most input tokens of one request; raises like :func:`price_usage`."""
    return _find(model).context_window or 200_000


def known_models() -> tuple[str, ...]:
    """Every model with prices."""
    provider = _prices().find_provider(None, PROVIDER, None)
    return tuple(sorted(model.id for model in provider.models))


@cache
def _prices() -> DataSnapshot:
    return DataSnapshot(providers=data.providers, from_auto_update=False)


@cache
def _source_version() -> str:
    """Of the package whose prices are loaded; asked once, since each answer reads its metadata from the disk."""
    return version(SOURCE)


def _find(model: str) -> ModelInfo:
    try:
        return _prices().find_provider_model(model, None, PROVIDER, None)[1]
    except LookupError as error:
        raise SettingsError(
            f"There are no prices for the model {model!r}.",
            cure=f"Set reports.model to one of {', '.join(known_models())}.",
        ) from error


def _calculate(usage: Usage, model: str, *, at: datetime, processing: Processing) -> PriceCalculation:
    _find(model)
    context = {"processing": "batch"} if processing == "batch" else None
    return _prices().calc(usage, model, PROVIDER, None, at, context)


def _vector(found: PriceCalculation) -> PriceVector:
    rates = {key: _rate(value) for key, value in sorted(vars(found.model_price).items()) if value is not None}
    return PriceVector(found.model.id, SOURCE, _source_version(), rates)


def _rate(value: Decimal | TieredPrices) -> str | dict[str, Any]:
    if isinstance(value, TieredPrices):
        tiers = [{"start": tier.start, "price": str(tier.price)} for tier in value.tiers]
        return {"base": str(value.base), "tiers": tiers}
    return str(value)
