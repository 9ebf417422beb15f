"""Learned token bounds, for any record: above all of it, never falling, never above the byte ceiling, and packable."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gistline.domain import Language
from gistline.reports.prompt import build_prompt
from gistline.reports.tokens import (
    TRUSTED,
    Learned,
    Sample,
    TokenCounter,
    bound_from,
    bound_json,
    learn,
    schema_ceiling,
)
from tests.support.reporting import finding, window_data

quick = settings(max_examples=60, deadline=None)
RECORDS = st.lists(
    st.tuples(st.integers(2_000, 60_000), st.floats(0.2, 1.2)).map(lambda one: Sample(one[0], int(one[0] * one[1]))),
    min_size=TRUSTED,
    max_size=60,
)


def learned(record: list[Sample]) -> Learned:
    bound = learn(record)
    assert bound is not None
    return bound


@quick
@given(RECORDS)
def test_no_recorded_request_is_above_the_bound(record: list[Sample]) -> None:
    bound = learned(record)
    assert all(one.tokens <= bound.of_bytes(one.bytes_) for one in record)


@quick
@given(RECORDS, st.integers(0, 100_000), st.integers(0, 50_000))
def test_a_longer_text_never_has_a_lower_bound(record: list[Sample], size: int, more: int) -> None:
    bound = learned(record)
    assert bound.of_bytes(size) <= bound.of_bytes(size + more)
    assert bound.of_bytes(size) <= schema_ceiling.of_bytes(size)


@quick
@given(RECORDS, st.integers(0, 90_000))
def test_the_bytes_within_a_budget_are_the_most_that_are(record: list[Sample], budget: int) -> None:
    bound = learned(record)
    size = bound.bytes_within(budget)
    assert size < 0 or bound.of_bytes(size) <= budget
    assert bound.of_bytes(size + 1) > budget


@quick
@given(RECORDS)
def test_a_kept_bound_is_the_same_bound(record: list[Sample]) -> None:
    bound = learned(record)
    assert bound_from(bound_json(bound)) == bound
    assert bound_from(bound_json(schema_ceiling)) is schema_ceiling


def test_too_few_samples_teach_nothing() -> None:
    assert learn([Sample(5_000, 2_000)] * (TRUSTED - 1)) is None
    assert learn([Sample(5_000, 2_000)] * TRUSTED) is not None


@pytest.mark.parametrize("language", Language)
def test_windows_counted_by_a_real_tokenizer_stay_within_what_was_promised(language: Language) -> None:
    """300 windows of all sizes, each promised from those before it: none is above, and the bound is close."""
    chance, counter = random.Random(11), TokenCounter()  # noqa: S311 - repeatable windows
    record: list[Sample] = []
    over, slack = [], []
    for place in range(300):
        many = chance.choice([1, 3, 10, 40, 120])
        data = window_data(
            [
                finding(
                    key,
                    camera=f"cam-{chance.randrange(1, 1 + many)}",
                    label=chance.choice(["open", "short", "spur", "pin-hole"]),
                    confidence=chance.uniform(0.25, 1),
                    seconds=chance.uniform(0, 900),
                )
                for key in range(1, 1 + chance.randrange(1, 3 * many))
            ]
        )
        bound = learn(record[-200:]) or schema_ceiling
        prompt = build_prompt(data, budget=12_000, measure=bound, language=language)
        counted = counter.estimate(prompt.text)
        if counted > prompt.used:
            over.append((place, counted, prompt.used))
        if isinstance(bound, Learned):
            slack.append(prompt.used / counted)
        record.append(Sample(len(prompt.text.encode()), counted))
    assert over == []
    assert len(slack) == 300 - TRUSTED
    assert sorted(slack)[len(slack) // 2] < 1.25
