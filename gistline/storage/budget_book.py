"""Budgets themselves: set, removed; and the holds whose end nobody saw, settled or released by hand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from gistline.domain_money import BudgetPeriod, BudgetScope
from gistline.errors import NotFound, RequestRejected
from gistline.storage.budgets import (
    NOTHING,
    UNIT,
    BudgetState,
    Portion,
    budget_name,
    budget_states,
    ensure_period,
    enter,
    enter_alone,
    in_scope,
    period_of,
    portions,
    settle_holds,
)
from gistline.storage.tables import (
    AttemptState,
    BudgetHold,
    BudgetPeriodRow,
    BudgetRow,
    Camera,
    LlmAttempt,
    ReportWindow,
)

OPEN = (AttemptState.QUEUED, AttemptState.SENT, AttemptState.UNKNOWN)
MOST_USD = Decimal(10_000_000)


@dataclass(frozen=True, slots=True)
class BudgetKey:
    """What names a budget: of what (``scope`` is empty for the site) and how long."""

    scope_kind: BudgetScope
    scope: str
    period: BudgetPeriod

    @property
    def name(self) -> str:
        """As people call it: ``site per day``, ``line line-1 per month``."""
        return budget_name(self.scope_kind, self.scope, self.period)


@dataclass(frozen=True, slots=True)
class OpenHold:
    """An attempt that may cost up to ``usd``: on its way (queued, sent), or at an end that nobody saw (unknown)."""

    attempt_id: int
    state: AttemptState
    window_id: UUID
    line: str
    call: str
    attempt: int
    model: str
    usd: Decimal
    sent_at: datetime
    request_id: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What somebody found out about an attempt: it cost ``usd``, or with None nothing."""

    usd: Decimal | None
    by: str
    reason: str


def set_budget(session: Session, key: BudgetKey, cap_usd: Decimal) -> BudgetState:
    """Set a cap, from now on. What was spent and held since the period began counts.

    A cap below that is no error: nothing more is bought until the next period.

    Raises:
        RequestRejected: no such line or camera, or no amount of dollars.

    """
    _check(session, key, cap_usd)
    enter_alone(session)
    budget = _in_force(session, key)
    now = session.execute(select(func.now())).scalar_one()
    start = period_of(key.period, now)
    if budget is None:
        budget = BudgetRow(scope_kind=key.scope_kind, scope=key.scope, period=key.period, cap_usd=cap_usd)
        session.add(budget)
        session.flush()
        ensure_period(session, budget, start)
        _count_earlier(session, budget, start)
    budget.cap_usd = cap_usd
    session.flush()
    ensure_period(session, budget, start)
    _change_cap(session, budget.id, start, cap_usd)
    return next(state for state in budget_states(session) if state.budget_id == budget.id)


def remove_budget(session: Session, key: BudgetKey) -> None:
    """Remove a cap, from now on. Its history stays, and what it holds is settled there.

    Raises:
        NotFound: there is no such budget.

    """
    enter_alone(session)
    budget = _in_force(session, key)
    if budget is None:
        raise NotFound(f"There is no budget for {key.name}.", cure="'gistline budgets list' shows all.")
    budget.removed_at = session.execute(select(func.now())).scalar_one()
    session.flush()


def open_holds(session: Session) -> list[OpenHold]:
    """Every attempt that may yet turn out to have cost something, oldest first."""
    rows = session.execute(
        select(LlmAttempt, ReportWindow.line)
        .join(ReportWindow, ReportWindow.id == LlmAttempt.window_id)
        .where(LlmAttempt.state.in_(OPEN), ~LlmAttempt.simulated)
        .order_by(LlmAttempt.id)
        .execution_options(populate_existing=True)
    )
    return [
        OpenHold(
            attempt_id=row.id,
            state=row.state,
            window_id=row.window_id,
            line=line,
            call=row.call,
            attempt=row.attempt,
            model=row.model,
            usd=row.promised_usd or NOTHING,
            sent_at=row.sent_at,
            request_id=row.request_id,
            error=row.error,
        )
        for row, line in rows
    ]


def reconcile(session: Session, attempt_id: int, found: Reconciliation) -> None:
    """Settle or release by hand an attempt whose end nobody saw. Should its answer still come, that replaces this.

    Raises:
        NotFound: no such attempt.
        RequestRejected: it is still on its way, or was settled; or no amount or reason.

    """
    if found.usd is not None:
        _check_amount(found.usd)
    if not found.reason.strip():
        raise RequestRejected("The reason is empty.", cure="Say what shows it, such as the provider's usage page.")
    enter(session)
    values: dict[str, Any] = {
        "state": AttemptState.REFUSED if found.usd is None else AttemptState.PAID,
        "usd": found.usd,
        "reconciled_at": func.clock_timestamp(),
        "reconciled_by": found.by,
        "reason": found.reason.strip(),
    }
    done = session.execute(
        update(LlmAttempt)
        .where(LlmAttempt.id == attempt_id, LlmAttempt.state == AttemptState.UNKNOWN, ~LlmAttempt.simulated)
        .values(values)
        .returning(LlmAttempt.id)
        .execution_options(synchronize_session=False)
    )
    if done.one_or_none() is None:
        raise _not_open(session, attempt_id)
    settle_holds(session, attempt_id, usd=found.usd)


