"""Report workers write many windows against the twin with every fault switched on; then the account is drawn up.

The windows, their findings and the faults follow from the seed; the workers' turns do not. Time flies: a window that
waits for its next attempt waits no longer than it takes to see it. What the ledger does not know is then looked up in
the provider's books, as a person would, and settled or released by hand.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy import func, select, text

from gistline.dispatch import NullDispatcher
from gistline.domain_money import BudgetPeriod, BudgetScope
from gistline.flows.budgets import reconcile, set_budget
from gistline.flows.close_windows import close_now
from gistline.flows.report_tools import ReportTools, open_report_tools
from gistline.flows.tend_batches import tend_batches
from gistline.flows.write_report import write_report
from gistline.settings import DatabaseSettings, ReportSettings, Settings
from gistline.simulator.messages_api import FaultPlan, MessagesServer, Twin, TwinClock, TwinOptions
from gistline.storage.budget_book import BudgetKey, Reconciliation, open_holds
from gistline.storage.budgets import budget_states
from gistline.storage.dashboards import cost_rows, total_costs
from gistline.storage.ledger import abandon_lost
from gistline.storage.session import Sessions, transaction
from gistline.storage.tables import BatchState, LlmAttempt, LlmBatch, Processing, ReportWindow, WindowState
from tests.books.account import Account, match
from tests.support.reporting import add_frame

LABELS = ("open", "short", "spur", "pin-hole")
OPEN = (WindowState.PENDING, WindowState.RUNNING)
LOOK_S = 0.05
DEADLINE_MIN = 240
TIME_FLIES = (
    "UPDATE report_windows SET available_at = now(), deadline_at = deadline_at - interval '8 s' "
    "WHERE state = 'pending'",
    "UPDATE llm_batches SET looked_at = NULL, retry_at = NULL, deadline_at = deadline_at - interval '8 s'",
    # A submission is over by now: a call's time-out is a second here.
    "UPDATE llm_batches SET created_at = created_at - interval '20 minutes' WHERE state = 'lost'",
    "UPDATE buying_stops SET until = now() WHERE until > now()",
)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is written, by how many threads, and with which draws. ``patient``: share that goes by batch."""

    seed: int = 7
    windows: int = 30
    workers: int = 4
    every: float = 0.5
    within_s: float = 90.0
    patient: float = 0.0


@dataclass(frozen=True, slots=True)
class Totals:
    """What ``gistline costs`` and the budgets say, in dollars."""

    paid: Decimal
    held: Decimal
    settled: Decimal
    cap: Decimal

    @classmethod
    def of(cls, sessions: Sessions) -> Totals:
        """As it stands now. The site's budget counts every call."""
        with sessions() as session:
            (state,) = budget_states(session)
            costs = total_costs(cost_rows(session, since=datetime(2000, 1, 1, tzinfo=UTC)))
            held = sum((hold.usd for hold in open_holds(session)), Decimal(0))
        return cls(costs.billed_usd, held, state.settled_usd, state.cap_usd)


@dataclass(slots=True)
class Outcome:
    """What a run came to. ``billed`` is the provider's word; ``before`` and ``after`` the unknown was looked up."""

    account: Account
    billed: Decimal
    before: Totals
    after: Totals
    unknown: int
    states: dict[WindowState, int]
    faults: set[str] = field(default_factory=set)

    @property
    def by_batch(self) -> int:
        """Attempts that went by batch."""
        return sum(pair.attempt.processing is Processing.BATCH for pair in self.account.pairs)

    def complaints(self) -> list[str]:
        """Everything that is not as it must be; empty when the account is equal to the last digit."""
        found = self.account.complaints()
        if not set(self.states) <= {WindowState.WRITTEN, WindowState.FAILED}:
            found.append(f"windows are still open: {self.states}")
        before, after = self.before, self.after
        if not before.paid <= self.billed <= before.paid + before.held:
            found.append(f"${self.billed} billed is not within ${before.paid} paid and ${before.held} held beside it")
        if before.settled + before.held > before.cap:
            found.append(f"${before.settled} settled and ${before.held} held are over ${before.cap}")
        if not self.billed == after.paid == after.settled:
            found.append(f"billed ${self.billed}, in the ledger ${after.paid}, in the budget ${after.settled}")
        return found + ([f"${after.held} is still held"] if after.held else [])


Write = Callable[[Sessions, Settings], None]
"""Lets workers take windows until none is open."""


def run(sessions: Sessions, plan: Plan, *, write: Write | None = None) -> Outcome:
    """Write all windows, or give them up, and hold the ledger against the books."""
    fill(sessions, plan)
    set_budget(sessions, BudgetKey(BudgetScope.SITE, "", BudgetPeriod.MONTH), Decimal(1000))
    twin = Twin(
        plan=FaultPlan(seed=plan.seed, every=plan.every),
        clock=TwinClock(speed=600),
        options=TwinOptions(batch_s=600, seed=plan.seed),
    )
    with MessagesServer(twin=twin) as server:
        settings = settings_for(sessions, server.url)
        (write or partial(write_all, plan=plan))(sessions, settings)
        server.service.settle()
        collect(sessions, settings, plan)
        with transaction(sessions) as session:
            abandon_lost(session)
        with sessions() as session:
            account = match(session, twin.books.entries, server.requests)
            states = session.execute(select(ReportWindow.state, func.count()).group_by(ReportWindow.state)).all()
    before = Totals.of(sessions)
    look_up(sessions, account)
    return Outcome(
        account=account,
        billed=twin.books.usd,
        before=before,
        after=Totals.of(sessions),
        unknown=len(account.unknown),
        states=dict(states),
        faults={entry.fault for entry in twin.books.entries} - {""},
    )


