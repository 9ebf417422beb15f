"""Faults planted in the code that keeps the ceiling, one at a time, to see that the proof finds them.

Each is a mistake that somebody could make there. A proof that lets one of them pass would prove little.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from types import ModuleType
from typing import Any, Protocol
from unittest.mock import patch

from sqlalchemy import Select, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from gistline.errors import GistlineError
from gistline.flows import tend_batches
from gistline.reports.answer import Attempt, Outcome
from gistline.storage import budget_book, budgets, ledger, llm_batches, windows
from gistline.storage.tables import AttemptState, BudgetHold, BudgetPeriodRow, LlmAttempt

_PERIOD = BudgetPeriodRow


class Proof(Protocol):
    """What runs a schedule by its number and raises where something does not hold."""

    def run(self, seed: int) -> Any:
        """One schedule."""


@dataclass(frozen=True)
class Found:
    """After how many schedules a fault was found, and what said so."""

    schedules: int
    by: str


@dataclass(frozen=True)
class Mutant:
    """A fault: what is planted where. ``replaced`` has for each name of a module what stands there instead.

    ``soon`` is a number of schedules within which the suite has to find it, 0 where only the long form looks for it.
    """

    name: str
    replaced: Sequence[tuple[ModuleType, str, Callable[..., Any]]]
    soon: int = 0

    @contextmanager
    def planted(self) -> Iterator[None]:
        """The product with this fault in it."""
        with ExitStack() as stack:
            for module, name, instead in self.replaced:
                stack.enter_context(patch.object(module, name, instead))
            yield

    def hunt(self, proof: Proof, seeds: Iterable[int]) -> Found | None:
        """Run schedules until one finds the fault; None when none does."""
        with self.planted():
            for count, seed in enumerate(seeds, 1):
                try:
                    proof.run(seed)
                except (AssertionError, GistlineError, SQLAlchemyError, TimeoutError) as error:
                    return Found(count, f"{type(error).__name__}: {error}".splitlines()[0][:90])
        return None


def _take_anyway(session: Session, budget_id: int, start: datetime, usd: Decimal) -> bool:
    session.execute(
        update(_PERIOD)
        .where(_PERIOD.budget_id == budget_id, _PERIOD.period_start == start)
        .values(held_usd=_PERIOD.held_usd + usd)
    )
    return True


def _look_then_take(session: Session, budget_id: int, start: datetime, usd: Decimal) -> bool:
    one = (_PERIOD.budget_id == budget_id, _PERIOD.period_start == start)
    held, left = session.execute(
        select(_PERIOD.held_usd, _PERIOD.cap_usd - _PERIOD.settled_usd - _PERIOD.held_usd).where(*one)
    ).one()
    if usd <= left:
        session.execute(update(_PERIOD).where(*one).values(held_usd=held + usd))
    return bool(usd <= left)


def _settle_beside_the_hold(session: Session, row: BudgetHold, spent: Decimal) -> None:
    session.execute(
        update(_PERIOD)
        .where(_PERIOD.budget_id == row.budget_id, _PERIOD.period_start == row.period_start)
        .values(settled_usd=_PERIOD.settled_usd + spent - row.settled_usd)
    )


def _give_the_unknown_back(session: Session, attempt_id: int, settled: ledger.Settlement) -> None:
    _settle_attempt(session, attempt_id, settled)
    if settled.state is AttemptState.UNKNOWN:
        budgets.settle_holds(session, attempt_id, usd=None)


def _hold_once(session: Session, attempt: ledger.NewAttempt) -> int:
    same = (LlmAttempt.window_id == attempt.window_id, LlmAttempt.call == attempt.call)
    again = session.scalar(select(LlmAttempt.id).where(*same).limit(1)) is not None
    return _open_attempt(session, replace(attempt, purchase=None) if again else attempt)


def _never_handed_over(session: Session, batch_id: int, error: str) -> None:
    llm_batches.turned_down(session, batch_id, error, again_in_s=0.0)


def _believe_late_words(session: Session, batch_id: int, **values: Any) -> bool:
    llm_batches._change(session, batch_id, **values)
    return True


def _no_result_no_bill(tools: Any, row: LlmAttempt, came_to: Attempt) -> None:
    outcome = Outcome.REFUSED if came_to.outcome is Outcome.UNKNOWN else came_to.outcome
    _book(tools, row, replace(came_to, outcome=outcome))


class _Unlocked(Select[Any]):
    """A SELECT that locks nothing."""

    inherit_cache = True

    def with_for_update(self, **_how: Any) -> _Unlocked:
        return self


def _select_unlocked(*what: Any) -> _Unlocked:
    return _Unlocked(*what)


def _nothing(*_given: Any, **_named: Any) -> None:
    """Does not do what it should."""


def _yes(*_given: Any, **_named: Any) -> bool:
    return True


_settle_attempt, _open_attempt, _book = ledger.settle_attempt, ledger.open_attempt, tend_batches._book

MUTANTS = (
    Mutant("a hold is taken whatever the cap", [(budgets, "_take", _take_anyway)], soon=10),
    Mutant("the cap is looked at before the hold, not with it", [(budgets, "_take", _look_then_take)]),
    Mutant("what is settled stays held", [(budgets, "_move", _settle_beside_the_hold)], soon=10),
    Mutant("an unknown outcome gives its hold back", [(ledger, "settle_attempt", _give_the_unknown_back)], soon=10),
    Mutant("a retry holds nothing", [(ledger, "open_attempt", _hold_once)]),
    Mutant("a budget is set while money moves", [(budget_book, "enter_alone", _nothing)]),
    Mutant("a worker whose window was taken over buys", [(windows, "renew_lease", _yes)]),
    Mutant("an answer that is being booked is not waited for", [(ledger, "wait_for_bookings", _nothing)]),
    Mutant("a paid answer is not looked for", [(ledger, "paid_answer", _nothing)]),
    Mutant("a batch whose submission got lost goes again", [(llm_batches, "lost", _never_handed_over)]),
    Mutant("two workers gather the same attempts", [(llm_batches, "select", _select_unlocked)]),
    Mutant("a late word about a batch is believed", [(llm_batches, "_learn", _believe_late_words)]),
    Mutant("a batch's missing result counts as not billed", [(tend_batches, "_book", _no_result_no_bill)]),
)


def mutant(name: str) -> Mutant:
    """The fault of this name."""
    return next(one for one in MUTANTS if one.name == name)
