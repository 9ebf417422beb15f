from gistline.domain import FrameCounts
from tests.support.reporting import finding, some_findings, window_data


def test_the_table_adds_up_both_ways() -> None:
    totals = window_data(some_findings(50)).totals
    lines = [line.split(",") for line in totals.as_table().splitlines()]
    labels, body, foot = lines[0][1:-1], lines[1:-1], lines[-1]
    assert labels == sorted(totals.by_label)
    for line in body:
        assert sum(map(int, line[1:-1])) == int(line[-1]) == totals.by_camera[line[0]]
    for place in range(1, len(foot)):
        assert sum(int(line[place]) for line in body) == int(foot[place])
    assert foot[-1] == "50"
    assert totals.findings == 50


def test_a_window_without_findings_has_an_empty_table() -> None:
    totals = window_data([]).totals
    assert totals.as_table() == ""
    assert totals.findings == 0


def test_the_json_holds_every_count() -> None:
    data = window_data(
        [finding(1), finding(2, label="spur", severity=2), finding(3)], FrameCounts(9, ng=3, failed=1, expired=2)
    )
    assert data.totals.as_json() == {
        "findings": 3,
        "by_label": {"open": 2, "spur": 1},
        "by_camera": {"cam-1": 3},
        "cells": [["cam-1", "open", 2], ["cam-1", "spur", 1]],
        "frames": {"inspected": 9, "ng": 3, "reinspect": 0, "failed": 1, "expired": 2},
    }
    assert data.totals.frames.total == 12
