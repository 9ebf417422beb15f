"""How things stand: frames, verdicts, queue, workers, spending."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Query
from fastapi.responses import Response
from sqlalchemy.orm import Session

from api.dashboard.charts import AXIS, Chart, Series, ranked, stacked, with_line
from api.dashboard.costs import Burn, read_budgets
from api.dashboard.figures import ng_rate
from api.dashboard.page import ViewOf
from api.dashboard.words import Words
from gistline.domain import FrameCounts
from gistline.domain_money import BudgetPeriod, BudgetScope
from gistline.storage.finding_lists import FindingFilter, SeenFinding, list_findings
from gistline.storage.fleet_now import FleetNow, read_fleet
from gistline.storage.outcomes import HOUR, Outcomes, read_outcomes
from gistline.storage.partitions import database_time
from gistline.storage.report_lists import SeenWindow, list_windows_seen
from gistline.storage.session import transaction
from gistline.storage.sight import Lines, known_lines
from gistline.storage.spending import Spending, spending

router = APIRouter(include_in_schema=False)

HOURS: Final = (8, 24, 72, 168)
LATEST_FINDINGS: Final = 8
LATEST_WINDOWS: Final = 5
RECENT: Final = timedelta(days=7)
"""Findings older than this are no news."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Everything that the page shows, read at one moment."""

    now: datetime
    hours: int
    outcomes: Outcomes
    fleet: FleetNow
    today: Spending
    cap: Burn | None
    """The site's budget of the day, or of the month where there is none; for who sees all lines."""
    findings: Sequence[SeenFinding]
    windows: Sequence[SeenWindow]


@router.get("/", name="overview")
def overview(view: ViewOf, hours: Annotated[int, Query(ge=1, le=168)] = 24) -> Response:
    """The page; ``?wall`` makes it large and leaves out what nobody clicks on a wall."""
    with transaction(view.services.sessions) as session:
        standing = read_standing(session, hours, view.person.lines)
    charts = [frames_chart(standing, view.look.words), labels_chart(standing.outcomes, view.look.words)]
    template = "wall.html" if view.look.wall else "overview.html"
    return view.page(template, at=standing, hours_offered=HOURS, charts=charts)


def read_standing(session: Session, hours: int, lines: Lines) -> Standing:
    """Read it; ``lines`` are those that the person may see."""
    now = database_time(session)
    since = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0) - (hours - 1) * HOUR
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    recent = FindingFilter(lines=lines, since=now - RECENT)
    return Standing(
        now=now,
        hours=hours,
        outcomes=read_outcomes(session, since=since, lines=known_lines(session, lines)),
        fleet=read_fleet(session, lines),
        today=spending(session, since=midnight, lines=lines),
        cap=_cap(session, lines),
        findings=list_findings(session, recent, limit=LATEST_FINDINGS),
        windows=list_windows_seen(session, limit=LATEST_WINDOWS, lines=lines),
    )


def _cap(session: Session, lines: Lines) -> Burn | None:
    site = [one for one in read_budgets(session, lines) if one.state.scope_kind is BudgetScope.SITE]
    return next(iter(sorted(site, key=lambda one: one.state.period is not BudgetPeriod.DAY)), None)


def frames_chart(at: Standing, t: Words) -> Chart:
    """Frames by hour, with the share of NG as a line."""
    last = at.now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    hours = [last - step * HOUR for step in range(at.hours - 1, -1, -1)]
    counts = [at.outcomes.by_hour.get(hour, FrameCounts()) for hour in hours]
    places = [f"{hour:%Y-%m-%dT%H:%M}" for hour in hours]
    bars = [
        Series("OK", "--ok", [one.inspected - one.ng - one.reinspect for one in counts]),
        Series("NG", "--ng", [one.ng for one in counts]),
        Series(t("verdict.reinspect"), "--warn", [one.reinspect for one in counts]),
        Series(t("overview.not_inspected"), "--muted", [one.failed + one.expired for one in counts]),
    ]
    chart = stacked(
        "frames",
        t("overview.frames_by_hour"),
        (t("common.hour"), places),
        bars,
        xaxis={**AXIS, "tickformat": "%H:%M\n%m-%d", "type": "date"},
    )
    rate = Series(t("overview.ng_rate"), "--ink", [ng_rate(one) for one in counts], dash="dot")
    return with_line(chart, places, rate)


def labels_chart(outcomes: Outcomes, t: Words) -> Chart:
    """Findings by class."""
    names = (t("common.label"), t("common.findings"))
    return ranked("labels", t("overview.findings_by_label"), names, outcomes.by_label, "--accent")
