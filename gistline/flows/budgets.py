"""Change a budget or clear up a hold, and let what waited for money try again."""

from __future__ import annotations

from decimal import Decimal

from gistline.storage import audit, budget_book, windows
from gistline.storage.budget_book import BudgetKey, Reconciliation
from gistline.storage.budgets import BudgetState
from gistline.storage.session import Sessions, transaction
from gistline.storage.tables import WaitsFor


def set_budget(sessions: Sessions, key: BudgetKey, cap_usd: Decimal, *, by: str = audit.SYSTEM) -> BudgetState:
    """Set a cap, from now on; reports that wait for money are tried again.

    Raises:
        RequestRejected: no such line or camera, or no amount of dollars.

    """
    with transaction(sessions) as session:
        state = budget_book.set_budget(session, key, cap_usd)
        detail = {"cap_usd": f"{cap_usd:f}", "settled_usd": f"{state.settled_usd:f}", "held_usd": f"{state.held_usd:f}"}
        audit.record(session, actor=by, action="budget.set", subject=f"budget {key.name}", detail=detail)
        windows.wake_waiting(session, WaitsFor.BUDGET)
        return state


def remove_budget(sessions: Sessions, key: BudgetKey, *, by: str = audit.SYSTEM) -> None:
    """Remove a cap, from now on; reports that wait for money are tried again.

    Raises:
        NotFound: there is no such budget.

    """
    with transaction(sessions) as session:
        budget_book.remove_budget(session, key)
        audit.record(session, actor=by, action="budget.remove", subject=f"budget {key.name}")
        windows.wake_waiting(session, WaitsFor.BUDGET)


def reconcile(sessions: Sessions, attempt_id: int, found: Reconciliation) -> None:
    """Settle or release an attempt whose end nobody saw; reports that wait for money are tried again.

    Raises:
        NotFound: no such attempt.
        RequestRejected: it is still on its way, or was settled; or no amount or reason.

    """
    with transaction(sessions) as session:
        budget_book.reconcile(session, attempt_id, found)
        action = "hold.release" if found.usd is None else "hold.settle"
        detail = {"reason": found.reason, "usd": None if found.usd is None else f"{found.usd:f}"}
        audit.record(session, actor=found.by, action=action, subject=f"attempt {attempt_id}", detail=detail)
        windows.wake_waiting(session, WaitsFor.BUDGET)
