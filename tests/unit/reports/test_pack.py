from collections.abc import Callable, Sequence

import pytest

from gistline.domain import Finding, FindingGroup, Placement
from gistline.errors import BudgetTooSmall
from gistline.findings.grouping import group_findings
from gistline.reports.pack import Packed, pack
from tests.support.reporting import START, finding


def by_bytes(text: str) -> int:
    return len(text.encode())


def packed(findings: Sequence[Finding], budget: int, *, fixed: int = 0) -> Packed:
    groups = group_findings(findings)
    return pack(groups, START, budget=budget, measure=by_bytes, render=lambda choice: "." * fixed + choice.text)


def cluster(count: int, first: int = 1, **more: object) -> list[Finding]:
    return [finding(key, seconds=key, **more) for key in range(first, first + count)]  # type: ignore[arg-type]


def test_a_wide_budget_lists_everything() -> None:
    found = packed(cluster(20), 100_000)
    assert found.counts == {Placement.ROW: 20, Placement.AGGREGATE: 0, Placement.TOTALS: 0, Placement.DEFERRED: 0}
    assert found.shown[0].in_full
    assert found.text.startswith("@cam-1 open s3 n20\n")


def test_a_narrow_budget_counts_everything_in_the_totals() -> None:
    found = packed(cluster(20), 10)
    assert found.counts[Placement.TOTALS] == 20
    assert (found.text, found.shown) == ("", ())


def test_between_them_a_group_is_summed_up_with_its_surest_as_rows() -> None:
    findings = [finding(key, confidence=key / 100, seconds=key) for key in range(1, 31)]
    found = packed(findings, 120)
    listed = [one.finding_id for one in found.shown[0].listed]
    assert found.text.startswith("@cam-1 open s3 n30 c16/30 t1..30\n")
    assert listed == list(range(31 - len(listed), 31))
    assert found.counts[Placement.ROW] == len(listed) > 0
    assert found.counts[Placement.AGGREGATE] == 30 - len(listed)


def test_a_single_finding_is_listed_rather_than_summed_up() -> None:
    found = packed([finding(1)], 45)
    assert found.text == "@cam-1 open s3 n1\n0,90,101,40,20,18\n"


def test_the_gravest_group_is_told_of_first() -> None:
    grave = cluster(10, first=1, label="open", severity=3)
    slight = cluster(10, first=11, label="pin-hole", severity=1)
    found = packed(slight + grave, 40)
    assert [one.group.label for one in found.shown] == ["open"]
    assert {found.placements[one.finding_id] for one in slight} == {Placement.TOTALS}


def test_too_small_a_budget_says_what_is_needed() -> None:
    with pytest.raises(BudgetTooSmall, match=r"need 500 tokens; the budget is 499\.") as caught:
        packed(cluster(3), 499, fixed=500)
    assert "token_budget to 500" in caught.value.cure
    assert packed(cluster(3), 500, fixed=500).counts[Placement.TOTALS] == 3


def test_no_groups_make_an_empty_prompt_part() -> None:
    assert packed([], 0) == Packed((), {}, "")


def test_the_whole_prompt_is_measured_and_not_only_its_lines() -> None:
    groups = group_findings(cluster(12, confidence=0.5))

    def render(choice: Packed) -> str:
        return f"{choice.counts[Placement.ROW]} rows\n{choice.text}"  # grows by a digit with the tenth row

    exact = max(
        (
            found
            for budget in range(150, 400)
            if (found := _packed_with(groups, budget, render)).counts[Placement.ROW] == 10
        ),
        key=lambda found: len(found.text),
    )
    needed = by_bytes(render(exact))
    assert _packed_with(groups, needed, render).counts[Placement.ROW] == 10
    assert _packed_with(groups, needed - 1, render).counts[Placement.ROW] == 9


def _packed_with(groups: Sequence[FindingGroup], budget: int, render: Callable[[Packed], str]) -> Packed:
    return pack(groups, START, budget=budget, measure=by_bytes, render=render)
