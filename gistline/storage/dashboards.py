"""Read-only sums for the cost table and the dashboard."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, fields
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Date, SQLColumnExpression, cast, func, select
from sqlalchemy.dialects.postgresql import BIGINT
from sqlalchemy.orm import Session

from gistline.storage.tables import AttemptState, LlmAttempt, ReportRow, ReportWindow

Key = tuple[date, str, str]


@dataclass(frozen=True, slots=True)
class Costs:
    """What reports cost, beside what sending the frames' images would have. All amounts are exact US dollars.

    ``billed_usd`` was really spent, ``simulated_usd`` is what the offline writer's calls would have cost. ``unknown``
    counts attempts that may have been billed without an answer. Paid attempts that led to no report are included.
    """

    reports: int = 0
    frames: int = 0
    findings: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    billed_usd: Decimal = Decimal(0)
    simulated_usd: Decimal = Decimal(0)
    unknown: int = 0
    image_tokens: int = 0
    image_usd: Decimal = Decimal(0)

    @property
    def saving_usd(self) -> Decimal:
        """Image plan less both costs; negative where the reports were dearer."""
        return self.image_usd - self.billed_usd - self.simulated_usd

    def __add__(self, other: Costs) -> Costs:
        """Sum field by field."""
        return Costs(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(Costs)))


@dataclass(frozen=True, slots=True)
class CostRow:
    """Costs of one day (UTC, by the window's start), model and line."""

    day: date
    model: str
    line: str
    costs: Costs


def cost_rows(session: Session, *, since: datetime) -> list[CostRow]:
    """Costs of the windows that started at ``since`` (timezone-aware) or later, newest day first."""
    found: dict[Key, Costs] = defaultdict(Costs)
    for key, costs in _of_reports(session, since):
        found[key] += costs
    for key, costs in _of_attempts(session, since):
        found[key] += costs
    ordered = sorted(found.items(), key=lambda item: (-item[0][0].toordinal(), item[0][1:]))
    return [CostRow(*key, costs) for key, costs in ordered]


def total_costs(rows: list[CostRow]) -> Costs:
    """Sum of all rows."""
    return sum((row.costs for row in rows), Costs())


def _of_reports(session: Session, since: datetime) -> list[tuple[Key, Costs]]:
    """Reports, frames, findings and the image plan."""
    day = _day()
    frames = ReportRow.totals["frames"]
    inspected, failed, expired = (frames[kind].astext.cast(BIGINT) for kind in ("inspected", "failed", "expired"))
    rows = session.execute(
        select(
            day,
            ReportRow.model,
            ReportWindow.line,
            func.count(),
            func.sum(inspected + failed + expired),
            func.sum(ReportRow.totals["findings"].astext.cast(BIGINT)),
            func.sum(ReportRow.image_tokens),
            func.sum(ReportRow.image_usd),
        )
        .join(ReportWindow, ReportWindow.id == ReportRow.window_id)
        .where(ReportWindow.starts_at >= since)
        .group_by(day, ReportRow.model, ReportWindow.line)
    ).all()
    return [
        (
            (row[0], row[1], row[2]),
            Costs(reports=row[3], frames=int(row[4]), findings=int(row[5]), image_tokens=int(row[6]), image_usd=row[7]),
        )
        for row in rows
    ]


def _of_attempts(session: Session, since: datetime) -> list[tuple[Key, Costs]]:
    """Tokens and money, by what was really paid."""
    day = _day()
    paid = LlmAttempt.state == AttemptState.PAID
    inputs = (
        LlmAttempt.input_tokens
        + LlmAttempt.cache_read_tokens
        + LlmAttempt.cache_write_5m_tokens
        + LlmAttempt.cache_write_1h_tokens
    )
    rows = session.execute(
        select(
            day,
            LlmAttempt.model,
            ReportWindow.line,
            _sum_where(paid, inputs),
            _sum_where(paid, LlmAttempt.output_tokens),
            _sum_where(paid & ~LlmAttempt.simulated, LlmAttempt.usd),
            _sum_where(paid & LlmAttempt.simulated, LlmAttempt.usd),
            func.count().filter(LlmAttempt.state == AttemptState.UNKNOWN),
        )
        .join(ReportWindow, ReportWindow.id == LlmAttempt.window_id)
        .where(ReportWindow.starts_at >= since)
        .group_by(day, LlmAttempt.model, ReportWindow.line)
    ).all()
    return [
        (
            (row[0], row[1], row[2]),
            Costs(
                input_tokens=int(row[3]),
                output_tokens=int(row[4]),
                billed_usd=Decimal(row[5]),
                simulated_usd=Decimal(row[6]),
                unknown=row[7],
            ),
        )
        for row in rows
    ]


def _day() -> ColumnElement[date]:
    return cast(func.timezone("UTC", ReportWindow.starts_at), Date)


def _sum_where(condition: ColumnElement[bool], value: SQLColumnExpression[Any]) -> ColumnElement[Any]:
    return func.coalesce(func.sum(value).filter(condition), 0)
