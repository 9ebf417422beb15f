"""Numbers as people and spreadsheets read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from api.dashboard.downloads import cell
from api.dashboard.figures import duration, moment, number, points, share, usd
from api.dashboard.findings import FindingQuery
from api.dashboard.prose import render_prose
from api.dashboard.words import words_of
from gistline.domain import Estimate
from gistline.errors import RequestRejected
from gistline.storage.finding_lists import FindingCursor
from gistline.storage.report_lists import WindowCursor


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (None, "–"),
        (Decimal(0), "$0.00"),
        (Decimal("1234.567"), "$1,234.57"),
        (Decimal("0.0123456"), "$0.0123"),
        (Decimal("0.000408123"), "$0.000408"),
        (Decimal("-2"), "-$2.00"),
    ],
)
def test_dollars(amount: Decimal | None, shown: str) -> None:
    assert usd(amount) == shown


def test_numbers_and_shares() -> None:
    assert (number(12345), number(1.25, 1), number(None)) == ("12,345", "1.2", "–")
    assert (share(1, 8), share(0, 0)) == ("12.5 %", "–")
    assert points(Estimate(0.976, 0.968, 0.983)) == "97.6 [96.8, 98.3]"


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7_300, "2 h"), (200_000, "2 d")]
)
def test_durations(seconds: float, shown: str) -> None:
    assert duration(seconds, words_of("en")) == shown


def test_times_are_utc() -> None:
    there = datetime(2026, 11, 26, 9, 30, 5, tzinfo=timezone(timedelta(hours=8)))
    assert moment(there, seconds=True) == '<time datetime="2026-11-26T01:30:05Z">2026-11-26 01:30:05</time>'
    assert moment(None) == "–"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx", "\rx"])
def test_no_text_of_a_download_is_a_formula(text: str) -> None:
    assert cell(text) == "'" + text


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (Decimal("0.000000000001"), "0.000000000001"),
        (-3, -3),
        (None, ""),
        (datetime(2026, 11, 26, 1, 2, 3, tzinfo=UTC), "2026-11-26T01:02:03Z"),
        ("line-a", "line-a"),
    ],
)
def test_values_of_a_download_are_exact(value: Any, written: Any) -> None:
    assert cell(value) == written


def test_a_report_can_do_nothing() -> None:
    html = render_prose(
        "# A\n\n<script>alert(1)</script> **b** `c` [click](https://x.test) ![i](https://x.test/i.png) "
        "<https://x.test> <img src=x onerror=alert(1)>\n\n<iframe src=x></iframe>\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
    )
    assert "<h2>A</h2>" in html
    assert "<strong>b</strong> <code>c</code>" in html
    assert "<td>1</td>" in html
    for harm in ("<script", "<a ", "<img", "<iframe", "href=", "src=x>"):
        assert harm not in html.replace("&lt;img src=x onerror=alert(1)&gt;", "").replace("&lt;iframe src=x&gt;", "")


@pytest.mark.parametrize(
    "text", ["", "x", "0" * 32, "0" * 32 + ".", "0" * 32 + ".-1", "0" * 32 + "." + "9" * 19, "٣.٣"]
)
def test_a_place_in_the_findings_that_is_none(text: str) -> None:
    with pytest.raises(RequestRejected, match="no place in the list"):
        FindingCursor.parse(text)


@pytest.mark.parametrize("text", ["", "x_y", "20261126T010203.000004_", "99991332T010203.0_" + "0" * 32])
def test_a_place_in_the_windows_that_is_none(text: str) -> None:
    with pytest.raises(RequestRejected, match="no place in the list"):
        WindowCursor.parse(text)


def test_times_of_a_form_are_utc_and_replace_the_span() -> None:
    query = FindingQuery.model_validate({"since": "2026-11-26T07:00", "until": "", "severity": "", "verdict": ""})
    wanted = query.filter(None)
    assert (wanted.since, wanted.until, wanted.severity, wanted.verdict) == (
        datetime(2026, 11, 26, 7, tzinfo=UTC),
        None,
        None,
        None,
    )
    day = FindingQuery().filter(frozenset({"line-a"}))
    assert day.since is not None
    assert timedelta(hours=23.9) < datetime.now(UTC) - day.since < timedelta(hours=24.1)
    assert FindingQuery(span="").filter(None).since is None