def collect(sessions: Sessions, settings: Settings, plan: Plan) -> None:
    """Wait for batches that no window waits for any more: what they did is billed too."""
    deadline = time.monotonic() + plan.within_s
    tools = open_report_tools(settings, sessions)
    while _batches_open(sessions) and time.monotonic() < deadline:
        let_time_fly(sessions)
        tend_batches(tools)
        time.sleep(LOOK_S)
    tools.writer.close()


def _batches_open(sessions: Sessions) -> bool:
    with sessions() as session:
        states = (BatchState.SUBMITTING, BatchState.RUNNING, BatchState.LOST)
        return bool(session.scalar(select(func.count()).where(LlmBatch.state.in_(states))))


def look_up(sessions: Sessions, account: Account) -> None:
    """Settle or release by hand what the ledger does not know, as the provider's books say."""
    for pair in account.unknown:
        billed = pair.entry.usd if pair.entry is not None and pair.entry.billed else None
        reconcile(sessions, pair.attempt.id, Reconciliation(billed, "test", "the provider's books"))


def fill(sessions: Sessions, plan: Plan) -> None:
    """Close one window for each of so many lines, with a few findings in each."""
    chance = random.Random(plan.seed)  # noqa: S311 - repeatable, no secret
    moment = datetime.now(UTC) - timedelta(seconds=5)
    for number in range(plan.windows):
        line = f"line-{number}"
        with sessions.begin() as session:
            for _ in range(chance.randint(1, 3)):
                labels = tuple(chance.choices(LABELS, k=chance.randint(1, 4)))
                add_frame(session, finished_at=moment, camera=f"cam-{number}", line=line, labels=labels)
        patient = DEADLINE_MIN if chance.random() < plan.patient else 0
        close_now(sessions, NullDispatcher(), ReportSettings(window_minutes=1440, deadline_minutes=patient), line)


def settings_for(sessions: Sessions, url: str) -> Settings:
    """A report worker's settings, such that nothing waits longer than it must."""
    with sessions() as session:
        database = session.get_bind().engine.url.render_as_string(hide_password=False)
    reports = ReportSettings(
        base_url=url, timeout_s=1, retry_backoff_s=0, max_attempts=12, batch_gather_s=0, batch_poll_s=0.1
    )
    return Settings(
        anthropic_api_key=SecretStr("any"), database=DatabaseSettings(url=SecretStr(database)), reports=reports
    )


def write_all(sessions: Sessions, settings: Settings, plan: Plan) -> None:
    """Let threads take windows until none is open."""
    deadline = time.monotonic() + plan.within_s
    stop = threading.Event()
    tools = open_report_tools(settings, sessions)
    threads = [threading.Thread(target=work, args=(sessions, tools, stop), daemon=True) for _ in range(plan.workers)]
    for thread in threads:
        thread.start()
    while any_open(sessions) and time.monotonic() < deadline:
        let_time_fly(sessions)
        time.sleep(LOOK_S)
    stop.set()
    for thread in threads:
        thread.join()
    tools.writer.close()


def work(sessions: Sessions, tools: ReportTools, stop: threading.Event) -> None:
    """Take one window after the other, and look after batches between them, until told to stop."""
    while not stop.is_set():
        tend_batches(tools)
        window = _due(sessions)
        if window is None:
            stop.wait(LOOK_S)
        else:
            write_report(window, tools)


def any_open(sessions: Sessions) -> bool:
    """Whether a window waits or is being written."""
    with sessions() as session:
        return bool(session.scalar(select(func.count()).where(ReportWindow.state.in_(OPEN))))


def attempts(sessions: Sessions) -> int:
    """Attempts in the ledger."""
    with sessions() as session:
        return session.scalar(select(func.count()).select_from(LlmAttempt)) or 0


def let_time_fly(sessions: Sessions) -> None:
    """What waits for a later moment waits no longer; deadlines and the age of a lost batch come nearer."""
    for statement in TIME_FLIES:  # one transaction each: the workers lock these tables in an order of their own
        with sessions.begin() as session:
            session.execute(text(statement))


def _due(sessions: Sessions) -> UUID | None:
    due = (ReportWindow.state == WindowState.PENDING) & (ReportWindow.available_at <= func.now())
    orphaned = (ReportWindow.state == WindowState.RUNNING) & (ReportWindow.lease_until < func.now())
    with sessions() as session:
        return session.scalar(select(ReportWindow.id).where(due | orphaned).order_by(func.random()).limit(1))
