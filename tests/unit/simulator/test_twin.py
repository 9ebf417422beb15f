"""The twin's rules on their own: counting, prices, cache, faults."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from gistline.costs.pricing import price_usage
from gistline.domain import TokenUsage
from gistline.errors import RequestRejected
from gistline.simulator.messages_api import FAULTS, FaultPlan, Place, fault, read_faults
from gistline.simulator.messages_api.cache import PromptCache, Split
from gistline.simulator.messages_api.faults import EVERY
from gistline.simulator.messages_api.models import bill, find_model, known_models
from gistline.simulator.messages_api.tokens import Block, blocks, clip, count, count_request
from gistline.simulator.messages_api.writer import compose

AT = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
HAIKU = known_models()["claude-haiku-5-5"]
OLD = known_models()["claude-haiku-4-5"]
TEXTS = ["", "a", "open", "12,91,103,44,20,18\n", "发现两处缺陷", "\u202e|;--'\"", "{" * 50, "a,b,c;" * 9, "1 2 3 " * 9]


@pytest.mark.parametrize("model", sorted(known_models()))
@pytest.mark.parametrize("processing", ["standard", "batch"])
@pytest.mark.parametrize(
    "usage", [TokenUsage(1001, 77, 303, 505, 707), TokenUsage(100_001, 9), TokenUsage(1, 2, 60_000, 39_999, 1)]
)
def test_the_provider_and_the_ledger_price_alike(model: str, processing: Any, usage: TokenUsage) -> None:
    booked = bill(known_models()[model], usage, batch=processing == "batch")
    assert booked == price_usage(usage, model, at=AT, processing=processing).usd


def test_a_snapshot_is_its_model() -> None:
    assert find_model("claude-haiku-4-5-20251001") is OLD
    assert find_model("claude-haiku-4") is None


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_never_counts_more_than_its_bytes(text: str) -> None:
    assert count(text, OLD) <= count(text, HAIKU) <= len(text.encode())
    assert (count(text, OLD) > 0) == bool(text)


def test_a_request_is_the_sum_of_its_parts() -> None:
    body = {
        "system": "You write.",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
            {"role": "assistant", "content": "three"},
        ],
    }
    parts = sum(count(text, HAIKU) for text in ("You write.", "one", "two", "three"))
    assert count_request(body, HAIKU) == parts + 3 + 2 * 4
    assert len(blocks(body, HAIKU)) == 4


def test_a_clipped_text_counts_what_was_asked_for() -> None:
    text = "The twin wrote this; no model read the findings. " * 4
    for limit in (0, 1, 7, 1000):
        shorter = clip(text, HAIKU, limit)
        assert text.startswith(shorter)
        assert count(shorter, HAIKU) <= limit
    assert clip(text, HAIKU, 1000) == text


def parts(*sizes: tuple[int, str | None]) -> list[Block]:
    return [Block(bytes([place]), tokens, lifetime) for place, (tokens, lifetime) in enumerate(sizes)]


def test_what_is_cached_is_the_beginning_and_each_part_pays_for_its_own_lifetime() -> None:
    cache = PromptCache()
    asked = parts((600, "1h"), (300, "5m"), (50, None))
    assert cache.charge("key", HAIKU, asked, AT) == Split(50, 0, 300, 600)
    assert cache.charge("key", HAIKU, asked, AT + timedelta(minutes=1)) == Split(50, 900, 0, 0)
    later = AT + timedelta(minutes=30)
    assert cache.charge("key", HAIKU, asked, later) == Split(50, 600, 300, 0)  # the short-lived end is gone
    assert cache.charge("other key", HAIKU, asked, later) == Split(50, 0, 300, 600)
    assert cache.charge("key", OLD, asked, later) == Split(950)  # its minimum is 4,096


def test_a_longer_prompt_reads_what_a_shorter_one_wrote() -> None:
    cache = PromptCache()
    cache.charge("key", HAIKU, parts((600, "5m"), (10, None)), AT)
    longer = parts((600, None), (10, None), (700, "5m"), (5, None))
    assert cache.charge("key", HAIKU, longer, AT) == Split(5, 600, 710, 0)


def test_too_short_a_beginning_is_not_cached() -> None:
    cache = PromptCache()
    for _ in range(2):
        assert cache.charge("key", HAIKU, parts((511, "5m"), (1, None)), AT) == Split(512)


FILE = """
seed = 7
[chance.messages]
overloaded = 0.25
[[script]]
fault = "rate_limit"
retry_after_s = 2
times = 2
[[script]]
on = "batch_items"
fault = "item_errored"
"""


def test_a_file_says_what_goes_wrong(tmp_path: Path) -> None:
    file = tmp_path / "faults.toml"
    file.write_text(FILE)

    def drawn() -> list[str]:
        plan = read_faults(file)
        return [plan.next(Place.MESSAGES).name for _ in range(200)]

    names = drawn()
    assert names[:2] == ["rate_limit"] * 2
    assert set(names[2:]) == {"", "overloaded"}
    assert 25 < names.count("overloaded") < 75
    assert drawn() == names
    plan = read_faults(file, seed=8)
    assert plan.next(Place.ITEMS).outcome == "errored"
    assert plan.next(Place.MESSAGES).headers == {"retry-after": "2"}
    assert [plan.next(Place.MESSAGES).name for _ in range(199)][1:] != names[2:]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed = ", "not understood"),
        ("sead = 1", "sead"),
        ("every = 2", "every"),
        ('[[script]]\nfault = "stuck"', "cannot happen at 'messages'"),
        ('[[script]]\nfault = "sulk"', "no fault 'sulk'"),
        ('[[script]]\nfault = "slow"\nhang = 3', "no field 'hang'"),
        ("[chance.messages]\nslow = 1.5", "1.5"),
        ("[chance.lunch]\nslow = 0.5", "lunch"),
    ],
)
def test_a_file_that_is_wrong_is_refused(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "faults.toml"
    file.write_text(text)
    with pytest.raises(RequestRejected, match=said):
        read_faults(file)
    with pytest.raises(RequestRejected, match="cannot be read"):
        read_faults(tmp_path / "none.toml")


def test_every_fault_comes_once_before_any_comes_twice() -> None:
    plan = FaultPlan(seed=1, every=1.0)
    for place in Place:
        here = {name for name, one in FAULTS.items() if place in one.places}
        for _ in range(2):
            assert {plan.next(place).name for _ in here} == here
    half = read_faults("every", seed=1)
    met = sum(bool(half.next(Place.MESSAGES).name) for _ in range(400))
    assert 0.8 * EVERY < met / 400 < 1.2 * EVERY


def test_a_reply_says_whether_it_is_billed() -> None:
    assert {name for name, one in FAULTS.items() if "after_billing" in name} == {
        name for name, one in FAULTS.items() if one.reply.is_billed and (one.reply.status != 200 or one.reply.drop)
    }
    with pytest.raises(RequestRejected, match="rate_limit"):
        fault("sulk")


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"enum": ["x", "y"]}}},
        {"type": "array", "items": {"anyOf": [{"type": "null"}, {"type": "integer", "minimum": 3}]}, "minItems": 2},
        {"type": "object", "properties": {"t": {"type": "string", "format": "date-time"}, "n": {"type": "null"}}},
        {"type": ["string", "null"], "maxLength": 5},
        {"allOf": [{"type": "boolean"}]},
    ],
)
def test_an_answer_fits_its_schema(schema: dict[str, Any]) -> None:
    body = {"messages": [{"role": "user", "content": "x"}], "output_config": {"format": {"schema": schema}}}
    jsonschema.validate(json.loads(compose(body)), schema)


def test_prices_are_exact() -> None:
    assert bill(HAIKU, TokenUsage(1), batch=True) == Decimal("0.00000005")
