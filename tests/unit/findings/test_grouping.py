from datetime import timedelta

import pytest

from gistline.findings.grouping import group_findings
from tests.support.reporting import START, finding, some_findings


def test_nothing_makes_no_groups() -> None:
    assert group_findings([]) == ()


def test_a_group_sums_up_its_findings() -> None:
    (group,) = group_findings(
        [
            finding(2, confidence=0.9, severity=2, seconds=60),
            finding(1, confidence=0.5, severity=3, seconds=90),
            finding(3, confidence=0.7, severity=1, seconds=30),
        ]
    )
    assert (group.camera, group.label, group.severity) == ("cam-1", "open", 3)
    assert [found.finding_id for found in group.findings] == [3, 2, 1]
    assert group.mean_confidence == pytest.approx(0.7)
    assert group.max_confidence == 0.9
    assert (group.first, group.last) == (START + timedelta(seconds=30), START + timedelta(seconds=90))


def test_groups_stand_gravest_first_then_most_frequent_then_by_name() -> None:
    groups = group_findings(
        [
            finding(1, camera="b", label="spur", severity=2),
            finding(2, camera="a", label="spur", severity=2),
            finding(3, camera="c", label="spur", severity=2),
            finding(4, camera="c", label="spur", severity=2),
            finding(5, camera="z", label="open", severity=3),
            finding(6, camera="a", label="pin-hole", severity=1),
        ]
    )
    assert [(group.camera, group.label) for group in groups] == [
        ("z", "open"),
        ("c", "spur"),
        ("a", "spur"),
        ("b", "spur"),
        ("a", "pin-hole"),
    ]


def test_the_order_of_reading_does_not_matter() -> None:
    findings = some_findings(60)
    assert group_findings(findings) == group_findings(findings[::-1])


def test_ties_in_time_are_settled_by_key() -> None:
    (group,) = group_findings([finding(9), finding(4), finding(7)])
    assert [found.finding_id for found in group.findings] == [4, 7, 9]
