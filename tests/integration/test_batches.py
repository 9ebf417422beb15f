"""Reports that may wait, through the real SDK's Message Batches against the twin: half price, and never paid twice."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy import select, text

from gistline.domain_money import BudgetPeriod, BudgetScope
from gistline.flows.budgets import reconcile, set_budget
from gistline.flows.report_tools import ReportTools
from gistline.flows.tend_batches import Tended, tend_batches
from gistline.flows.write_report import write_report
from gistline.simulator.messages_api import MessagesServer, Place, fault
from gistline.storage.budget_book import BudgetKey, Reconciliation, open_holds
from gistline.storage.budgets import budget_states
from gistline.storage.session import Sessions
from gistline.storage.tables import (
    AttemptState,
    BatchState,
    LlmAttempt,
    LlmBatch,
    Processing,
    ReportWindow,
    WaitsFor,
    WindowState,
)
from tests.support.billing import OpenTools, attempts, filled_window
from tests.support.budget_mutants import mutant

SITE = BudgetKey(BudgetScope.SITE, "", BudgetPeriod.DAY)
PATIENT = {"batch_gather_s": 0, "batch_poll_s": 0.1}


@pytest.fixture
def tools(open_tools: OpenTools, sessions: Sessions) -> ReportTools:
    set_budget(sessions, SITE, Decimal(1))
    made: ReportTools = open_tools(**PATIENT)
    return made


def patient_window(sessions: Sessions, *, minutes: int = 60) -> UUID:
    """A window whose report may take so long, and has been asked for."""
    window_id = filled_window(sessions)
    set_deadline(sessions, minutes)
    return window_id


def set_deadline(sessions: Sessions, minutes: float) -> None:
    with sessions.begin() as session:
        for table in ("report_windows", "llm_batches"):
            statement = f"UPDATE {table} SET deadline_at = now() + make_interval(secs => :s)"  # noqa: S608
            session.execute(text(statement), {"s": minutes * 60})


def look_again(sessions: Sessions, server: MessagesServer, tools: ReportTools, *, later_s: float = 0) -> Tended:
    """Tend once more, as if the pause between two looks were over."""
    server.twin.clock.advance(later_s)
    with sessions.begin() as session:
        session.execute(text("UPDATE llm_batches SET looked_at = NULL"))
    return tend_batches(tools)


def make_due(sessions: Sessions) -> None:
    with sessions.begin() as session:
        session.execute(text("UPDATE report_windows SET available_at = now() WHERE state = 'pending'"))


def books_agree(sessions: Sessions, server: MessagesServer) -> None:
    """The ledger and the budget say what the provider billed, and nothing is held."""
    with sessions() as session:
        paid = sum((row.usd for row in attempts(session) if row.usd is not None), Decimal(0))
        (state,) = budget_states(session)
        assert open_holds(session) == []
    assert paid == server.twin.books.usd > 0
    assert (state.settled_usd, state.held_usd) == (paid, Decimal(0))


def test_a_report_that_may_wait_comes_by_batch_at_half_the_price(
    sessions: Sessions, server: MessagesServer, tools: ReportTools
) -> None:
    first, second = (patient_window(sessions) for _ in range(2))
    for window_id in (first, second):
        assert write_report(window_id, tools).state is WindowState.PENDING
    with sessions() as session:
        waiting = session.get_one(ReportWindow, first)
        assert (waiting.waits_for, waiting.attempts) == (WaitsFor.BATCH, 0)
        assert waiting.error is not None
        assert "comes by batch, at half the price" in waiting.error
    assert tend_batches(tools) == Tended(submitted=1)
    assert look_again(sessions, server, tools) == Tended()
    assert look_again(sessions, server, tools, later_s=120) == Tended(collected=1)
    for window_id in (first, second):
        assert write_report(window_id, tools).state is WindowState.WRITTEN
    with sessions() as session:
        rows = attempts(session)
    assert [(row.state, row.processing) for row in rows] == [(AttemptState.PAID, Processing.BATCH)] * 2
    assert [request.path for request in server.requests] == ["/v1/messages/batches"]
    assert all(row.request is None for row in rows)
    for row in rows:  # claude-haiku-5-5 at half price
        assert row.input_tokens is not None
        assert row.output_tokens is not None
        assert row.usd == (row.input_tokens * Decimal("0.05") + row.output_tokens * Decimal("0.25")) / 10**6
    books_agree(sessions, server)


@pytest.mark.parametrize("lost", ["error_after_billing", "cut_after_billing"])
def test_a_batch_whose_submission_got_lost_is_found_and_not_sent_again(
    lost: str, sessions: Sessions, server: MessagesServer, tools: ReportTools
) -> None:
    server.script(fault(lost), on=Place.BATCHES)
    window_id = patient_window(sessions)
    write_report(window_id, tools)
    assert tend_batches(tools).submitted == 0
    with sessions() as session:
        (batch,) = session.query(LlmBatch).all()
        assert batch.state is BatchState.LOST
        (hold,) = open_holds(session)
        assert hold.state is AttemptState.SENT
    assert look_again(sessions, server, tools).collected == 0  # in the list, and not known before it has ended
    assert look_again(sessions, server, tools, later_s=120).collected == 1
    assert write_report(window_id, tools).state is WindowState.WRITTEN
    assert len(server.twin.books.billed) == 1
    books_agree(sessions, server)


def test_a_batch_that_the_provider_never_had_goes_again(
    sessions: Sessions, server: MessagesServer, tools: ReportTools
) -> None:
    server.script(fault("error"), on=Place.BATCHES)
    window_id = patient_window(sessions)
    write_report(window_id, tools)
    tend_batches(tools)
    look_again(sessions, server, tools)
    with sessions.begin() as session:
        session.execute(text("UPDATE llm_batches SET created_at = now() - interval '20 minutes'"))
    look_again(sessions, server, tools)
    assert tend_batches(tools).submitted == 1
    assert look_again(sessions, server, tools, later_s=120).collected == 1
    assert write_report(window_id, tools).state is WindowState.WRITTEN
    books_agree(sessions, server)


def test_a_pause_that_the_provider_wants_is_kept(
    sessions: Sessions, server: MessagesServer, tools: ReportTools
) -> None:
    server.script(fault("rate_limit", retry_after_s=30), on=Place.BATCHES)
    write_report(patient_window(sessions), tools)
    assert [tend_batches(tools).submitted for _ in range(2)] == [0, 0]
    assert len(server.requests) == 1
    with sessions.begin() as session:
        (row,) = attempts(session)
        assert row.state is AttemptState.QUEUED
        session.execute(text("UPDATE llm_batches SET retry_at = now()"))
    assert tend_batches(tools).submitted == 1


def test_a_batch_is_cancelled_before_the_deadline_and_the_report_asked_for_at_once(
    sessions: Sessions, server: MessagesServer, tools: ReportTools
) -> None:
    server.script(fault("stuck"), on=Place.BATCHES)
    window_id = patient_window(sessions)
    write_report(window_id, tools)
    tend_batches(tools)
    set_deadline(sessions, 5)
    look_again(sessions, server, tools)
    assert look_again(sessions, server, tools, later_s=1).collected == 1
    assert write_report(window_id, tools).state is WindowState.WRITTEN
    with sessions() as session:
        rows = attempts(session)
    assert [(row.state, row.processing) for row in rows] == [
        (AttemptState.REFUSED, Processing.BATCH),
        (AttemptState.PAID, Processing.STANDARD),
    ]
    assert rows[0].error == "batch: canceled"
    books_agree(sessions, server)


def test_a_batch_that_comes_after_the_deadline_is_booked_beside_the_call_that_replaced_it(
    sessions: Sessions, server: MessagesServer, tools: ReportTools
) -> None:
    window_id = patient_window(sessions)
    write_report(window_id, tools)
    tend_batches(tools)
    set_deadline(sessions, -1)
    make_due(sessions)
    assert write_report(window_id, tools).state is WindowState.WRITTEN
    with sessions() as session:
        (hold,) = open_holds(session)
    assert hold.state is AttemptState.SENT
    server.twin.clock.advance(120)
    assert look_again(sessions, server, tools).collected == 1
    assert len(server.twin.books.billed) == 2
    books_agree(sessions, server)


def test_what_is_still_queued_at_the_deadline_is_taken_back(
    sessions: Sessions, server: MessagesServer, tools: ReportTools
) -> None:
    window_id = patient_window(sessions)
    write_report(window_id, tools)
    set_deadline(sessions, -1)
    make_due(sessions)
    assert write_report(window_id, tools).state is WindowState.WRITTEN
    assert tend_batches(tools) == Tended()
    assert len(server.twin.books.billed) == 1
    books_agree(sessions, server)


def test_items_that_fail_twice_are_asked_for_at_once(
    sessions: Sessions, server: MessagesServer, tools: ReportTools
) -> None:
    server.script(fault("item_errored"), fault("item_expired"), on=Place.ITEMS)
    window_id = patient_window(sessions)
    for _ in range(2):
        assert write_report(window_id, tools).state is WindowState.PENDING
        assert tend_batches(tools).submitted == 1
        assert look_again(sessions, server, tools, later_s=120).collected == 1
    assert write_report(window_id, tools).state is WindowState.WRITTEN
    with sessions() as session:
        assert [row.state for row in attempts(session)] == [
            AttemptState.REFUSED,
            AttemptState.REFUSED,
            AttemptState.PAID,
        ]
    books_agree(sessions, server)


def a_result_is_left_out(sessions: Sessions, server: MessagesServer, tools: ReportTools) -> LlmAttempt:
    """Let a batch of three come back with two results, and see that nothing is believed of the third; its attempt."""
    server.script(fault("item_unlisted"), on=Place.ITEMS)
    for _ in range(3):
        write_report(patient_window(sessions), tools)
    assert tend_batches(tools) == Tended(submitted=1)
    assert look_again(sessions, server, tools, later_s=120).collected == 1
    assert len(server.twin.books.billed) == 3
    for _ in range(2):  # a later look brings nothing new
        with sessions() as session:
            rows = attempts(session)
            holds, (state,) = open_holds(session), budget_states(session)
        assert Counter(row.state for row in rows) == {AttemptState.PAID: 2, AttemptState.UNKNOWN: 1}
        (left_out,) = (row for row in rows if row.state is AttemptState.UNKNOWN)
        assert [(one.attempt_id, one.state) for one in holds] == [(left_out.id, AttemptState.UNKNOWN)]
        assert state.settled_usd == sum(row.usd for row in rows if row.usd is not None)
        assert state.held_usd == holds[0].usd
        assert state.settled_usd < server.twin.books.usd <= state.settled_usd + state.held_usd
        assert look_again(sessions, server, tools, later_s=120) == Tended()
    return left_out


def test_what_a_batch_has_no_result_for_stays_held_until_somebody_knows(
    sessions: Sessions, server: MessagesServer, tools: ReportTools
) -> None:
    left_out = a_result_is_left_out(sessions, server, tools)
    assert left_out.error == "the batch has no result for it"
    make_due(sessions)
    with sessions() as session:
        windows = list(session.scalars(select(ReportWindow.id)))
    states = Counter(write_report(window_id, tools).state for window_id in windows)
    assert states == {WindowState.WRITTEN: 2, WindowState.PENDING: 1}  # the third asks again, by another batch
    tend_batches(tools)
    look_again(sessions, server, tools, later_s=120)
    assert write_report(left_out.window_id, tools).state is WindowState.WRITTEN
    with sessions() as session:
        (hold,) = open_holds(session)
    assert hold.attempt_id == left_out.id  # that its window has a report frees no money
    (billed,) = (entry.usd for entry in server.twin.books.billed if entry.fault == "item_unlisted")
    reconcile(sessions, left_out.id, Reconciliation(billed, "anna", "the provider's usage page"))
    books_agree(sessions, server)


def test_the_missing_result_is_what_that_test_is_about(
    sessions: Sessions, server: MessagesServer, tools: ReportTools
) -> None:
    with mutant("a batch's missing result counts as not billed").planted(), pytest.raises(AssertionError):
        a_result_is_left_out(sessions, server, tools)


def test_a_lost_batch_that_shows_no_result_is_not_sent_again(
    sessions: Sessions, server: MessagesServer, tools: ReportTools
) -> None:
    server.script(fault("cut_after_billing"), on=Place.BATCHES)
    server.script(fault("item_unlisted"), on=Place.ITEMS)
    write_report(patient_window(sessions), tools)
    tend_batches(tools)
    with sessions.begin() as session:
        session.execute(text("UPDATE llm_batches SET created_at = now() - interval '20 minutes'"))
    look_again(sessions, server, tools, later_s=120)
    assert tend_batches(tools).submitted == 0
    assert len(server.twin.books.billed) == 1
    with sessions() as session:
        (hold,) = open_holds(session)
    assert hold.state is AttemptState.SENT


def test_an_urgent_line_and_the_offline_writer_wait_for_no_batch(
    sessions: Sessions, server: MessagesServer, open_tools: OpenTools
) -> None:
    assert write_report(filled_window(sessions), open_tools(**PATIENT)).state is WindowState.WRITTEN
    assert write_report(patient_window(sessions), open_tools(key="")).state is WindowState.WRITTEN
    settings = open_tools(deadline_minutes=30, deadlines={"line-1": 0}).settings
    assert settings.report_within("line-1") is None
    assert settings.report_within("line-2") is not None
