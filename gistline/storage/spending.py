"""What was spent on reports since a moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from gistline.storage.sight import Lines, within
from gistline.storage.tables import AttemptState, LlmAttempt, ReportWindow


@dataclass(frozen=True, slots=True)
class Spending:
    """Exact US dollars; ``unknown`` counts attempts that may have been billed without an answer."""

    billed_usd: Decimal
    simulated_usd: Decimal
    unknown: int


def spending(session: Session, *, since: datetime, lines: Lines) -> Spending:
    """Attempts sent at ``since`` (timezone-aware) or later."""
    paid = LlmAttempt.state == AttemptState.PAID
    usd = func.sum(LlmAttempt.usd)
    query = select(
        func.coalesce(usd.filter(paid, ~LlmAttempt.simulated), 0),
        func.coalesce(usd.filter(paid, LlmAttempt.simulated), 0),
        func.count().filter(LlmAttempt.state == AttemptState.UNKNOWN),
    ).where(LlmAttempt.sent_at >= since)
    if lines is not None:
        query = query.join(ReportWindow, ReportWindow.id == LlmAttempt.window_id).where(
            within(ReportWindow.line, lines)
        )
    billed, simulated, unknown = session.execute(query).one()
    return Spending(Decimal(billed or 0), Decimal(simulated or 0), unknown)
