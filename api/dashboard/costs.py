"""What reports cost, beside what sending the images would have; and how the budgets burn."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query
from fastapi.responses import Response
from sqlalchemy.orm import Session

from api.dashboard.charts import AXIS, Chart, Series, grouped, stacked
from api.dashboard.downloads import csv_response
from api.dashboard.page import ViewOf
from api.dashboard.words import Words
from api.deps import ServicesOf
from api.people import PersonOf
from gistline.costs.forecast import forecast
from gistline.domain_money import BudgetScope
from gistline.storage.budgets import BudgetState, budget_states
from gistline.storage.camera_costs import CameraCosts, camera_costs
from gistline.storage.dashboards import CostRow, Costs, cost_rows, total_costs
from gistline.storage.partitions import database_time
from gistline.storage.session import transaction
from gistline.storage.sight import Lines, known_cameras, known_lines

router = APIRouter(prefix="/costs", include_in_schema=False)

PERIODS: Final = (7, 30, 90, 365)
Days = Annotated[int, Query(ge=1, le=366)]
Cut = Literal["day", "line", "camera", "model"]
HEAD: Final = (
    "reports",
    "frames",
    "findings",
    "input_tokens",
    "output_tokens",
    "billed_usd",
    "simulated_usd",
    "image_usd",
    "saving_usd",
    "unknown",
)
AXES: Final[Mapping[str, Any]] = {
    "xaxis": {**AXIS, "tickformat": "%m-%d", "type": "date"},
    "yaxis": {**AXIS, "tickprefix": "$", "rangemode": "tozero"},
}
CAMERA_HEAD: Final = ("line", "camera", "findings", "billed_usd", "simulated_usd", "image_usd")


@dataclass(frozen=True, slots=True)
class CostView:
    """Costs of a stretch of days, cut in several ways; every cut adds up to ``total``."""

    days: int
    since: date
    total: Costs
    by_day: Sequence[tuple[str, Costs]]
    by_line: Sequence[tuple[str, Costs]]
    by_model: Sequence[tuple[str, Costs]]
    by_camera: Sequence[CameraCosts]


@dataclass(frozen=True, slots=True)
class Burn:
    """A budget, the share of its cap that is spent or held, and what the period will have cost; None: too early."""

    state: BudgetState
    used: float
    forecast: Decimal | None

    @classmethod
    def of(cls, state: BudgetState, now: datetime) -> Burn:
        """How it stands now."""
        taken = state.settled_usd + state.held_usd
        used = float(taken / state.cap_usd) if state.cap_usd else float(taken > 0)
        return cls(state, used, forecast(state.settled_usd, state.period_start, state.period_end, now))


@router.get("", name="costs")
def costs(view: ViewOf, days: Days = 30) -> Response:
    """The page."""
    with transaction(view.services.sessions) as session:
        read = read_costs(session, days, view.person.lines)
        budgets = read_budgets(session, view.person.lines)
    t = view.look.words
    charts = [spend_chart(read, t), saving_chart(read, t)]
    return view.page("costs.html", costs=read, charts=charts, budgets=budgets, periods=PERIODS)


@router.get(".csv", name="costs_csv")
def download(person: PersonOf, services: ServicesOf, days: Days = 30, by: Cut = "day") -> Response:
    """One of the page's tables, with exact amounts."""
    with transaction(services.sessions) as session:
        read = read_costs(session, days, person.lines)
    if by == "camera":
        cameras = [[getattr(one, name) for name in CAMERA_HEAD] for one in read.by_camera]
        return csv_response("costs-by-camera", CAMERA_HEAD, cameras)
    cut = {"day": read.by_day, "line": read.by_line, "model": read.by_model}[by]
    return csv_response(f"costs-by-{by}", (by, *HEAD), ([key, *_values(one)] for key, one in cut))


def read_costs(session: Session, days: int, lines: Lines) -> CostView:
    """Read the last ``days`` (UTC, today included) of the lines that the person may see."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    since = today - timedelta(days=days - 1)
    rows = [row for row in cost_rows(session, since=since) if lines is None or row.line in lines]
    seen = known_lines(session, lines)
    return CostView(
        days=days,
        since=since.date(),
        total=total_costs(rows),
        by_day=sorted(_cut(rows, lambda row: row.day.isoformat()), reverse=True),
        by_line=_cut(rows, lambda row: row.line),
        by_model=_cut(rows, lambda row: row.model),
        by_camera=camera_costs(session, since=since, lines={*seen, *(row.line for row in rows)}),
    )


def read_budgets(session: Session, lines: Lines) -> list[Burn]:
    """Budgets in force that the person may see: the site's only with all lines."""
    now = database_time(session)
    states = budget_states(session)
    cameras = known_cameras(session, lines) if states and lines is not None else []
    seen = {BudgetScope.LINE: lines or (), BudgetScope.CAMERA: cameras}
    return [Burn.of(one, now) for one in states if lines is None or one.scope in seen.get(one.scope_kind, ())]


def spend_chart(read: CostView, t: Words) -> Chart:
    """Dollars by day; what was billed apart from what the offline writer's calls would have cost."""
    places, found = _by_day(read)
    series = [
        Series(t("costs.billed"), "--accent", [float(one.billed_usd) for one in found]),
        Series(t("costs.simulated"), "--muted", [float(one.simulated_usd) for one in found]),
    ]
    return stacked("spend", t("costs.spend_by_day"), (t("common.day"), places), series, **AXES)


def saving_chart(read: CostView, t: Words) -> Chart:
    """Dollars by day, beside what the images would have cost."""
    places, found = _by_day(read)
    series = [
        Series(t("costs.as_images"), "--warn", [float(one.image_usd) for one in found]),
        Series(t("costs.as_reports"), "--ok", [float(one.billed_usd + one.simulated_usd) for one in found]),
    ]
    return grouped("saving", t("costs.against_images"), (t("common.day"), places), series, **AXES)


def _by_day(read: CostView) -> tuple[list[str], list[Costs]]:
    found = dict(read.by_day)
    days = [(read.since + timedelta(days=step)).isoformat() for step in range(read.days)]
    return days, [found.get(day, Costs()) for day in days]


def _cut(rows: Iterable[CostRow], key: Callable[[CostRow], str]) -> list[tuple[str, Costs]]:
    sums: dict[str, Costs] = defaultdict(Costs)
    for row in rows:
        sums[key(row)] += row.costs
    return sorted(sums.items(), key=lambda item: (-_paid(item[1]), item[0]))


def _paid(one: Costs) -> Decimal:
    return one.billed_usd + one.simulated_usd


def _values(one: Costs) -> list[Any]:
    return [getattr(one, name) for name in HEAD]
