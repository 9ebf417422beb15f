import re

import pytest

from gistline.domain import ImageSize, Language
from gistline.reports.answer import Attempt, Outcome, read_text
from gistline.reports.draft import read_draft
from gistline.reports.offline import PLACES, OfflineWriter, compose
from gistline.reports.prompt import build_prompt
from gistline.reports.render import render
from gistline.reports.tokens import TokenCounter, schema_ceiling
from gistline.settings import ReportSettings
from tests.support.reporting import finding, request_of, some_findings, window_data

ENGLISH, CHINESE = Language.ENGLISH, Language.CHINESE


@pytest.mark.parametrize("count", [1, 2, 7, 60, 500])
def test_every_count_is_one_of_the_totals(count: int) -> None:
    data = window_data(some_findings(count))
    body, totals = render(compose(data, ENGLISH), data, ENGLISH).markdown, data.totals
    counts = body.split("**Counts.** ")[1]
    by_class, by_camera, everything = (part.split(": ")[1] for part in counts.rstrip(".").split(". "))
    assert {key: int(value) for key, value in re.findall(r"`([^`]+)` (\d+)", by_class)} == totals.by_label
    assert {key: int(value) for key, value in re.findall(r"`([^`]+)` (\d+)", by_camera)} == totals.by_camera
    assert int(everything) == totals.findings == count
    places = [(camera, label, int(n)) for camera, n, label in re.findall(r"- `([^`]+)`: (\d+) x `([^`]+)`", body)]
    assert set(places) <= set(totals.cells)


def test_many_groups_are_cut_at_a_few_places() -> None:
    data = window_data([finding(key, camera=f"cam-{key}") for key in range(1, PLACES + 4)])
    assert len(compose(data, ENGLISH).places) == PLACES
    assert "- Further groups: see the counts." in render(compose(data, ENGLISH), data, ENGLISH).markdown
    assert "- 其余各组见计数。" in render(compose(data, CHINESE), data, CHINESE).markdown


def test_what_speaks_for_a_common_cause_is_said() -> None:
    shared = window_data([finding(key, camera=f"cam-{key}") for key in (1, 2, 3)])
    assert "seen on 3 cameras" in compose(shared, ENGLISH).cause.text
    spot = window_data(some_findings(1, image=ImageSize(640, 640)))
    assert "cam-1` only, mostly upper left" in compose(spot, ENGLISH).cause.text
    assert "只出现在 `cam-1` 上，多在左上" in compose(spot, CHINESE).cause.text
    assert "that station" in compose(window_data([finding(1)]), ENGLISH).cause.text


@pytest.mark.parametrize(("mean", "said"), [(0.9, "high"), (0.6, "medium"), (0.3, "low")])
def test_how_sure_the_detector_was_is_how_sure_the_report_is(mean: float, said: str) -> None:
    assert compose(window_data([finding(1, confidence=mean)]), ENGLISH).confidence == said


@pytest.mark.parametrize("language", Language)
def test_the_usage_is_that_of_the_same_request(language: Language) -> None:
    booked: list[Attempt] = []
    data = window_data(some_findings(30))
    request = request_of(build_prompt(data, budget=6000, measure=schema_ceiling, language=language))
    writer = OfflineWriter(ReportSettings())
    written = read_text(writer.write(request, book=booked.append))
    counter = TokenCounter()
    assert read_draft(written.text) == compose(data, language)
    assert written.usage.input_tokens == counter.estimate(request.text)
    assert written.usage.output_tokens == counter.estimate(written.text)
    assert [(attempt.outcome, attempt.usage) for attempt in booked] == [(Outcome.PAID, written.usage)]
    assert writer.simulated
    assert not written.cut_off
