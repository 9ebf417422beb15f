from collections.abc import Sequence

from gistline.domain import Box, Finding, Placement
from gistline.findings.grouping import group_findings
from gistline.reports.pack import Packed, pack
from tests.support.reporting import START, finding


def packed(findings: Sequence[Finding], room: int) -> Packed:
    return pack(group_findings(findings), START, room=room)


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


def test_no_groups_make_an_empty_prompt_part() -> None:
    assert packed([], 0) == Packed((), {}, "")


def test_the_rows_are_priced_as_they_are_written() -> None:
    odd = [
        finding(1, confidence=0.005, seconds=-0.5, box=Box(0.5, 1.5, 9.5, 99.5)),
        finding(2, confidence=1.0, seconds=-100.5, box=Box(12_345.6, 0.0, 2.5, 999.5)),
        finding(3, confidence=0.125, seconds=899.5, box=Box(-0.4, -7.0, 10.0, 100.0)),
    ]
    whole = packed(odd, 10_000)
    assert packed(odd, len(whole.text.encode())) == whole
    assert packed(odd, len(whole.text.encode()) - 1).counts[Placement.ROW] < 3


def test_a_gap_of_nothing_is_the_best_choice() -> None:
    found = packed(cluster(20), 100_000)
    assert (found.value, found.gap) == (found.bound, 0.0)
    tight = packed(cluster(20), 100)
    assert 0 < tight.gap < 1
