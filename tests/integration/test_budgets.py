"""Budgets in dollars on the real database: who is refused, what waits, what stays held, what people do about it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy import text

from gistline.dispatch import NullDispatcher
from gistline.domain_money import BudgetPeriod, BudgetScope
from gistline.errors import NotFound, RequestRejected
from gistline.flows.budgets import reconcile, remove_budget, set_budget
from gistline.flows.close_windows import close_now, close_windows
from gistline.flows.write_report import write_report
from gistline.settings import ReportSettings
from gistline.simulator.messages_api import MessagesServer, Reply
from gistline.storage.budget_book import BudgetKey, Reconciliation, open_holds
from gistline.storage.budgets import BudgetState, budget_states
from gistline.storage.reports import read_report
from gistline.storage.session import Sessions
from gistline.storage.tables import AttemptState, ReportWindow, WaitsFor, WindowState
from tests.support.billing import OpenTools, attempts, filled_window
from tests.support.reporting import add_frame

USAGE = {"input_tokens": 1000, "output_tokens": 100}
ZERO = Decimal(0)
COST = Decimal("0.00015")  # 1,000 x 0.10 + 100 x 0.50 dollars a million
SITE = BudgetKey(BudgetScope.SITE, "", BudgetPeriod.DAY)
LINE = BudgetKey(BudgetScope.LINE, "line-1", BudgetPeriod.DAY)
MONTH = BudgetKey(BudgetScope.LINE, "line-1", BudgetPeriod.MONTH)


def states(sessions: Sessions) -> dict[str, BudgetState]:
    with sessions() as session:
        return {state.name: state for state in budget_states(session)}


def window_of(sessions: Sessions, window_id: UUID) -> ReportWindow:
    with sessions() as session:
        return session.get_one(ReportWindow, window_id)


def promised(sessions: Sessions) -> Decimal:
    """The hold of the latest attempt."""
    with sessions() as session:
        usd = attempts(session)[-1].promised_usd
    assert usd is not None
    return usd


def test_a_paid_call_settles_what_was_held(sessions: Sessions, server: MessagesServer, open_tools: OpenTools) -> None:
    window_id = filled_window(sessions)
    set_budget(sessions, SITE, Decimal(1))
    held: list[Decimal] = []
    server.script(Reply(usage=USAGE))
    take = server.take

    def look(request: object) -> Reply:
        held.append(states(sessions)["site per day"].held_usd)
        return take(request)  # type: ignore[arg-type]

    server.take = look  # type: ignore[method-assign]
    assert write_report(window_id, open_tools()).state is WindowState.WRITTEN
    assert held == [promised(sessions)]
    assert held[0] > COST
    after = states(sessions)["site per day"]
    assert (after.settled_usd, after.held_usd, after.left_usd) == (COST, ZERO, 1 - COST)


def test_a_refused_report_waits_with_its_findings_until_the_next_period_or_a_higher_cap(
    sessions: Sessions, server: MessagesServer, open_tools: OpenTools
) -> None:
    window_id, tools = filled_window(sessions), open_tools()
    set_budget(sessions, LINE, Decimal("0.0001"))
    outcome = write_report(window_id, tools)
    assert outcome.state is WindowState.PENDING
    midnight = (datetime.now(UTC) + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    assert outcome.error is not None
    assert "'line line-1 per day' has $0.0001 of $0.0001 left ($0 spent, $0 held)" in outcome.error
    assert f"It runs at {midnight:%Y-%m-%d} 00:00 UTC, or when the cap is raised" in outcome.error
    waiting = window_of(sessions, window_id)
    assert (waiting.waits_for, waiting.attempts, waiting.available_at) == (WaitsFor.BUDGET, 0, midnight)
    assert server.requests == []
    with sessions() as session:
        assert attempts(session) == []
        assert session.scalar(text("SELECT count(*) FROM findings")) == 4

    assert write_report(window_id, tools).state is None  # not due
    set_budget(sessions, LINE, Decimal("0.01"))
    assert close_windows(sessions, NullDispatcher(), tools.settings).rung == (window_id,)
    assert write_report(window_id, tools).state is WindowState.WRITTEN
    assert window_of(sessions, window_id).waits_for is None


def test_what_others_hold_may_come_back_sooner_than_the_next_period(
    sessions: Sessions, server: MessagesServer, open_tools: OpenTools
) -> None:
    server.script(Reply(status=500))
    first, tools = filled_window(sessions), open_tools(budget_recheck_s=7)
    assert write_report(first, tools).state is WindowState.PENDING
    lost = promised(sessions)
    set_budget(sessions, SITE, lost + lost / 2)
    second = filled_window(sessions)
    outcome = write_report(second, tools)
    assert outcome.error is not None
    assert "as soon as what is held is settled" in outcome.error
    wait = window_of(sessions, second).available_at - datetime.now(UTC)
    assert timedelta(seconds=0) < wait <= timedelta(seconds=7)


def test_an_unknown_outcome_stays_held_until_somebody_settles_it(
    sessions: Sessions, server: MessagesServer, open_tools: OpenTools
) -> None:
    server.script(Reply(hang_s=30), Reply(status=500), Reply(usage=USAGE))
    set_up = filled_window(sessions)
    set_budget(sessions, SITE, Decimal(1))
    tools = open_tools(timeout_s=1.0)
    while write_report(set_up, tools).state is not WindowState.WRITTEN:
        pass
    with sessions() as session:
        rows = attempts(session)
        left = open_holds(session)
    assert [row.state for row in rows] == [AttemptState.UNKNOWN, AttemptState.UNKNOWN, AttemptState.PAID]
    assert [hold.attempt_id for hold in left] == [rows[0].id, rows[1].id]
    assert states(sessions)["site per day"].held_usd == sum(hold.usd for hold in left)

    reconcile(sessions, left[0].attempt_id, Reconciliation(COST, "anna", "usage page: one request at 10:02"))
    reconcile(sessions, left[1].attempt_id, Reconciliation(None, "anna", "usage page: nothing"))
    after = states(sessions)["site per day"]
    assert (after.settled_usd, after.held_usd) == (2 * COST, ZERO)
    with sessions() as session:
        rows = attempts(session)
        assert open_holds(session) == []
    assert [row.state for row in rows] == [AttemptState.PAID, AttemptState.REFUSED, AttemptState.PAID]
    assert (rows[0].usd, rows[0].reconciled_by) == (COST, "anna")
    assert rows[0].reason == "usage page: one request at 10:02"
    with pytest.raises(RequestRejected, match="is settled: paid"):
        reconcile(sessions, rows[0].id, Reconciliation(None, "anna", "again"))


def test_a_worker_that_died_leaves_its_hold(
    sessions: Sessions, open_tools: OpenTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    window_id, tools = filled_window(sessions), open_tools()
    set_budget(sessions, SITE, Decimal(1))

    def die(*_args: object, **_more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(type(tools.writer), "write", die)
    with pytest.raises(KeyboardInterrupt):
        write_report(window_id, tools)
    with sessions() as session:
        (hold,) = open_holds(session)
    assert hold.state is AttemptState.SENT
    with pytest.raises(RequestRejected, match="still on its way"):
        reconcile(sessions, hold.attempt_id, Reconciliation(None, "anna", "too early"))

    with sessions.begin() as session:  # nobody claims it again: it was tried too often
        session.execute(text("UPDATE report_windows SET lease_until = now() - interval '1 s', attempts = 5"))
    assert close_windows(sessions, NullDispatcher(), tools.settings).given_up == (window_id,)
    with sessions() as session:
        (hold,) = open_holds(session)
    assert hold.state is AttemptState.UNKNOWN
    assert states(sessions)["site per day"].held_usd == hold.usd


def test_an_answer_that_comes_after_all_replaces_what_was_settled_by_hand(
    sessions: Sessions, server: MessagesServer, open_tools: OpenTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    window_id, tools = filled_window(sessions), open_tools()
    set_budget(sessions, SITE, Decimal(1))
    server.script(Reply(usage=USAGE))
    take = server.take

    def meanwhile(request: object) -> Reply:
        with sessions.begin() as session:
            session.execute(text("UPDATE report_windows SET lease_until = now() - interval '1 s'"))
        close_windows(sessions, NullDispatcher(), tools.settings)
        with sessions() as session:
            (hold,) = open_holds(session)
        reconcile(sessions, hold.attempt_id, Reconciliation(None, "anna", "nothing to be seen"))
        return take(request)  # type: ignore[arg-type]

    monkeypatch.setattr(server, "take", meanwhile)
    write_report(window_id, tools)
    with sessions() as session:
        (row,) = attempts(session)
    assert (row.state, row.usd, row.reconciled_by) == (AttemptState.PAID, COST, "anna")
    assert states(sessions)["site per day"].settled_usd == COST


def test_nobody_is_held_to_what_is_only_simulated(
    sessions: Sessions, server: MessagesServer, open_tools: OpenTools
) -> None:
    window_id = filled_window(sessions)
    set_budget(sessions, SITE, Decimal(0))
    assert write_report(window_id, open_tools(key="")).state is WindowState.WRITTEN
    assert states(sessions)["site per day"].settled_usd == 0


@pytest.mark.parametrize(
    ("form", "left", "writer", "note"),
    [
        ("offline", "0.0001", "offline", "*Written by rule, because the money did not reach for more."),
        ("smaller", "0.0013", "anthropic", "*Written from a shorter prompt, because the money did not reach for more."),
    ],
)
def test_a_cheaper_form_takes_the_place_of_a_refused_report(
    form: str,
    left: str,
    writer: str,
    note: str,
    sessions: Sessions,
    server: MessagesServer,
    open_tools: OpenTools,
) -> None:
    window_id = filled_window(sessions, frames=90)
    set_budget(sessions, LINE, Decimal(left))
    outcome = write_report(window_id, open_tools(over_budget=form))
    assert outcome.report_id is not None
    with sessions() as session:
        report = read_report(session, outcome.report_id).report
    assert (report.writer, report.simulated) == (writer, writer == "offline")
    assert note in report.body
    assert report.prompt_ceiling_tokens <= report.token_budget
    assert len(server.requests) == (writer == "anthropic")
    assert states(sessions)["line line-1 per day"].held_usd == 0
    if writer == "anthropic":
        assert report.token_budget < 6000
        assert promised(sessions) <= Decimal(left)


def test_where_not_even_the_totals_can_be_paid_for_the_report_waits(
    sessions: Sessions, server: MessagesServer, open_tools: OpenTools
) -> None:
    window_id = filled_window(sessions)
    set_budget(sessions, LINE, Decimal("0.0004"))
    assert write_report(window_id, open_tools(over_budget="smaller")).state is WindowState.PENDING
    assert window_of(sessions, window_id).waits_for is WaitsFor.BUDGET
    assert server.requests == []


def test_cameras_share_a_report_by_their_findings_to_the_last_digit(
    sessions: Sessions, server: MessagesServer, open_tools: OpenTools
) -> None:
    moment = datetime.now(UTC) - timedelta(seconds=30)
    with sessions.begin() as session:
        for camera, count in {"cam-1": 1, "cam-2": 2, "cam-3": 4, "cam-4": 0}.items():
            add_frame(session, finished_at=moment, camera=camera, labels=["open"] * count)
    window_id = close_now(sessions, NullDispatcher(), ReportSettings(window_minutes=1440), "line-1").closed[-1]
    for place in range(1, 5):
        set_budget(sessions, BudgetKey(BudgetScope.CAMERA, f"cam-{place}", BudgetPeriod.DAY), Decimal(1))
    server.script(Reply(usage=USAGE))
    assert write_report(window_id, open_tools()).state is WindowState.WRITTEN
    spent = [state.settled_usd for state in states(sessions).values()]
    assert sum(spent) == COST
    assert spent == [Decimal(one) for one in ("0.000021428571", "0.000042857143", "0.000085714286", "0")]


def test_one_camera_without_money_refuses_the_report(
    sessions: Sessions, server: MessagesServer, open_tools: OpenTools
) -> None:
    window_id = filled_window(sessions)
    set_budget(sessions, SITE, Decimal(1))
    set_budget(sessions, BudgetKey(BudgetScope.CAMERA, "cam-1", BudgetPeriod.DAY), Decimal(0))
    assert write_report(window_id, open_tools()).state is WindowState.PENDING
    assert states(sessions)["site per day"].held_usd == 0  # all or none


def test_a_new_budget_counts_what_its_period_has_spent_and_holds(
    sessions: Sessions, server: MessagesServer, open_tools: OpenTools
) -> None:
    server.script(Reply(usage=USAGE), Reply(status=500))
    tools = open_tools()
    write_report(filled_window(sessions), tools)
    write_report(filled_window(sessions), tools)
    lost = promised(sessions)
    with sessions.begin() as session:  # one of them was long ago
        session.execute(text("UPDATE llm_attempts SET sent_at = now() - interval '40 days' WHERE state = 'paid'"))
    assert set_budget(sessions, MONTH, Decimal(1)).settled_usd == 0
    with sessions.begin() as session:
        session.execute(text("UPDATE llm_attempts SET sent_at = now()"))
    state = set_budget(sessions, LINE, Decimal(1))
    assert (state.settled_usd, state.held_usd) == (COST, lost)
    reconcile(sessions, open_state(sessions), Reconciliation(None, "anna", "usage page"))
    assert {name: (state.settled_usd, state.held_usd) for name, state in states(sessions).items()} == {
        "line line-1 per day": (COST, ZERO),
        "line line-1 per month": (ZERO, ZERO),
    }


def open_state(sessions: Sessions) -> int:
    with sessions() as session:
        (hold,) = open_holds(session)
    return hold.attempt_id


def test_a_cap_below_what_is_spent_overdraws_and_refuses_all_else(
    sessions: Sessions, server: MessagesServer, open_tools: OpenTools
) -> None:
    server.script(Reply(usage=USAGE))
    tools = open_tools()
    set_budget_after = filled_window(sessions)
    set_budget(sessions, SITE, Decimal(1))
    write_report(set_budget_after, tools)
    state = set_budget(sessions, SITE, COST / 2)
    assert (state.overdrawn_usd, state.left_usd) == (COST / 2, ZERO)
    assert write_report(filled_window(sessions), tools).state is WindowState.PENDING
    assert set_budget(sessions, SITE, Decimal(2)).overdrawn_usd == 0


def test_a_call_that_is_billed_higher_than_was_promised_is_booked_as_it_is(
    sessions: Sessions, server: MessagesServer, open_tools: OpenTools
) -> None:
    server.script(Reply(usage={"input_tokens": 90_000, "output_tokens": 100}))
    window_id = filled_window(sessions)
    set_budget(sessions, SITE, Decimal("0.002"))
    write_report(window_id, open_tools())
    state = states(sessions)["site per day"]
    assert (state.settled_usd, state.overdrawn_usd) == (Decimal("0.00905"), Decimal("0.00705"))


def test_a_removed_budget_lets_go_and_one_set_again_knows_its_past(
    sessions: Sessions, server: MessagesServer, open_tools: OpenTools
) -> None:
    window_id, tools = filled_window(sessions), open_tools()
    server.script(Reply(usage=USAGE))
    set_budget(sessions, SITE, Decimal(0))
    assert write_report(window_id, tools).state is WindowState.PENDING
    remove_budget(sessions, SITE)
    assert write_report(window_id, tools).state is WindowState.WRITTEN
    with pytest.raises(NotFound, match="no budget for site per day"):
        remove_budget(sessions, SITE)
    assert set_budget(sessions, SITE, Decimal(1)).settled_usd == COST


@pytest.mark.parametrize(
    ("key", "cap", "message"),
    [
        (BudgetKey(BudgetScope.LINE, "line-9", BudgetPeriod.DAY), "1", "There is no line 'line-9'. Known are: line-1."),
        (BudgetKey(BudgetScope.CAMERA, "cam", BudgetPeriod.DAY), "1", "There is no camera 'cam'. Known are: cam-1."),
        (BudgetKey(BudgetScope.SITE, "x", BudgetPeriod.DAY), "1", "The site has no name"),
        (SITE, "-1", "-1 is no amount in dollars"),
        (SITE, "nan", "NaN is no amount"),
        (SITE, "1e9", "is no amount in dollars"),
        (SITE, "0.0000000000001", "at most 12 decimals"),
    ],
)
def test_what_is_no_budget_is_refused_by_name(key: BudgetKey, cap: str, message: str, sessions: Sessions) -> None:
    filled_window(sessions)
    with pytest.raises(RequestRejected) as caught:
        set_budget(sessions, key, Decimal(cap))
    assert message in str(caught.value)
