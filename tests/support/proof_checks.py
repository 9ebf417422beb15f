"""What must hold after any schedule of ``budget_schedules``: of the ledger, the budgets and the provider's books."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import combinations
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from gistline.storage.budget_book import open_holds
from gistline.storage.budgets import Portion
from gistline.storage.tables import (
    AttemptState,
    BatchState,
    BudgetHold,
    BudgetPeriodRow,
    BudgetRow,
    LlmAttempt,
    LlmBatch,
)

NOTHING = Decimal(0)
OPEN = {AttemptState.QUEUED, AttemptState.SENT, AttemptState.UNKNOWN}


def ceiling_holds(session: Session, bills: Mapping[str, Decimal]) -> None:
    """What was really billed is covered by what is settled and held, and that by the cap."""
    for period in session.scalars(select(BudgetPeriodRow)):
        used = period.settled_usd + period.held_usd
        spent = _true_spending(session, bills, period)
        assert spent <= used <= period.cap_usd, f"billed {spent}, settled and held {used}, cap {period.cap_usd}"


def every_budget_bears_every_bill(session: Session, bills: Mapping[str, Decimal]) -> None:
    """Each attempt that was billed has its part in each budget in force: all windows are in the scope of all."""
    billed = {row.id for row in session.scalars(select(LlmAttempt)) if bills.get(row.body_sha256)}
    for budget_id in session.scalars(select(BudgetRow.id).where(BudgetRow.removed_at.is_(None))):
        borne = set(session.scalars(select(BudgetHold.attempt_id).where(BudgetHold.budget_id == budget_id)))
        assert billed <= borne, f"attempts {billed - borne} were billed and budget {budget_id} does not know of them"


def books_agree(session: Session) -> None:
    """Each period is the sum of its attempts' holds, and only open attempts hold anything."""
    joined = select(BudgetHold, LlmAttempt).join(LlmAttempt, LlmAttempt.id == BudgetHold.attempt_id)
    holds = list(session.execute(joined))
    for period in session.scalars(select(BudgetPeriodRow)):
        key = (period.budget_id, period.period_start)
        mine = [hold for hold, _ in holds if (hold.budget_id, hold.period_start) == key]
        assert period.held_usd == sum((hold.held_usd for hold in mine), NOTHING), "a period's held is not its holds"
        assert period.settled_usd == sum((hold.settled_usd for hold in mine), NOTHING), "nor its settled"
    for hold, attempt in holds:
        assert (hold.held_usd > 0) == (attempt.state in OPEN), (attempt.state, hold.held_usd)


def never_paid_after_an_answer(rows: Sequence[LlmAttempt]) -> None:
    """No attempt at a call was begun after an answer to it was booked."""
    by_call: dict[tuple[UUID, str], list[LlmAttempt]] = {}
    for row in rows:
        by_call.setdefault((row.window_id, row.call), []).append(row)
    for attempts in by_call.values():
        assert [row.attempt for row in attempts] == list(range(1, len(attempts) + 1)), "attempts are not numbered"
        for earlier, later in combinations(attempts, 2):
            if earlier.state is AttemptState.PAID and earlier.answer and earlier.settled_at:
                assert later.sent_at < earlier.settled_at, "asked for again after the answer was there"


def all_is_settled(session: Session, bills: Mapping[str, Decimal]) -> None:
    """No hold leaked, no batch is left, and the ledger is the provider's books, to the last digit."""
    for period in session.scalars(select(BudgetPeriodRow)):
        assert period.held_usd == 0, f"{period.held_usd} is still held"
        spent = _true_spending(session, bills, period)
        assert period.settled_usd == spent, f"settled {period.settled_usd}, billed {spent}"
    ledger_usd = {row.body_sha256: row.usd for row in session.scalars(select(LlmAttempt)) if row.usd is not None}
    assert ledger_usd == bills, f"ledger {ledger_usd}, bills {bills}"
    assert not open_holds(session), "an attempt still holds"


def open_batches(session: Session) -> list[LlmBatch]:
    """Batches of which something is still to be learned."""
    states = (BatchState.SUBMITTING, BatchState.RUNNING, BatchState.LOST)
    return list(session.scalars(select(LlmBatch).where(LlmBatch.state.in_(states))))


def _true_spending(session: Session, bills: Mapping[str, Decimal], period: BudgetPeriodRow) -> Decimal:
    """The provider's bill for a period of a budget, by the shares that the budget bears."""
    rows = session.execute(
        select(BudgetHold, LlmAttempt.body_sha256)
        .join(LlmAttempt, LlmAttempt.id == BudgetHold.attempt_id)
        .where(BudgetHold.budget_id == period.budget_id, BudgetHold.period_start == period.period_start)
    )
    return sum((Portion(hold.before, hold.part, hold.whole).of(bills.get(sha, NOTHING)) for hold, sha in rows), NOTHING)
