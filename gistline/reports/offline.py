"""The report writer that needs no network: the same form, filled in by fixed rules, in either language.

It reports the tokens that the same request and its own answer take, so that its cost is what the same call would cost;
nobody is billed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Literal

from gistline.domain import Finding, FindingGroup, Language
from gistline.reports.answer import Attempt, Outcome, read_usage
from gistline.reports.draft import Claim, Draft, Measure, Place, Statement
from gistline.reports.encoding import percent
from gistline.reports.facts import clock
from gistline.reports.phrases import PHRASES, counted
from gistline.reports.prompt import WindowData
from gistline.reports.regions import WORDS, main_region, region_of
from gistline.reports.render import code
from gistline.reports.request import Request
from gistline.reports.tokens import TokenCounter
from gistline.settings import ReportSettings

PLACES = 8
"""Most camera-and-class groups that the report names one by one; the counts have all."""

_SURE, _UNSURE = 0.8, 0.5
"""Mean confidence of the worst group from which the report is sure, and below which it is not."""


class OfflineWriter:
    """Writes by rule; deterministic."""

    name = "offline"
    simulated = True

    def __init__(self, settings: ReportSettings) -> None:
        self.model = settings.model
        self._counter = TokenCounter()

    def write(self, request: Request, *, book: Callable[[Attempt], None]) -> str:
        """Answer by rule and book it as one attempt; see :class:`Writer`."""
        body = request.offline()
        answer = json.dumps(
            {
                "model": self.model,
                "content": [{"type": "text", "text": body}],
                "stop_reason": "end_turn",
                "usage": {
                    "input_tokens": self._counter.estimate(request.text),
                    "output_tokens": self._counter.estimate(body),
                },
            }
        )
        book(Attempt(Outcome.PAID, usage=read_usage(answer), answer=answer))
        return answer

    def count(self, request: Request, *, timeout_s: float) -> int | None:
        """Nobody to ask."""

    def close(self) -> None:
        """Nothing to let go of."""


def compose(data: WindowData, language: Language) -> Draft:
    """The report on a window with findings, by rule."""
    worst = data.groups[0]
    return Draft(
        headline=_headline(data, worst, language),
        happened=(_share(data, language),) if len(data.totals.by_label) > 1 else (),
        places=tuple(Place(camera=group.camera, defect=group.label) for group in data.groups[:PLACES]),
        cause=_cause(data, worst, language),
        check_first=(_advice(worst, language),),
        confidence=_confidence(worst),
    )


def _headline(data: WindowData, worst: FindingGroup, language: Language) -> Statement:
    count = len(worst.findings)
    text = PHRASES[language].headline.format(
        line=code(data.line), count=count, label=code(worst.label), camera=code(worst.camera)
    )
    return Statement(text=text, numbers=(_claim(count, Measure.COUNT, worst.camera, worst.label),))


def _share(data: WindowData, language: Language) -> Statement:
    """How much of everything the most frequent class is."""
    label, count = next(iter(data.totals.by_label.items()))
    share = percent(count / data.totals.findings)
    text = PHRASES[language].shares.format(percent=share, label=code(label))
    return Statement(text=text, numbers=(_claim(share, Measure.SHARE, "", label),))


def _cause(data: WindowData, worst: FindingGroup, language: Language) -> Statement:
    """What the spread of the worst class over cameras and places speaks for."""
    words, label = PHRASES[language], code(worst.label)
    cameras = {group.camera for group in data.groups if group.label == worst.label}
    if len(cameras) > 1:
        several = counted(len(cameras), "camera", language)
        claim = _claim(len(cameras), Measure.CAMERAS, "", worst.label)
        return Statement(text=words.cause_shared.format(label=label, cameras=several), numbers=(claim,))
    region = main_region(worst.findings)
    if region is None:
        return Statement(text=words.cause_station.format(label=label, camera=code(worst.camera)), numbers=())
    spot = words.cause_spot.format(label=label, camera=code(worst.camera), region=WORDS[language][region])
    return Statement(text=spot, numbers=())


def _advice(worst: FindingGroup, language: Language) -> Statement:
    words, surest = PHRASES[language], max(worst.findings, key=_sureness)
    region = region_of(surest)
    x, y = (f"{side:.0f}" for side in surest.box.centre)
    text = words.advice.format(
        camera=code(worst.camera),
        label=code(worst.label),
        x=x,
        y=y,
        time=clock(surest.captured_at),
        region=words.advice_region.format(region=WORDS[language][region]) if region else "",
    )
    told = ((x, Measure.PIXELS), (y, Measure.PIXELS), (clock(surest.captured_at), Measure.TIME))
    return Statement(text=text, numbers=tuple(_claim(*one, worst.camera, worst.label) for one in told))


def _confidence(worst: FindingGroup) -> Literal["low", "medium", "high"]:
    if worst.mean_confidence >= _SURE:
        return "high"
    return "medium" if worst.mean_confidence >= _UNSURE else "low"


def _sureness(finding: Finding) -> tuple[float, int]:
    return finding.confidence, -finding.finding_id


def _claim(said: int | str, measure: Measure, camera: str, label: str) -> Claim:
    return Claim(said=str(said), measure=measure, camera=camera, defect=label)
