import re

import pytest

from gistline.domain import FrameCounts
from gistline.reports.answer import Attempt, Outcome, read_report
from gistline.reports.offline import PLACES, OfflineWriter, compose, quiet_report
from gistline.reports.prompt import build_prompt
from gistline.reports.tokens import TokenCounter, ceiling
from gistline.settings import ReportSettings
from tests.support.reporting import finding, request_of, some_findings, window_data


@pytest.mark.parametrize("count", [1, 2, 7, 60, 500])
def test_every_count_is_one_of_the_totals(count: int) -> None:
    data = window_data(some_findings(count))
    body, totals = compose(data), data.totals
    counts = body.split("**Counts.** ")[1]
    by_class, by_camera, everything = (part.split(": ")[1] for part in counts.rstrip(".").split(". "))
    assert {key: int(value) for key, value in re.findall(r"`([^`]+)` (\d+)", by_class)} == totals.by_label
    assert {key: int(value) for key, value in re.findall(r"`([^`]+)` (\d+)", by_camera)} == totals.by_camera
    assert int(everything) == totals.findings == count
    places = [(camera, label, int(n)) for camera, n, label in re.findall(r"- `([^`]+)`: (\d+) x `([^`]+)`", body)]
    assert set(places) <= set(totals.cells)
    rest = re.search(r"further groups? with (\d+) finding", body)
    assert sum(n for _, _, n in places) + (int(rest[1]) if rest else 0) == count


def test_many_groups_are_cut_at_a_few_places() -> None:
    data = window_data([finding(key, camera=f"cam-{key}") for key in range(1, PLACES + 4)])
    assert "- 3 further groups with 3 findings: see the counts." in compose(data)


def test_frames_that_nobody_looked_at_are_named() -> None:
    frames = FrameCounts(inspected=1, failed=2, expired=3)
    assert quiet_report(window_data([], frames)) == (
        "No findings on line `line-1`. From 2026-11-23 08:00:00 to 2026-11-23 08:15:00 UTC 1 frame was inspected: "
        "0 NG, 0 to re-inspect. Not inspected: 2 failed, 3 expired."
    )


def test_the_usage_is_that_of_the_same_prompt() -> None:
    booked: list[Attempt] = []
    prompt = build_prompt(window_data(some_findings(30)), budget=4000, measure=ceiling)
    writer = OfflineWriter(ReportSettings())
    written = read_report(writer.write(request_of(prompt), book=booked.append))
    counter = TokenCounter()
    assert written.usage.input_tokens == counter.estimate(prompt.text)
    assert written.usage.output_tokens == counter.estimate(written.body)
    assert [(attempt.outcome, attempt.usage) for attempt in booked] == [(Outcome.PAID, written.usage)]
    assert writer.simulated
    assert not written.cut_off
