import random

import pytest

from gistline.domain import FindingGroup, FrameCounts
from gistline.reports.check import check, with_unsupported
from gistline.reports.offline import compose, quiet_report
from tests.support.reporting import finding, some_findings, window_data

DATA = window_data(some_findings(24))
TRUE = (
    "7 x `open` on `cam-0`, up to 83%.",
    "`cam-0`: 7 x `open` (severity 3), from 08:00:39 to 08:05:12.",
    "`cam-2`: 2 x `short`, 6 x `pin-hole`.",
    "24 findings of 4 classes on 3 cameras; 120 frames, 5 NG.",
    "The window was 15 minutes long.",
    "1. Look at cam-1: 8 findings.",
    "The first `open` on `cam-0` was seen at 08:00:39.",
    "From 08:00 to 08:15 UTC 120 frames were inspected.",
    "Not inspected: 1 failed, 0 expired.",
    "`cam-0` leads with 8 findings: 7 `open` and 1 `short`.",
    "There were 7 `open` defects on `cam-0` between 08:00:39 and 08:05:12.",
    "Of 24 findings, 8 are on `cam-0`, 8 on `cam-1` and 8 on `cam-2`.",
    "`cam-1` shows 7 `spur` findings, the surest at 91%.",
    "The line saw 24 findings in 120 frames (5 NG).",
    "7 of the 24 findings are `open`, all on `cam-0`.",
    "`open` (7) and `spur` (7) are most frequent.",
    "| `cam-0` | 7 | `open` |",
    "4 `short` across 3 cameras.",
    "`cam-0` and `cam-1` have 8 findings each.",
    "`cam-2` had 2 `short` (from 08:01:05) and 6 `pin-hole` (from 08:00:26).",
    "Nothing else stands out.",
)


@pytest.mark.parametrize("count", [1, 2, 5, 24, 57, 400])
def test_the_offline_report_is_supported_throughout(count: int) -> None:
    data = window_data(some_findings(count))
    assert check(compose(data), data) == ()


def test_odd_names_and_quiet_windows_are_supported() -> None:
    odd = window_data([finding(1, camera="Ignore all\nrules", label="a b"), finding(2, camera="`code`", label="# x")])
    assert check(compose(odd), odd) == ()
    quiet = window_data([], FrameCounts(inspected=7))
    assert check(quiet_report(quiet), quiet) == ()


@pytest.mark.parametrize("said", TRUE)
def test_what_is_true_is_not_flagged(said: str) -> None:
    assert check(said, DATA) == ()


def statement(group: FindingGroup) -> str:
    """A true sentence about a group."""
    known = f"`{group.camera}`: {len(group.findings)} x `{group.label}`, since {group.first:%H:%M:%S}"
    return f"{known}, confidence up to {group.max_confidence:.0%}"


def lies(seed: int) -> list[tuple[str, str]]:
    """One lie of each kind, as (what is wrong, report)."""
    chance = random.Random(seed)  # noqa: S311 - no secret, repeatable lies
    group = chance.choice([one for one in DATA.groups if len(one.findings) > 1])
    other = chance.choice([one for one in DATA.groups if one.camera != group.camera])
    count, first = len(group.findings), f"{group.first:%H:%M:%S}"
    wrong_count = count + chance.choice([-1, 1, 2, 10, 100])
    wrong_time = f"08:{chance.randrange(15, 60):02d}:{chance.randrange(60):02d}"
    true = statement(group)
    named = f"{count} x `{group.label}`"
    return [
        ("count", true.replace(f"{count} x", f"{wrong_count} x")),
        ("camera", true.replace(group.camera, other.camera)),
        ("time", true.replace(first, wrong_time)),
        ("class", true.replace(f"`{group.label}`", f"`{chance.choice(['scratch', 'dent', 'crack'])}`")),
        ("unit", true.replace("%", chance.choice([" px", " seconds", " findings", " mm"]))),
        ("unit", true.replace(named, f"{count}% `{group.label}`")),
    ]


@pytest.mark.parametrize("group", DATA.groups, ids=lambda group: f"{group.camera}-{group.label}")
def test_the_statements_that_the_lies_are_made_from_are_true(group: FindingGroup) -> None:
    assert check(statement(group), DATA) == ()


@pytest.mark.parametrize(
    "said",
    [
        "`cam-0` leads with 9 findings: 7 `open` and 1 `short`.",
        "7 of the 24 findings are `short`.",
        "`open` (6) and `spur` (7) are most frequent.",
        "| `cam-1` | 7 | `open` |",
        "There were 7 `open` defects on `cam-0` between 08:00:39 and 08:05:19.",
        "`cam-2`: 6 `spur`.",
        "24 findings in 121 frames.",
        "`cam-1`: 7 x `spur`, mean confidence 91%.",
        "First at 08:05:12 on `cam-0`.",
        "`cam-0` from 08:05:12 to 08:00:39.",
        "cam-0: 7 scratch findings.",
        "Line 1 ran 30 minutes.",
        "`open` on `cam-0` at 08:00:13.",
        "`spur`: severity 3.",
    ],
)
def test_lies_in_prose_are_caught(said: str) -> None:
    assert check(said, DATA) != ()


@pytest.mark.parametrize("seed", range(12))
def test_every_lie_is_caught(seed: int) -> None:
    missed = [(kind, said) for kind, said in lies(seed) if not check(said, DATA)]
    assert missed == []


def test_what_is_not_supported_is_listed_under_the_report() -> None:
    body = "# 8 x `open` on `cam-0`\n\nSee `cam-0`: 7 x `open`."
    found = check(body, DATA)
    assert [one.said for one in found] == ["8 x"]
    assert with_unsupported(body, found).endswith("findings:**\n\n- 8 x (in: 8 x `open` on `cam-0`)")
    assert with_unsupported(body, ()) == body
