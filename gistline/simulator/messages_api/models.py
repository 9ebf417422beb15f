"""The models that the twin knows, and what it bills for their tokens: the provider's side of the account."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib import resources

from gistline.domain import TokenUsage

_DATED = re.compile(r"-\d{8}$")
_HALF = Decimal("0.5")
_PER_MILLION = -6


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One model: ``rates`` in dollars per million tokens by kind, ``context`` and ``cache_minimum`` in tokens.

    A request of more than ``above`` input tokens, cached ones counted in, pays ``above_times`` of every rate.
    ``tokens_percent`` scales the counts of texts.
    """

    name: str
    context: int
    cache_minimum: int
    tokens_percent: int
    rates: Mapping[str, Decimal]
    above: int | None
    above_times: Decimal


def find_model(name: str) -> ModelCard | None:
    """The card of a model by its name, with or without the date of a snapshot; None for a name that is unknown."""
    return known_models().get(_DATED.sub("", name))


@cache
def known_models() -> Mapping[str, ModelCard]:
    """All cards by name."""
    text = (resources.files("gistline.simulator.messages_api") / "models.toml").read_text("utf-8")
    return {
        name: ModelCard(
            name=name,
            context=given["context"],
            cache_minimum=given["cache_minimum"],
            tokens_percent=given["tokens_percent"],
            rates={kind: Decimal(rate) for kind, rate in given["rates"].items()},
            above=given.get("above", {}).get("input_tokens"),
            above_times=Decimal(given.get("above", {}).get("times", "1")),
        )
        for name, given in tomllib.loads(text).items()
    }


def bill(card: ModelCard, usage: TokenUsage, *, batch: bool = False) -> Decimal:
    """Exact dollars for one call."""
    counts = {
        "input": usage.input_tokens,
        "output": usage.output_tokens,
        "cache_read": usage.cache_read_tokens,
        "cache_write_5m": usage.cache_write_5m_tokens,
        "cache_write_1h": usage.cache_write_1h_tokens,
    }
    usd = sum((card.rates[kind] * count for kind, count in counts.items()), Decimal(0)).scaleb(_PER_MILLION)
    if card.above is not None and usage.total_input_tokens > card.above:
        usd *= card.above_times
    return usd * _HALF if batch else usd
