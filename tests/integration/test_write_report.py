"""Windows and reports on the real database, with the real SDK against the local twin of its API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from threading import Thread
from uuid import uuid4

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from gistline.domain import Language, Placement
from gistline.errors import NotFound, SettingsError
from gistline.flows.write_report import write_report
from gistline.simulator.messages_api import MessagesServer, Reply
from gistline.storage.dashboards import cost_rows, total_costs
from gistline.storage.reports import list_windows, read_report
from gistline.storage.session import Sessions
from gistline.storage.tables import (
    AttemptState,
    PriceUsed,
    ReportFinding,
    ReportRow,
    ReportWindow,
    WindowState,
)
from tests.support.billing import OpenTools, attempts, expire_lease, filled_window
from tests.support.reporting import draft_text, sent_request

USAGE = {"input_tokens": 1000, "output_tokens": 100}
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


@contextmanager
def looking(sessions: Sessions) -> Iterator[Session]:
    with sessions() as session:
        yield session


def test_a_window_gets_one_report_with_every_finding_placed_and_priced(
    sessions: Sessions, server: MessagesServer, open_tools: OpenTools
) -> None:
    server.script(Reply(text=draft_text("Found"), usage=USAGE))
    window_id = filled_window(sessions)
    outcome = write_report(window_id, open_tools())
    assert outcome.state is WindowState.WRITTEN
    assert outcome.report_id is not None
    with looking(sessions) as session:
        detail = read_report(session, outcome.report_id)
        assert detail.report.body.startswith("# Found\n\n**What happened.** From ")
        assert detail.report.language is Language.ENGLISH
        assert (detail.report.writer, detail.report.model) == ("anthropic", "claude-haiku-5-5")
        assert detail.placements == {
            Placement.ROW: 4,
            Placement.AGGREGATE: 0,
            Placement.TOTALS: 0,
            Placement.DEFERRED: 0,
        }
        assert detail.report.totals["findings"] == 4
        assert detail.report.totals["frames"] == {"inspected": 4, "ng": 2, "reinspect": 0, "failed": 1, "expired": 0}
        assert detail.report.cost_usd == Decimal("0.00015")  # 1,000 x 0.10 + 100 x 0.50 dollars a million
        assert detail.report.prompt_tokens < detail.report.prompt_ceiling_tokens <= detail.report.token_budget
        assert detail.report.image_tokens == 4 * 529
        assert detail.report.image_plan["requests"] == 1
        assert not detail.report.simulated
        assert detail.window.state is WindowState.WRITTEN
        (attempt,) = detail.attempts
        assert (attempt.state, attempt.usd, attempt.input_tokens) == (AttemptState.PAID, Decimal("0.00015"), 1000)
        price = session.get_one(PriceUsed, attempt.price_id)
        assert price.vector["output_mtok"]["base"] == "0.5"


def test_a_second_delivery_finds_the_report_and_pays_nothing(
    sessions: Sessions, server: MessagesServer, open_tools: OpenTools
) -> None:
    window_id, tools = filled_window(sessions), open_tools()
    first = write_report(window_id, tools)
    assert write_report(window_id, tools) == first
    assert len(server.requests) == 1


def test_two_workers_at_once_pay_once(sessions: Sessions, server: MessagesServer, open_tools: OpenTools) -> None:
    server.script(Reply(hang_s=0.3))
    window_id, tools = filled_window(sessions), open_tools()
    threads = [Thread(target=write_report, args=(window_id, tools)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.requests) == 1
    with looking(sessions) as session:
        assert len(session.scalars(select(ReportRow)).all()) == 1


def test_the_ledger_row_is_committed_before_the_request_leaves(
    sessions: Sessions, server: MessagesServer, open_tools: OpenTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[AttemptState]] = []
    take = server.take

    def look_first(request: object) -> Reply:
        with looking(sessions) as session:
            seen.append([attempt.state for attempt in attempts(session)])
        return take(request)  # type: ignore[arg-type]

    monkeypatch.setattr(server, "take", look_first)
    write_report(filled_window(sessions), open_tools())
    assert seen == [[AttemptState.SENT]]


def test_a_passing_error_is_tried_again_and_both_attempts_stay_in_the_ledger(
    sessions: Sessions, server: MessagesServer, open_tools: OpenTools
) -> None:
    server.script(Reply(status=529), Reply(usage=USAGE))
    window_id, tools = filled_window(sessions), open_tools()
    first = write_report(window_id, tools)
    assert first.state is WindowState.PENDING
    assert first.error is not None
    assert "answered 529" in first.error
    assert write_report(window_id, tools).state is WindowState.WRITTEN
    with looking(sessions) as session:
        found = attempts(session)
        assert [attempt.state for attempt in found] == [AttemptState.REFUSED, AttemptState.PAID]
        assert [attempt.usd for attempt in found] == [None, Decimal("0.00015")]


def test_the_wait_that_the_api_asks_for_is_kept(
    sessions: Sessions, server: MessagesServer, open_tools: OpenTools
) -> None:
    server.script(Reply(status=429, headers={"retry-after": "120"}))
    window_id, tools = filled_window(sessions), open_tools()
    assert write_report(window_id, tools).state is WindowState.PENDING
    assert write_report(window_id, tools).state is None  # not due yet
    assert len(server.requests) == 1
    with looking(sessions) as session:
        window = session.get_one(ReportWindow, window_id)
        wait = window.available_at - datetime.now(UTC)
        assert timedelta(seconds=60) < wait <= timedelta(seconds=120)


@pytest.mark.parametrize(
    ("reply", "sent", "states"),
    [
        (Reply(status=401), 1, [AttemptState.REFUSED]),
        (Reply(status=500), 2, [AttemptState.UNKNOWN, AttemptState.UNKNOWN]),
    ],
    ids=["key", "server"],
)
def test_a_hopeless_window_is_given_up_and_its_findings_stay(
    reply: Reply,
    sent: int,
    states: list[AttemptState],
    sessions: Sessions,
    server: MessagesServer,
    open_tools: OpenTools,
) -> None:
    server.script(reply, reply, reply)
    window_id, tools = filled_window(sessions), open_tools(max_attempts=2)
    outcomes = [write_report(window_id, tools).state for _ in range(3)]
    assert outcomes[sent - 1 :] == [WindowState.FAILED, *[None] * (3 - sent)]
    assert len(server.requests) == sent
    with looking(sessions) as session:
        assert [attempt.state for attempt in attempts(session)] == states
        (listed,) = list_windows(session, limit=9)
        assert (listed.window.state, listed.report) == (WindowState.FAILED, None)
        assert listed.window.error
        assert session.scalar(text("SELECT count(*) FROM findings")) == 4
        assert session.scalar(text("SELECT count(*) FROM report_findings")) == 0


def test_a_paid_answer_without_a_report_is_used_and_not_paid_again(
    sessions: Sessions, server: MessagesServer, open_tools: OpenTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.script(Reply(text=draft_text("Paid once"), usage=USAGE))
    window_id, tools = filled_window(sessions), open_tools()

    def die(*_args: object, **_more: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("gistline.flows.write_report.reports.save_report", die)
        with pytest.raises(KeyboardInterrupt):
            write_report(window_id, tools)
    assert write_report(window_id, tools).state is None  # its lease still runs
    expire_lease(sessions)
    outcome = write_report(window_id, tools)
    assert outcome.report_id is not None
    with looking(sessions) as session:
        detail = read_report(session, outcome.report_id)
        assert detail.report.body.startswith("# Paid once\n")
        assert detail.report.cost_usd == Decimal("0.00015")
        assert detail.window.attempts == 2
    assert len(server.requests) == 1


def test_a_worker_that_died_while_waiting_leaves_an_unknown_attempt(
    sessions: Sessions, server: MessagesServer, open_tools: OpenTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    window_id, tools = filled_window(sessions), open_tools()

    def die(*_args: object, **_more: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(tools.writer), "write", die)
        with pytest.raises(KeyboardInterrupt):
            write_report(window_id, tools)
    expire_lease(sessions)
    assert write_report(window_id, tools).state is WindowState.WRITTEN
    with looking(sessions) as session:
        found = attempts(session)
        assert [attempt.state for attempt in found] == [AttemptState.UNKNOWN, AttemptState.PAID]
        assert found[0].error == "the worker ended before the answer was booked"


def test_without_a_key_the_offline_writer_writes_and_nobody_is_billed(
    sessions: Sessions, server: MessagesServer, open_tools: OpenTools
) -> None:
    outcome = write_report(filled_window(sessions), open_tools(key=""))
    assert outcome.report_id is not None
    with looking(sessions) as session:
        report = read_report(session, outcome.report_id).report
        assert (report.writer, report.simulated) == ("offline", True)
        assert report.cost_usd == (report.input_tokens * Decimal("0.1") + report.output_tokens * Decimal("0.5")) / 10**6
        assert report.input_tokens == report.prompt_tokens
        totals = total_costs(cost_rows(session, since=LONG_AGO))
        assert (totals.billed_usd, totals.simulated_usd) == (Decimal(0), report.cost_usd)
        assert totals.saving_usd == report.image_usd - report.cost_usd
    assert server.requests == []


def test_a_window_without_findings_asks_nobody(
    sessions: Sessions, server: MessagesServer, open_tools: OpenTools
) -> None:
    outcome = write_report(filled_window(sessions, labels=()), open_tools())
    assert outcome.report_id is not None
    with looking(sessions) as session:
        detail = read_report(session, outcome.report_id)
        assert detail.report.body.startswith("No findings on line `line-1`.")
        assert "Not inspected: 1 failed, 0 expired." in detail.report.body
        assert (detail.report.writer, detail.report.cost_usd) == ("none", Decimal(0))
        assert not detail.attempts
        assert detail.report.image_tokens == 4 * 529
    assert server.requests == []


def test_a_budget_too_small_fails_the_window_with_the_number_needed(
    sessions: Sessions, server: MessagesServer, open_tools: OpenTools
) -> None:
    outcome = write_report(filled_window(sessions), open_tools(token_budget=200))
    assert outcome.state is WindowState.FAILED
    assert outcome.error is not None
    assert "the budget is 200" in outcome.error
    assert server.requests == []


def test_a_model_without_a_price_is_refused_before_anything_is_sent(open_tools: OpenTools) -> None:
    with pytest.raises(SettingsError, match="no prices for the model 'claude-nonesuch'"):
        open_tools(model="claude-nonesuch")


def test_unknown_keys_are_named(sessions: Sessions, open_tools: OpenTools) -> None:
    assert write_report(uuid4(), open_tools()).state is None
    missing = uuid4()
    with looking(sessions) as session, pytest.raises(NotFound, match=str(missing)):
        read_report(session, missing)


def test_costs_add_up_over_billed_simulated_and_unknown(
    sessions: Sessions, server: MessagesServer, open_tools: OpenTools
) -> None:
    server.script(Reply(status=500), Reply(usage=USAGE))
    billed = open_tools()
    first = filled_window(sessions)
    assert write_report(first, billed).state is WindowState.PENDING
    assert write_report(first, billed).state is WindowState.WRITTEN
    write_report(filled_window(sessions), open_tools(key="", model="claude-sonnet-5-5"))
    with looking(sessions) as session:
        rows = cost_rows(session, since=LONG_AGO)
        assert sorted(row.model for row in rows) == ["claude-haiku-5-5", "claude-sonnet-5-5"]
        total = total_costs(rows)
        assert (total.reports, total.frames, total.findings, total.unknown) == (2, 10, 8, 1)
        assert total.billed_usd == Decimal("0.00015")
        stored = session.scalars(select(ReportRow)).all()
        assert total.billed_usd + total.simulated_usd == sum(report.cost_usd for report in stored)
        assert total.image_usd == sum(report.image_usd for report in stored)
        assert total.input_tokens == sum(report.input_tokens for report in stored)
        assert cost_rows(session, since=datetime.now(UTC) + timedelta(days=1)) == []


def test_every_finding_is_in_one_report(sessions: Sessions, open_tools: OpenTools) -> None:
    tools = open_tools(key="")
    for _ in range(2):
        write_report(filled_window(sessions), tools)
    with looking(sessions) as session:
        placed = session.scalars(select(ReportFinding.finding_id)).all()
        assert len(placed) == len(set(placed)) == session.scalar(text("SELECT count(*) FROM findings")) == 8


def test_the_booked_answer_is_the_raw_body(sessions: Sessions, server: MessagesServer, open_tools: OpenTools) -> None:
    server.script(Reply(text=draft_text("Raw"), usage=USAGE))
    write_report(filled_window(sessions), open_tools())
    with looking(sessions) as session:
        (attempt,) = attempts(session)
        assert attempt.answer is not None
        assert json.loads(attempt.answer)["usage"] == USAGE
        assert attempt.body_sha256 == sent_request(server.requests[0].body).sha256