def _in_force(session: Session, key: BudgetKey) -> BudgetRow | None:
    return session.scalar(
        select(BudgetRow).where(
            BudgetRow.scope_kind == key.scope_kind,
            BudgetRow.scope == key.scope,
            BudgetRow.period == key.period,
            BudgetRow.removed_at.is_(None),
        )
    )


def _change_cap(session: Session, budget_id: int, start: datetime, cap_usd: Decimal) -> None:
    row = BudgetPeriodRow
    session.execute(
        update(row)
        .where(row.budget_id == budget_id, row.period_start == start)
        .values(cap_usd=cap_usd, overdrawn_usd=func.greatest(0, row.settled_usd + row.held_usd - cap_usd))
        .execution_options(synchronize_session=False)
    )


def _count_earlier(session: Session, budget: BudgetRow, start: datetime) -> None:
    """Book on a new budget what was spent and is held since the period began."""
    found = session.execute(
        select(LlmAttempt, ReportWindow.line)
        .join(ReportWindow, ReportWindow.id == LlmAttempt.window_id)
        .where(
            LlmAttempt.sent_at >= start,
            ~LlmAttempt.simulated,
            LlmAttempt.state.in_((*OPEN, AttemptState.PAID)),
        )
    )
    holds: list[dict[str, Any]] = []
    for attempt, line in found:
        portion = in_scope(budget, line, portions(attempt.cameras or {}))
        if portion is not None:
            holds.append(_hold_row(attempt, budget.id, start, portion))
    if not holds:
        return
    held, settled = (sum((one[key] for one in holds), NOTHING) for key in ("held_usd", "settled_usd"))
    session.execute(
        update(BudgetPeriodRow)
        .where(BudgetPeriodRow.budget_id == budget.id, BudgetPeriodRow.period_start == start)
        .values(
            held_usd=held,
            settled_usd=settled,
            overdrawn_usd=func.greatest(0, held + settled - BudgetPeriodRow.cap_usd),
        )
        .execution_options(synchronize_session=False)
    )
    session.execute(insert(BudgetHold), holds)


def _hold_row(attempt: LlmAttempt, budget_id: int, start: datetime, portion: Portion) -> dict[str, Any]:
    paid = attempt.state is AttemptState.PAID
    return {
        "attempt_id": attempt.id,
        "budget_id": budget_id,
        "period_start": start,
        "before": portion.before,
        "part": portion.part,
        "whole": portion.whole,
        "held_usd": NOTHING if paid else portion.at_most(attempt.promised_usd or NOTHING),
        "settled_usd": portion.of(attempt.usd or NOTHING) if paid else NOTHING,
    }


def _check(session: Session, key: BudgetKey, cap_usd: Decimal) -> None:
    _check_amount(cap_usd)
    if key.scope_kind is BudgetScope.SITE:
        if key.scope:
            raise RequestRejected(f"The site has no name, so {key.scope!r} is none.", cure="Name a line or a camera.")
        return
    column = Camera.line if key.scope_kind is BudgetScope.LINE else Camera.name
    known = sorted(session.scalars(select(column).distinct()))
    if key.scope not in known:
        raise RequestRejected(
            f"There is no {key.scope_kind.value} {key.scope!r}.",
            cure=f"Known are: {', '.join(known)}." if known else "Add a camera first: 'gistline cameras add'.",
        )


def _check_amount(usd: Decimal) -> None:
    if not usd.is_finite() or usd < 0 or usd > MOST_USD or usd != usd.quantize(UNIT):
        raise RequestRejected(
            f"{usd} is no amount in dollars.", cure=f"Give 0 to {MOST_USD:f}, with at most 12 decimals."
        )


def _not_open(session: Session, attempt_id: int) -> NotFound | RequestRejected:
    row = session.get(LlmAttempt, attempt_id)
    if row is None or row.simulated:
        return NotFound(f"There is no attempt {attempt_id} that cost money.", cure=_LIST)
    if row.state in {AttemptState.QUEUED, AttemptState.SENT}:
        return RequestRejected(
            f"Attempt {attempt_id} is still on its way.",
            cure="It becomes unknown when its worker's lease ends, or its batch is overdue.",
        )
    return RequestRejected(f"Attempt {attempt_id} is settled: {row.state.value}.", cure=_LIST)


_LIST = "'gistline costs holds' lists what is open."
