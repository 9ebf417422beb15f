"""What the savings of reports are made of: the calls that a report used, and stored levels beside the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import NUMERIC, ColumnElement, case, cast, func, select
from sqlalchemy.orm import Session, defer

from gistline.domain import TokenUsage
from gistline.storage.tables import AttemptState, LlmAttempt, Processing, ReportRow, ReportWindow

REPAIR = "repair"
"""The call that mends a report; it adds to the costs of one and is never what a report without it would need."""


@dataclass(frozen=True, slots=True)
class PaidCall:
    """A paid attempt as far as its price is concerned; ``batched`` is half the price."""

    call: str
    model: str
    simulated: bool
    usage: TokenUsage
    usd: Decimal
    sent_at: datetime
    batched: bool


@dataclass(frozen=True, slots=True)
class LevelSums:
    """Sums over the windows of a line that were asked of one model. ``paid`` includes windows without a report.

    ``levels`` are of the reports that have them; ``plain`` counts the others, ``plain_images`` and ``plain_paid`` are
    their sums, which ``paid`` does not include.
    """

    line: str
    model: str
    reports: int
    levels: dict[str, Decimal]
    paid: Decimal
    plain: int
    plain_images: Decimal
    plain_paid: Decimal


def used_calls(session: Session, window_id: UUID) -> list[PaidCall]:
    """The calls whose answers a window's report is made of, that of the report itself last; no repairs.

    Of several paid answers to one call it is the last one: the others were lost or of no use.
    """
    rows = session.scalars(
        select(LlmAttempt)
        .where(
            LlmAttempt.window_id == window_id,
            LlmAttempt.state == AttemptState.PAID,
            LlmAttempt.answer.is_not(None),
            LlmAttempt.call != REPAIR,
        )
        .order_by(LlmAttempt.id)
    )
    last = {row.call: row for row in rows}
    ordered = sorted(last.values(), key=lambda row: (row.call in ("report", "join"), row.id))
    return [paid_call(row) for row in ordered]


def paid_call(row: LlmAttempt) -> PaidCall:
    """A paid row of the ledger."""
    usage = TokenUsage(
        input_tokens=row.input_tokens or 0,
        output_tokens=row.output_tokens or 0,
        cache_read_tokens=row.cache_read_tokens or 0,
        cache_write_5m_tokens=row.cache_write_5m_tokens or 0,
        cache_write_1h_tokens=row.cache_write_1h_tokens or 0,
    )
    batched = row.processing is Processing.BATCH
    return PaidCall(row.call, row.model, row.simulated, usage, row.usd or Decimal(0), row.sent_at, batched)


def paid_calls(session: Session, *, since: datetime, until: datetime) -> list[PaidCall]:
    """Every paid attempt of known tokens, sent from ``since`` up to but not at ``until``, in the order of sending."""
    within = (LlmAttempt.sent_at >= since) & (LlmAttempt.sent_at < until)
    rows = session.scalars(
        select(LlmAttempt)
        .options(defer(LlmAttempt.answer))
        .where(within, LlmAttempt.state == AttemptState.PAID, LlmAttempt.input_tokens.is_not(None))
        .order_by(LlmAttempt.sent_at, LlmAttempt.id)
    )
    return [paid_call(row) for row in rows]


def unpriced_calls(session: Session, *, since: datetime, until: datetime) -> int:
    """Attempts of the same time that were or may have been billed, of which nobody knows the tokens."""
    within = (LlmAttempt.sent_at >= since) & (LlmAttempt.sent_at < until)
    unknown = (LlmAttempt.state != AttemptState.REFUSED) & LlmAttempt.input_tokens.is_(None)
    return session.scalar(select(func.count()).select_from(LlmAttempt).where(within, unknown)) or 0


def level_sums(session: Session, *, since: datetime, names: tuple[str, ...]) -> list[LevelSums]:
    """By line and model, of windows that started at ``since`` or later; ``names`` are the levels to sum."""
    divided = _level(names[0]).is_not(None)
    of_reports = session.execute(
        select(
            ReportWindow.line,
            ReportRow.model,
            func.count().filter(divided),
            func.count().filter(~divided),
            func.coalesce(func.sum(ReportRow.image_usd).filter(~divided), 0),
            *(func.coalesce(func.sum(_level(name)), 0) for name in names),
        )
        .join(ReportWindow, ReportWindow.id == ReportRow.window_id)
        .where(ReportWindow.starts_at >= since)
        .group_by(ReportWindow.line, ReportRow.model)
    ).all()
    paid = _paid(session, since, names[0])
    found = {
        (row[0], row[1]): LevelSums(
            line=row[0],
            model=row[1],
            reports=row[2],
            levels=dict(zip(names, map(Decimal, row[5:]), strict=True)),
            paid=paid.get((row[0], row[1]), (Decimal(0), Decimal(0)))[0],
            plain=row[3],
            plain_images=Decimal(row[4]),
            plain_paid=paid.get((row[0], row[1]), (Decimal(0), Decimal(0)))[1],
        )
        for row in of_reports
    }
    nothing = dict.fromkeys(names, Decimal(0))
    for (line, model), (usd, plain_usd) in paid.items():
        if (line, model) not in found:  # windows that were paid for and have no report
            found[line, model] = LevelSums(line, model, 0, nothing, usd, 0, Decimal(0), plain_usd)
    return [found[key] for key in sorted(found)]


def _paid(session: Session, since: datetime, name: str) -> dict[tuple[str, str], tuple[Decimal, Decimal]]:
    """Paid dollars by line and model: of windows whose report has the level ``name`` or that have none, and others."""
    plain = ReportRow.id.is_not(None) & _level(name).is_(None)
    rows = session.execute(
        select(
            ReportWindow.line,
            LlmAttempt.model,
            _sum_if(~plain, LlmAttempt.usd),
            _sum_if(plain, LlmAttempt.usd),
        )
        .join(ReportWindow, ReportWindow.id == LlmAttempt.window_id)
        .outerjoin(ReportRow, ReportRow.window_id == ReportWindow.id)
        .where(ReportWindow.starts_at >= since, LlmAttempt.state == AttemptState.PAID)
        .group_by(ReportWindow.line, LlmAttempt.model)
    )
    return {(line, model): (Decimal(usd), Decimal(other)) for line, model, usd, other in rows}


def _level(name: str) -> ColumnElement[Any]:
    return cast(ReportRow.levels[name].astext, NUMERIC)


def _sum_if(condition: ColumnElement[bool], value: Any) -> ColumnElement[Any]:
    return func.coalesce(func.sum(case((condition, value), else_=0)), 0)
