"""One answer for one call of a window: bought once, found again, never by two workers at a time."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from threading import Event
from uuid import uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.orm import Session

from gistline.costs.pricing import price_vector
from gistline.errors import LeaseLost, WriterFailed
from gistline.flows.buy_answer import Call, buy_answer
from gistline.flows.report_tools import ReportTools, open_report_tools
from gistline.reports.request import Request
from gistline.settings import ReportSettings, Settings
from gistline.simulator.messages_api import MessagesServer, Reply
from gistline.storage import budgets, windows
from gistline.storage.session import Sessions
from gistline.storage.tables import AttemptState, PriceUsed
from tests.support.billing import attempts, expire_lease, filled_window
from tests.support.processes import wait_until

USAGE = {"input_tokens": 1000, "output_tokens": 100}


@pytest.fixture
def tools(sessions: Sessions, server: MessagesServer, clean_settings: object) -> Iterator[ReportTools]:
    reports = ReportSettings(base_url=server.url, timeout_s=5.0)
    made = open_report_tools(Settings(anthropic_api_key=SecretStr("test-key"), reports=reports), sessions)
    yield made
    made.writer.close()


@pytest.fixture
def window(sessions: Sessions) -> windows.ClaimedWindow:
    return claim(sessions, filled_window(sessions))


def claim(sessions: Sessions, window_id: object) -> windows.ClaimedWindow:
    with sessions.begin() as session:
        found = windows.claim_window(session, window_id, lease_s=60, max_attempts=9)  # type: ignore[arg-type]
    assert found is not None
    return found


def ask(user: str, *, max_tokens: int = 50) -> Request:
    return Request("You are brief.", user, max_tokens, offline=lambda: "")


def test_each_call_of_a_window_is_paid_once_and_found_by_its_name(
    sessions: Sessions, server: MessagesServer, tools: ReportTools, window: windows.ClaimedWindow
) -> None:
    server.script(*(Reply(text=text, usage=USAGE) for text in ("one", "two", "joined")))
    calls = [Call(window, name, ask(name)) for name in ("part-1", "part-2", "join")]
    first = [buy_answer(call, tools) for call in calls]
    assert [buy_answer(call, tools) for call in reversed(calls)] == first[::-1]
    assert len(server.requests) == 3
    with sessions() as session:
        rows = attempts(session)
        assert [(row.call, row.attempt, row.state) for row in rows] == [
            (name, 1, AttemptState.PAID) for name in ("part-1", "part-2", "join")
        ]
        assert all(row.latency_ms is not None and row.latency_ms < 5_000 for row in rows)
        stored = session.get_one(PriceUsed, rows[0].price_id)
        current = price_vector("claude-haiku-5-5", at=datetime.now(UTC))
        assert (stored.vector, stored.source_version) == (current.rates, current.source_version)


def test_attempts_at_a_call_are_numbered_and_even_a_refused_one_knows_its_prices(
    sessions: Sessions, server: MessagesServer, tools: ReportTools, window: windows.ClaimedWindow
) -> None:
    server.script(Reply(status=529), Reply(status=500), Reply(usage=USAGE))
    for _ in range(2):
        with pytest.raises(WriterFailed):
            buy_answer(Call(window, "join", ask("join")), tools)
    buy_answer(Call(window, "join", ask("join")), tools)
    with sessions() as session:
        rows = attempts(session)
    assert [(row.attempt, row.state) for row in rows] == [
        (1, AttemptState.REFUSED),
        (2, AttemptState.UNKNOWN),
        (3, AttemptState.PAID),
    ]
    assert len({row.price_id for row in rows}) == 1
    assert rows[0].price_id is not None


def test_another_wording_is_paid_again_only_where_the_answer_must_be_exact(
    server: MessagesServer, tools: ReportTools, window: windows.ClaimedWindow
) -> None:
    server.script(Reply(text="first", usage=USAGE), Reply(text="second", usage=USAGE))
    first = buy_answer(Call(window, "report", ask("packed so")), tools)
    assert buy_answer(Call(window, "report", ask("packed otherwise")), tools) == first
    assert buy_answer(Call(window, "report", ask("packed so"), exact=True), tools) == first
    second = buy_answer(Call(window, "report", ask("packed otherwise"), exact=True), tools)
    assert '"second"' in second
    assert len(server.requests) == 2


def test_a_worker_that_lost_its_window_sends_nothing(
    sessions: Sessions, server: MessagesServer, tools: ReportTools, window: windows.ClaimedWindow
) -> None:
    expire_lease(sessions)
    taken_over = claim(sessions, window.window_id)
    with pytest.raises(LeaseLost):
        buy_answer(Call(window, "report", ask("late")), tools)
    with pytest.raises(LeaseLost):
        buy_answer(Call(replace(window, token=uuid4()), "report", ask("never had it")), tools)
    assert server.requests == []
    assert buy_answer(Call(taken_over, "report", ask("mine")), tools)


def test_an_answer_that_is_being_booked_is_waited_for(
    sessions: Sessions,
    server: MessagesServer,
    tools: ReportTools,
    window: windows.ClaimedWindow,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.script(Reply(text="first", usage=USAGE))
    half_booked, go_on = Event(), Event()

    def settle_late(session: Session, attempt_id: int, *, usd: Decimal | None) -> None:
        half_booked.set()
        assert go_on.wait(20)

    monkeypatch.setattr(budgets, "settle_holds", settle_late)
    with ThreadPoolExecutor(2) as threads:
        late = threads.submit(buy_answer, Call(window, "report", ask("mine")), tools)
        assert half_booked.wait(20)
        expire_lease(sessions)
        next_one = threads.submit(buy_answer, Call(claim(sessions, window.window_id), "report", ask("mine")), tools)
        try:
            wait_until(lambda: next_one.done() or waits_for_a_lock(sessions), "the next worker waits")
            assert not next_one.done()
        finally:
            go_on.set()
        assert next_one.result(20) == late.result(20)
    assert len(server.requests) == 1


def waits_for_a_lock(sessions: Sessions) -> bool:
    with sessions() as session:
        return bool(session.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")))


def test_each_call_extends_the_lease(sessions: Sessions, tools: ReportTools, window: windows.ClaimedWindow) -> None:
    expire_lease(sessions)  # it ran out, and nobody took the window over
    buy_answer(Call(window, "part-1", ask("still here")), tools)
    with sessions.begin() as session:
        assert windows.claim_window(session, window.window_id, lease_s=60, max_attempts=9) is None
