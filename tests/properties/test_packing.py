"""Packing and encoding, for any findings: within budget, nothing lost, nothing doubled, decodable."""

import itertools
import re
from collections import Counter
from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gistline.domain import Box, Finding, FrameId, Placement
from gistline.errors import BudgetTooSmall
from gistline.findings.grouping import group_findings
from gistline.reports.encoding import CodedGroup, Row, decode_groups, row_of
from gistline.reports.knapsack import Step, choose
from gistline.reports.pack import UNIT
from gistline.reports.prompt import Prompt, build_prompt
from gistline.reports.tokens import schema_ceiling as ceiling
from gistline.reports.totals import Fold
from tests.support.reporting import START, finding, window_data

NAMES = st.one_of(st.sampled_from(["cam-1", "cam-2", "open", "spur"]), st.text(max_size=12))
FOLDS = list(Fold)
SIDES = st.floats(0, 12_000, allow_nan=False)

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def findings(draw: st.DrawFn, *, most: int = 60) -> list[Finding]:
    names = draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    count = draw(st.integers(1, most))
    return [
        Finding(
            finding_id=key,
            frame_id=FrameId(finding(key).frame_id),
            camera=draw(st.sampled_from(names)),
            line="line-1",
            label=draw(st.sampled_from(names)),
            confidence=draw(st.floats(0, 1)),
            box=Box(draw(SIDES), draw(SIDES), draw(SIDES), draw(SIDES)),
            severity=draw(st.integers(1, 3)),
            captured_at=START + timedelta(seconds=draw(st.floats(-60, 900))),
        )
        for key in range(1, count + 1)
    ]


def prompt_of(found: list[Finding], budget: int) -> Prompt | None:
    try:
        return build_prompt(window_data(found), budget=budget, measure=ceiling)
    except BudgetTooSmall:
        return None


def read_back(prompt: Prompt) -> tuple[CodedGroup, ...]:
    return decode_groups(prompt.packed.text)


@quick
@given(findings(), st.integers(200, 9000))
def test_no_prompt_is_over_its_budget(found: list[Finding], budget: int) -> None:
    prompt = prompt_of(found, budget)
    assert prompt is None or ceiling(prompt.text) <= budget


@quick
@given(findings(), st.integers(4000, 9000))
def test_every_finding_has_exactly_one_place(found: list[Finding], budget: int) -> None:
    prompt = prompt_of(found, budget)
    if prompt is None:
        return
    packed = prompt.packed
    assert packed.placements.keys() == {one.finding_id for one in found}
    assert sum(packed.counts.values()) == prompt.data.totals.findings == len(found)
    assert {place: count for place, count in packed.counts.items() if count} == Counter(packed.placements.values())
    listed = [one.finding_id for shown in packed.shown for one in shown.listed]
    assert len(listed) == len(set(listed)) == packed.counts[Placement.ROW]
    told = sum(len(shown.group.findings) for shown in packed.shown)
    assert told == packed.counts[Placement.ROW] + packed.counts[Placement.AGGREGATE]


@quick
@given(findings(), st.integers(4000, 9000))
def test_the_prompt_decodes_to_the_rounded_findings(found: list[Finding], budget: int) -> None:
    prompt = prompt_of(found, budget)
    if prompt is None:
        return
    by_group = {(group.camera, group.label): group for group in group_findings(found)}
    for coded, shown in zip(read_back(prompt), prompt.packed.shown, strict=True):
        group = by_group[coded.camera, coded.label]
        assert (coded.count, coded.severity) == (len(group.findings), group.severity)
        assert coded.rows == tuple(row_of(one, START) for one in shown.listed)
        assert (coded.aggregate is None) == shown.in_full
        possible = Counter(row_of(one, START) for one in group.findings)
        assert not Counter[Row](coded.rows) - possible


@quick
@given(findings(), st.integers(4000, 9000), st.integers(1, 2000))
def test_more_budget_never_says_less(found: list[Finding], budget: int, more: int) -> None:
    small, large = prompt_of(found, budget), prompt_of(found, budget + more)
    if small is None:
        return
    assert large is not None
    assert FOLDS.index(large.fold) <= FOLDS.index(small.fold)
    assert large.packed.value >= small.packed.value


@quick
@given(findings(), st.integers(4000, 9000))
def test_the_account_is_of_what_is_printed(found: list[Finding], budget: int) -> None:
    prompt = prompt_of(found, budget)
    if prompt is None:
        return
    assert prompt.used == ceiling(prompt.text)
    assert prompt.packed.value <= prompt.packed.bound
    printed = re.search(r"Findings: (\d+) = (\d+) in rows \+ (\d+) in group lines \+ (\d+) in the table", prompt.user)
    assert printed is not None
    everything, *parts = map(int, printed.groups())
    assert everything == sum(parts) == len(found)
    coded = read_back(prompt)
    assert sum(len(group.rows) for group in coded) == parts[0]
    assert sum(group.count for group in coded) == parts[0] + parts[1]


def worth(prompt: Prompt) -> int:
    """What the lines of a prompt are worth, from the lines: docs/packing.md says how."""
    groups = {(group.camera, group.label): group for group in prompt.data.groups}
    told = 0
    for coded in read_back(prompt):
        surest = sorted(groups[coded.camera, coded.label].findings, key=lambda one: -one.confidence)
        weights = [UNIT * {1: 1, 2: 3, 3: 9}[one.severity] for one in surest]
        told += sum(weights)
        told += sum(max(1, weight // rank) for rank, weight in enumerate(weights[: len(coded.rows)], 1))
    return told


@quick
@given(findings(), st.integers(4000, 9000))
def test_the_value_that_never_falls_is_that_of_what_is_printed(found: list[Finding], budget: int) -> None:
    prompt = prompt_of(found, budget)
    assert prompt is None or worth(prompt) == prompt.packed.value


LADDERS = st.lists(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 30)), max_size=4), max_size=4)


def best(ladders: list[list[Step]], room: int) -> int:
    """The best choice's value, by trying all."""
    tried = itertools.product(*(range(len(ladder) + 1) for ladder in ladders))
    taken = (
        [step for ladder, level in zip(ladders, levels, strict=True) for step in ladder[:level]] for levels in tried
    )
    return max(sum(value for _, value in steps) for steps in taken if sum(cost for cost, _ in steps) <= room)


@quick
@given(LADDERS, st.integers(0, 60))
def test_a_choice_is_within_its_room_and_its_bound_above_the_best(ladders: list[list[Step]], room: int) -> None:
    choice = choose(ladders, room)
    steps = [step for ladder, level in zip(ladders, choice.levels, strict=True) for step in ladder[:level]]
    assert sum(cost for cost, _ in steps) == choice.cost <= room
    assert sum(value for _, value in steps) == choice.value <= best(ladders, room) <= choice.bound


@quick
@given(LADDERS)
def test_no_room_more_is_ever_worth_less(ladders: list[list[Step]]) -> None:
    values = [choose(ladders, room).value for room in range(150)]
    assert values == sorted(values)


@quick
@given(findings(most=25), st.randoms(use_true_random=False))
def test_the_order_of_reading_does_not_change_the_prompt(found: list[Finding], random: object) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = prompt_of(found, 5000), prompt_of(shuffled, 5000)
    assert (one and one.text) == (other and other.text)
