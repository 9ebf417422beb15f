"""When partitions begin and end, and the ids by which rows find theirs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from gistline.storage.moments import MOST_AT_ONCE, ids_at, lowest_id, moment_of
from gistline.storage.partitions import FIRST, LEAST_AHEAD, Period, missing_periods

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(1990, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - st adds it


def day(number: int) -> datetime:
    return datetime(2026, 11, number, tzinfo=UTC)


def test_ids_of_a_moment_lie_between_its_bounds_in_their_order() -> None:
    made = ids_at(NOON, MOST_AT_ONCE)
    assert made == sorted(made)
    assert len(set(made)) == MOST_AT_ONCE
    assert {one.version for one in made} == {7}
    assert {one.variant for one in made} == {uuid7().variant}
    assert lowest_id(NOON) <= made[0]
    assert made[-1] < lowest_id(NOON + timedelta(milliseconds=1))
    with pytest.raises(ValueError, match="at most"):
        ids_at(NOON, MOST_AT_ONCE + 1)


def test_an_id_of_another_library_says_when_it_was_made() -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    assert before <= moment_of(uuid7()) <= datetime.now(UTC)


def test_the_first_period_reaches_back_without_end() -> None:
    first = Period(datetime.min.replace(tzinfo=UTC), day(27))
    assert (first.name, first.lowest) == (FIRST, UUID(int=0))
    assert Period(day(27), day(28)).name == "p20261127"


@given(now=MOMENTS, days=st.integers(1, 366))
def test_time_is_covered_from_now_on_without_gap_or_overlap(now: datetime, days: int) -> None:
    made = list(missing_periods([], now=now, days=days))
    assert made[0].starts_at <= now < made[0].ends_at
    assert made[-1].ends_at > now + max(LEAST_AHEAD, timedelta(days=days))
    assert all(before.ends_at == after.starts_at for before, after in pairwise(made))
    assert list(missing_periods(made, now=now, days=days)) == []
    later = list(missing_periods(made, now=now + timedelta(days=days), days=days))
    assert [one.starts_at for one in later[:1]] == [made[-1].ends_at]


@given(now=MOMENTS, before=st.integers(1, 60), after=st.integers(1, 60), passed=st.integers(0, 300))
def test_another_length_fills_the_gaps(now: datetime, before: int, after: int, passed: int) -> None:
    old = list(missing_periods([], now=now, days=before))
    then = now + timedelta(days=passed)
    every = sorted([*old, *missing_periods(old, now=then, days=after)])
    assert all(one.ends_at <= two.starts_at for one, two in pairwise(every))
    assert any(one.starts_at <= then < one.ends_at for one in every)


def test_after_a_step_of_the_clock_the_present_is_covered_again() -> None:
    far = list(missing_periods([], now=NOON + timedelta(days=1000), days=28))
    near = list(missing_periods(far, now=NOON, days=28))
    assert near[0].starts_at <= NOON < near[0].ends_at
    assert max(near) < min(far)
