"""Accuracy: engines measured again in service, passports over time, class by class, and what operators say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import Response

from api.dashboard.charts import AXIS, Chart, Series, lines
from api.dashboard.figures import NOTHING, points
from api.dashboard.page import ViewOf
from api.dashboard.words import Words
from gistline.domain import Estimate, Passport
from gistline.domain_accuracy import Review, Reviewed, ReviewKind
from gistline.errors import RequestRejected
from gistline.findings.precision import precision
from gistline.storage.accuracy_reviews import ReviewFilter, figures_since, list_reviews
from gistline.storage.feedback import FeedbackCount, feedback_counts
from gistline.storage.keyset import Cut
from gistline.storage.passports import measured_passports
from gistline.storage.session import transaction

router = APIRouter(prefix="/accuracy", include_in_schema=False)

PASSPORTS: Final = 20
PERIODS: Final = (7, 30, 90, 365)
REVIEWS: Final = 20
FIGURES: Final = 600
"""Most figures in the chart."""
SERVICE: Final = {
    ReviewKind.LABELLED: ("accuracy.labelled_now", "--accent"),
    ReviewKind.AGREEMENT: ("accuracy.agreement_now", "--ok"),
    ReviewKind.FEEDBACK: ("accuracy.precision_now", "--warn"),
}
DASHES: Final = ("solid", "dot", "dash", "dashdot")


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
    view: ViewOf,
    days: Annotated[int, Query(ge=1, le=3_650)] = 30,
    before: datetime | None = None,
    reviewed: Annotated[str, Query(max_length=90)] = "",
    kind: ReviewKind | None = None,
) -> Response:
    """The page; ``before`` goes back to older passports, ``reviewed`` to older reviews (of a ``kind``)."""
    since = datetime.now(UTC) - timedelta(days=days)
    if before is not None and before.tzinfo is None:
        before = before.replace(tzinfo=UTC)
    cut = Cut(REVIEWS, _place(reviewed) if reviewed else None)
    with transaction(view.services.sessions) as session:
        found = measured_passports(session, limit=PASSPORTS + 1, before=before)
        counts = feedback_counts(session, since=since, lines=view.person.lines)
        reviews = list_reviews(session, ReviewFilter(view.person.lines, kind), cut)
        figures = figures_since(session, since, limit=FIGURES)
    passports = found[:PASSPORTS]
    return view.page(
        "accuracy.html",
        reviews=reviews.items,
        older_reviews=f"{reviews.end[0].isoformat()}~{reviews.end[1]}" if reviews.end else None,
        newest_reviews=not reviewed,
        figure_of=figure_of,
        kind=kind,
        kinds=tuple(ReviewKind),
        service=service_chart(figures, view.look.words),
        passports=passports,
        more=passports[-1].measured_at if len(found) > PASSPORTS else None,
        first=before is None,
        newest=next((one.measurement for one in passports if one.measurement), None),
        chart=passports_chart(passports, view.look.words),
        judged=judged_by_class(counts),
        days=days,
        periods=PERIODS,
    )


def _place(text: str) -> tuple[datetime, UUID]:
    """The review behind which the page begins."""
    moment, _, review = text.partition("~")
    try:
        found = datetime.fromisoformat(moment)
        return found if found.tzinfo else found.replace(tzinfo=UTC), UUID(review)
    except ValueError as error:
        raise RequestRejected(f"There is no page behind {text!r}.", cure="Go back to the newest reviews.") from error


def service_chart(figures: Sequence[Review], t: Words) -> Chart:
    """What engines were worth at each review, in points of 100, oldest first; a line each, and each machine's apart."""
    places = sorted({one.reviewed_at for one in figures})
    machines = sorted({one.machine for one in figures})
    series = []
    for kind, (label, colour) in SERVICE.items():
        for place, machine in enumerate(machines):
            told = {
                one.reviewed_at: _points_of(one) for one in figures if (one.found.kind, one.machine) == (kind, machine)
            }
            if told:
                name = f"{t(label)} ({machine})" if len(machines) > 1 else t(label)
                rows = [told.get(moment) for moment in places]
                ends = [row or (0.0, 0.0, 0.0) for row in rows]
                values = [row[0] if row else None for row in rows]
                lows, highs = [end[1] for end in ends], [end[2] for end in ends]
                series.append(Series(name, colour, values, lows, highs, DASHES[place % len(DASHES)]))
    axes = {"xaxis": {**AXIS, "tickformat": "%m-%d\n%H:%M", "type": "date"}, "yaxis": dict(AXIS)}
    shown = [f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S}" for moment in places]
    return lines("service", t("accuracy.in_service_over_time"), (t("common.when"), shown), series, **axes)


def _points_of(one: Review) -> tuple[float, float, float]:
    """Value and ends in points of 100; of labelled images what the engine reached, not what it lost."""
    found = one.found
    if found.kind is ReviewKind.LABELLED:
        value, low, high = found.evidence["now"][found.measure]
        return value, low, high
    return 100 * (found.value or 0.0), 100 * (found.low or 0.0), 100 * (found.high or 0.0)


def figure_of(found: Reviewed, t: Words) -> str:
    """A review's figure with its interval and its bound, as it is read; a dash where nothing was measured."""
    if found.value is None or found.low is None or found.high is None or found.bound is None:
        return NOTHING
    if found.kind is ReviewKind.DRIFT:
        statistic = t(f"statistic.{found.measure.replace(' ', '_')}")
        return f"{statistic} {found.value:.2f} {'>' if found.value > found.bound else '≤'} {found.bound:.2f}"
    if found.kind is ReviewKind.LABELLED:
        lost = f"{found.value:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"
        return t("accuracy.points_lost", lost=lost, bound=f"{found.bound:g}")
    return f"{points(Estimate(found.value, found.low, found.high))} / {100 * found.bound:.0f}"


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
