"""Accuracy: passports over time, class by class, and what operators say of the findings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Query
from fastapi.responses import Response

from api.dashboard.charts import AXIS, Chart, Series, lines
from api.dashboard.page import ViewOf
from api.dashboard.words import Words
from gistline.domain import Estimate, Passport
from gistline.findings.precision import precision
from gistline.storage.feedback import FeedbackCount, feedback_counts
from gistline.storage.passports import measured_passports
from gistline.storage.session import transaction

router = APIRouter(prefix="/accuracy", include_in_schema=False)

PASSPORTS: Final = 20
PERIODS: Final = (7, 30, 90, 365)


@dataclass(frozen=True, slots=True)
class Judged:
    """What operators thought of a class's findings; ``precision`` is None before the first clear opinion."""

    label: str
    correct: int
    incorrect: int
    inconclusive: int
    precision: Estimate | None


@router.get("", name="accuracy")
def accuracy(
    view: ViewOf, days: Annotated[int, Query(ge=1, le=3_650)] = 30, before: datetime | None = None
) -> Response:
    """The page; ``before`` goes back to older passports."""
    since = datetime.now(UTC) - timedelta(days=days)
    if before is not None and before.tzinfo is None:
        before = before.replace(tzinfo=UTC)
    with transaction(view.services.sessions) as session:
        found = measured_passports(session, limit=PASSPORTS + 1, before=before)
        counts = feedback_counts(session, since=since, lines=view.person.lines)
    passports = found[:PASSPORTS]
    return view.page(
        "accuracy.html",
        passports=passports,
        more=passports[-1].measured_at if len(found) > PASSPORTS else None,
        first=before is None,
        newest=next((one.measurement for one in passports if one.measurement), None),
        chart=passports_chart(passports, view.look.words),
        judged=judged_by_class(counts),
        days=days,
        periods=PERIODS,
    )


def judged_by_class(counts: Sequence[FeedbackCount]) -> list[Judged]:
    """Opinions by class, and of all classes together in the last row; empty before the first opinion."""
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for one in counts:
        for label in (one.label, ""):
            for place, count in enumerate((one.correct, one.incorrect, one.inconclusive)):
                sums[label][place] += count
    ordered = sorted(sums.items(), key=lambda item: (item[0] == "", item[0]))
    return [Judged(label, found[0], found[1], found[2], precision(found[0], found[1])) for label, found in ordered]


def passports_chart(passports: Sequence[Passport], t: Words) -> Chart:
    """mAP50-95 of each passport's engine and of its FP32 reference, in points of 100, oldest first."""
    measured = [(one, one.measurement) for one in reversed(passports) if one.measurement is not None]
    places = [f"{one.measured_at.astimezone(UTC):%Y-%m-%dT%H:%M}" for one, _ in measured]
    pairs = (
        (t("accuracy.engine"), "--accent", [found.map50_95.engine for _, found in measured], "solid"),
        (t("accuracy.reference"), "--muted", [found.map50_95.reference for _, found in measured], "dot"),
    )
    series = [_series(name, colour, values, dash) for name, colour, values, dash in pairs]
    axes = {"xaxis": {**AXIS, "tickformat": "%m-%d\n%H:%M", "type": "date"}, "yaxis": dict(AXIS)}
    return lines("passports", t("accuracy.over_time"), (t("common.when"), places), series, **axes)


def _series(name: str, colour: str, values: Sequence[Estimate], dash: str) -> Series:
    return Series(
        name,
        colour,
        [100 * one.value for one in values],
        [100 * one.low for one in values],
        [100 * one.high for one in values],
        dash,
    )
