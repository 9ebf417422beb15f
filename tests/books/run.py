"""Report workers write many windows against the twin with every fault switched on; then the account is drawn up.

The windows, their findings and the faults follow from the seed; the threads' turns do not. Time flies: a window that
waits for its next attempt waits no longer than it takes to see it.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy import func, select, text

from gistline.dispatch import NullDispatcher
from gistline.flows.close_windows import close_now
from gistline.flows.report_tools import ReportTools, open_report_tools
from gistline.flows.write_report import write_report
from gistline.settings import ReportSettings, Settings
from gistline.simulator.messages_api import FaultPlan, MessagesServer, Twin, TwinClock, TwinOptions
from gistline.storage.session import Sessions
from gistline.storage.tables import ReportWindow, WindowState
from tests.books.account import Account, match
from tests.support.reporting import add_frame

LABELS = ("open", "short", "spur", "pin-hole")
OPEN = (WindowState.PENDING, WindowState.RUNNING)
LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is written, by how many threads, and with which draws."""

    seed: int = 7
    windows: int = 30
    workers: int = 4
    every: float = 0.5
    within_s: float = 90.0
    models: tuple[str, ...] = ("claude-haiku-5-5",)


@dataclass(slots=True)
class Outcome:
    """What a run came to. ``billed`` is the provider's word."""

    account: Account
    billed: Decimal
    states: dict[WindowState, int]
    faults: set[str] = field(default_factory=set)


def run(sessions: Sessions, plan: Plan) -> Outcome:
    """Write all windows, or give them up, and hold the ledger against the books."""
    fill(sessions, plan)
    twin = Twin(
        plan=FaultPlan(seed=plan.seed, every=plan.every),
        clock=TwinClock(speed=600),
        options=TwinOptions(batch_s=600, seed=plan.seed),
    )
    with MessagesServer(twin=twin) as server:
        tools = open_tools(sessions, server.url)
        try:
            write_all(sessions, tools, plan)
        finally:
            tools.writer.close()
        server.service.settle()
        with sessions() as session:
            account = match(session, twin.books.entries, server.requests)
            states = session.execute(select(ReportWindow.state, func.count()).group_by(ReportWindow.state)).all()
    return Outcome(
        account=account,
        billed=twin.books.usd,
        states=dict(states),
        faults={entry.fault for entry in twin.books.entries} - {""},
    )


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
        close_now(sessions, NullDispatcher(), ReportSettings(window_minutes=1440), line)


def open_tools(sessions: Sessions, url: str) -> ReportTools:
    """A report worker's tools, set so that nothing waits longer than it must."""
    reports = ReportSettings(base_url=url, timeout_s=1, retry_backoff_s=0, max_attempts=12)
    return open_report_tools(Settings(anthropic_api_key=SecretStr("any"), reports=reports), sessions)


def write_all(sessions: Sessions, tools: ReportTools, plan: Plan) -> None:
    """Let the threads take windows until none is open."""
    deadline = time.monotonic() + plan.within_s
    stop = threading.Event()
    threads = [threading.Thread(target=_work, args=(sessions, tools, stop), daemon=True) for _ in range(plan.workers)]
    for thread in threads:
        thread.start()
    while _open(sessions) and time.monotonic() < deadline:
        _let_time_fly(sessions)
        time.sleep(LOOK_S)
    stop.set()
    for thread in threads:
        thread.join()


def _work(sessions: Sessions, tools: ReportTools, stop: threading.Event) -> None:
    while not stop.is_set():
        window = _due(sessions)
        if window is None:
            stop.wait(LOOK_S)
        else:
            write_report(window, tools)


def _due(sessions: Sessions) -> UUID | None:
    due = (ReportWindow.state == WindowState.PENDING) & (ReportWindow.available_at <= func.now())
    with sessions() as session:
        return session.scalar(select(ReportWindow.id).where(due).order_by(func.random()).limit(1))


def _open(sessions: Sessions) -> bool:
    with sessions() as session:
        return bool(session.scalar(select(func.count()).where(ReportWindow.state.in_(OPEN))))


def _let_time_fly(sessions: Sessions) -> None:
    with sessions.begin() as session:
        session.execute(text("UPDATE report_windows SET available_at = now() WHERE state = 'pending'"))
