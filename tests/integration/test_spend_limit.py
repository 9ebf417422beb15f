"""A limit of spending reached at the provider: nothing is bought for a while, it is said, and nothing is lost."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from gistline.alarms.rules import Rule
from gistline.cli.buying_probe import examine
from gistline.cli.checks import State
from gistline.cli.main import run
from gistline.dispatch import NullDispatcher
from gistline.domain_acting import RuleKind
from gistline.flows.alarm_readings import read_state
from gistline.flows.buying_stops import resume_buying
from gistline.flows.close_windows import close_windows
from gistline.flows.tend_batches import Tended, tend_batches
from gistline.flows.write_report import write_report
from gistline.settings import DatabaseSettings, Settings
from gistline.simulator.messages_api import MessagesServer, Place, Reply, fault
from gistline.storage.session import Sessions
from gistline.storage.tables import AttemptState, ReportWindow, WaitsFor, WindowState
from tests.support.billing import OpenTools, attempts, filled_window

CODE = "enforced_spend_limit_reached"


def waiting(sessions: Sessions, window_id: object) -> ReportWindow:
    with sessions() as session:
        return session.get_one(ReportWindow, window_id)


def test_a_reached_spend_limit_stops_all_buying_until_somebody_resumes(
    sessions: Sessions,
    server: MessagesServer,
    open_tools: OpenTools,
    database_url: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server.script(fault("spend_limit"))
    first, second, tools = filled_window(sessions), filled_window(sessions), open_tools()
    for window_id in (first, second):
        outcome = write_report(window_id, tools)
        assert outcome.state is WindowState.PENDING
        assert outcome.error is not None
        assert f"A limit of spending is reached at the provider ({CODE})" in outcome.error
    assert len(server.requests) == 1  # the second window did not even ask
    with sessions() as session:
        assert [row.state for row in attempts(session)] == [AttemptState.REFUSED]
        (reading,) = read_state(session, Rule(name="money", kind=RuleKind.BUDGET), datetime.now(UTC))
        assert not list(
            read_state(session, Rule(name="of-line", kind=RuleKind.BUDGET, line="line-1"), datetime.now(UTC))
        )
    assert CODE in reading.text
    for window_id in (first, second):
        row = waiting(sessions, window_id)
        assert (row.waits_for, row.attempts) == (WaitsFor.PROVIDER, 0)
        assert 3500 < (row.available_at - datetime.now(UTC)).total_seconds() <= 3600
    (check,) = examine(Settings(database=DatabaseSettings(url=SecretStr(database_url))))
    assert (check.name, check.state) == ("buying", State.MISSING)
    assert CODE in check.found
    asked = ["--set", f"database.url={database_url}", "--set", "redis.url=redis://127.0.0.1:1/0", "costs"]
    assert run(asked) == 0
    assert f"({CODE}): 'gistline costs resume'" in " ".join(capsys.readouterr().out.split())
    assert run([*asked, "resume"]) == 0
    assert "bought again" in capsys.readouterr().out
    assert resume_buying(sessions, by="anna") == 0
    assert set(close_windows(sessions, NullDispatcher(), tools.settings).rung) == {first, second}
    for window_id in (first, second):
        assert write_report(window_id, tools).state is WindowState.WRITTEN
    assert not list(examine(Settings(database=DatabaseSettings(url=SecretStr(database_url)))))


def test_after_the_pause_the_provider_is_asked_again(
    sessions: Sessions, server: MessagesServer, open_tools: OpenTools
) -> None:
    server.script(fault("spend_limit", retry_after_s=7200))
    window_id, tools = filled_window(sessions), open_tools(max_attempts=1)
    write_report(window_id, tools)
    assert (waiting(sessions, window_id).available_at - datetime.now(UTC)).total_seconds() > 7100
    with sessions.begin() as session:
        session.execute(text("UPDATE buying_stops SET until = now()"))
        session.execute(text("UPDATE report_windows SET available_at = now()"))
    assert write_report(window_id, tools).state is WindowState.WRITTEN


@pytest.mark.parametrize(("status", "code"), [(402, ""), (402, "linked_organization_spend_limit_reached")])
def test_no_credit_is_no_reason_to_give_a_report_up(
    status: int, code: str, sessions: Sessions, server: MessagesServer, open_tools: OpenTools
) -> None:
    server.script(Reply(status, error_code=code))
    window_id, tools = filled_window(sessions), open_tools()
    outcome = write_report(window_id, tools)
    assert outcome.error is not None
    assert (code or "payment_required") in outcome.error
    assert waiting(sessions, window_id).waits_for is WaitsFor.PROVIDER


def test_any_other_429_waits_for_its_window_alone(
    sessions: Sessions, server: MessagesServer, open_tools: OpenTools
) -> None:
    server.script(fault("rate_limit"))
    first, second, tools = filled_window(sessions), filled_window(sessions), open_tools()
    assert write_report(first, tools).state is WindowState.PENDING
    assert waiting(sessions, first).waits_for is None
    assert write_report(second, tools).state is WindowState.WRITTEN


def test_a_cheaper_form_is_written_while_nothing_is_bought(
    sessions: Sessions, server: MessagesServer, open_tools: OpenTools
) -> None:
    server.script(fault("spend_limit"))
    window_id = filled_window(sessions)
    assert write_report(window_id, open_tools(over_budget="offline")).state is WindowState.WRITTEN
    with sessions() as session:
        assert [row.simulated for row in attempts(session)] == [False, True]
        body = session.scalar(text("SELECT body FROM reports"))
    assert "Written by rule" in body
    assert CODE in body


def test_batches_wait_likewise_and_go_when_buying_is_resumed(
    sessions: Sessions, server: MessagesServer, open_tools: OpenTools
) -> None:
    server.script(fault("spend_limit"), on=Place.BATCHES)
    window_id, tools = filled_window(sessions), open_tools(batch_gather_s=0, batch_poll_s=0.1)
    with sessions.begin() as session:
        session.execute(text("UPDATE report_windows SET deadline_at = now() + interval '1 hour'"))
    assert write_report(window_id, tools).state is WindowState.PENDING
    assert [tend_batches(tools).submitted for _ in range(2)] == [0, 0]
    assert len(server.requests) == 1
    with sessions() as session:
        assert [row.state for row in attempts(session)] == [AttemptState.QUEUED]
    resume_buying(sessions, by="anna")
    assert tend_batches(tools) == Tended(submitted=1)
