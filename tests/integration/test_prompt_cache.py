"""The prompt's fixed part is cached where it pays: the real SDK against the twin, which keeps a cache and books."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text

from gistline.cli.main import run
from gistline.costs.pricing import price_usage
from gistline.domain import TokenUsage
from gistline.domain_money import BudgetPeriod, BudgetScope
from gistline.flows.budgets import set_budget
from gistline.flows.buy_answer import most_usd
from gistline.flows.report_tools import ReportTools
from gistline.flows.tend_batches import tend_batches
from gistline.flows.write_report import write_report
from gistline.simulator.messages_api import MessagesServer
from gistline.storage.budget_book import BudgetKey
from gistline.storage.budgets import budget_states
from gistline.storage.savings import paid_call
from gistline.storage.session import Sessions
from gistline.storage.tables import AttemptState, LlmAttempt, Processing, WindowState
from tests.support.billing import OpenTools, attempts
from tests.support.reporting import sent_request
from tests.support.writing import calls_of, window_of

SITE = BudgetKey(BudgetScope.SITE, "", BudgetPeriod.MONTH)
MODEL = "claude-haiku-5-5"
FIXED = 1_047
"""What the twin counts of the English system prompt and the answer's schema for that model."""


def write(sessions: Sessions, tools: ReportTools, line: str) -> None:
    """Write the report on a window of this line."""
    window_id = window_of(sessions, {f"cam-{line}": ("open", "spur")}, line=line)
    assert write_report(window_id, tools).state is WindowState.WRITTEN


def caches(server: MessagesServer) -> list[dict[str, str] | None]:
    """How each call was marked."""
    bodies = [request.body for request in server.requests if request.path == "/v1/messages"]
    return [None if isinstance(body["system"], str) else body["system"][0]["cache_control"] for body in bodies]


def kept(sessions: Sessions) -> list[LlmAttempt]:
    with sessions() as session:
        return attempts(session)


def books_agree(sessions: Sessions, server: MessagesServer) -> None:
    """Ledger and budget say what the provider billed, kind by kind of token and to the last digit."""
    rows = [row for row in kept(sessions) if row.state is AttemptState.PAID]
    billed = {entry.request_id: entry for entry in server.twin.books.entries if entry.billed}
    assert {str(row.request_id): (paid_call(row).usage, row.usd) for row in rows} == {
        key: (entry.usage, entry.usd) for key, entry in billed.items()
    }
    assert all((row.usd or 0) <= (row.promised_usd or 0) for row in rows)
    with sessions() as session:
        for state in budget_states(session):
            assert (state.settled_usd, state.held_usd) == (server.twin.books.usd, Decimal(0))


def age(sessions: Sessions, minutes: int) -> None:
    """Let the calls have been made earlier."""
    with sessions.begin() as session:
        session.execute(text("UPDATE llm_attempts SET sent_at = sent_at - make_interval(mins => :m)"), {"m": minutes})


def test_the_second_call_in_five_minutes_writes_and_the_third_reads(
    sessions: Sessions, server: MessagesServer, open_tools: OpenTools
) -> None:
    set_budget(sessions, SITE, Decimal(1))
    tools = open_tools(count_timeout_s=0)
    for line in ("line-1", "line-2", "line-3"):
        write(sessions, tools, line)
    assert caches(server) == [None, {"type": "ephemeral"}, {"type": "ephemeral"}]
    usages = [paid_call(row).usage for row in kept(sessions)]
    assert [(usage.cache_write_5m_tokens, usage.cache_read_tokens) for usage in usages] == [
        (0, 0),
        (FIXED, 0),
        (0, FIXED),
    ]
    assert usages[0].input_tokens == usages[1].total_input_tokens == usages[2].total_input_tokens
    saved = price_usage(TokenUsage(FIXED), MODEL, at=datetime.now(UTC)).usd * Decimal("0.9")
    assert kept(sessions)[0].usd == (kept(sessions)[2].usd or 0) + saved
    books_agree(sessions, server)


def test_a_window_every_quarter_of_an_hour_is_cached_for_the_hour(
    sessions: Sessions, server: MessagesServer, open_tools: OpenTools
) -> None:
    tools = open_tools(count_timeout_s=0)
    for line in ("line-1", "line-2", "line-3", "line-4"):
        write(sessions, tools, line)
        age(sessions, 15)
        server.twin.clock.advance(15 * 60)
    hour = {"type": "ephemeral", "ttl": "1h"}
    assert caches(server) == [None, None, hour, hour]
    usages = [paid_call(row).usage for row in kept(sessions)]
    assert [usage.cache_write_1h_tokens for usage in usages] == [0, 0, FIXED, 0]
    assert usages[3].cache_read_tokens == FIXED
    books_agree(sessions, server)


def test_parts_of_one_window_share_what_the_first_one_wrote(
    sessions: Sessions, server: MessagesServer, open_tools: OpenTools
) -> None:
    window_id = window_of(sessions, {f"cam-{place}": ("open", "spur", "pin-hole") for place in range(6)}, each=16)
    tools = open_tools(count_timeout_s=0, token_budget=30_000, call_tokens=8_500, repair_tokens=0)
    assert write_report(window_id, tools).state is WindowState.WRITTEN
    assert calls_of(server)[:2] == ["part", "part"]
    first, *others = [paid_call(row).usage for row in kept(sessions)]
    assert (first.cache_write_5m_tokens, first.cache_read_tokens) == (FIXED, 0)
    assert len(others) >= 2
    assert {(one.cache_write_5m_tokens, one.cache_read_tokens) for one in others} == {(0, FIXED)}
    books_agree(sessions, server)


@pytest.mark.parametrize(
    "reports",
    [
        pytest.param({"model": "claude-haiku-4-5"}, id="shorter than the model's minimum"),
        pytest.param({"prompt_cache": "off"}, id="off"),
    ],
)
def test_what_does_not_pay_is_not_marked(
    reports: dict[str, Any], sessions: Sessions, server: MessagesServer, open_tools: OpenTools
) -> None:
    tools = open_tools(count_timeout_s=0, **reports)
    for line in ("line-1", "line-2", "line-3"):
        write(sessions, tools, line)
    assert caches(server) == [None, None, None]
    assert {paid_call(row).usage.cache_write_5m_tokens for row in kept(sessions)} == {0}
    books_agree(sessions, server)


def test_other_languages_and_refused_calls_do_not_count(
    sessions: Sessions, server: MessagesServer, open_tools: OpenTools
) -> None:
    tools = open_tools(count_timeout_s=0, repair_tokens=0, languages={"line-2": "zh"})
    write(sessions, tools, "line-1")
    write(sessions, tools, "line-2")
    with sessions.begin() as session:
        session.execute(text("UPDATE llm_attempts SET state = 'refused' WHERE id = (SELECT min(id) FROM llm_attempts)"))
    write(sessions, tools, "line-3")
    assert caches(server) == [None, None, None]


def test_no_report_is_refused_for_the_price_of_a_cache(
    sessions: Sessions, server: MessagesServer, open_tools: OpenTools
) -> None:
    tools = open_tools(count_timeout_s=0)
    write(sessions, tools, "line-1")
    (first,) = kept(sessions)
    request = sent_request(server.requests[0].body)
    plain = most_usd(request, MODEL, datetime.now(UTC))
    assert first.promised_usd == plain
    set_budget(sessions, SITE, (first.usd or Decimal(0)) + plain)  # no room for a dearer hold
    write(sessions, tools, "line-2")
    assert caches(server) == [None, None]
    assert kept(sessions)[1].promised_usd == plain
    set_budget(sessions, SITE, Decimal(1))
    write(sessions, tools, "line-3")
    assert caches(server)[2] == {"type": "ephemeral"}
    assert (kept(sessions)[2].promised_usd or 0) > plain
    books_agree(sessions, server)


def test_the_command_shows_the_arithmetic(
    sessions: Sessions, server: MessagesServer, open_tools: OpenTools, database_url: str, capsys: Any
) -> None:
    asked = ["--set", f"database.url={database_url}", "--set", "redis.url=redis://127.0.0.1:1/0", "costs", "caching"]
    tools = open_tools(count_timeout_s=0)
    write(sessions, tools, "line-1")
    assert run([*asked, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["expected_calls"] == {"5m": 2, "1h": 2}
    assert (found["chosen"], found["minimum"], found["reason"]) == ("5m", 512, "pays")
    short = found["options"][0]
    tokens = Decimal(found["tokens"]) / 1_000_000
    assert Decimal(short["uncached_usd"]) == 2 * tokens * Decimal("0.10")
    assert Decimal(short["usd"]) == tokens * (Decimal("0.125") + Decimal("0.01"))
    assert run([*asked, "--calls-5m", "1"]) == 0
    assert "1 calls within 5 minutes and 2 within an hour are too few" in " ".join(capsys.readouterr().out.split())
    assert run([*asked, "--model", "claude-haiku-4-5"]) == 0
    assert "shorter than the model's minimum" in capsys.readouterr().out
    assert run([*asked, "--model", "claude-9"]) == 2
    assert "claude-haiku-5-5" in capsys.readouterr().err


def test_a_batch_is_not_cached_and_is_repriced_as_a_batch(
    sessions: Sessions, server: MessagesServer, open_tools: OpenTools, database_url: str, capsys: Any
) -> None:
    tools = open_tools(count_timeout_s=0, batch_gather_s=0, batch_poll_s=0.1)
    write(sessions, tools, "line-1")
    window_id = window_of(sessions, {"cam-2": ("open",)}, line="line-2")
    with sessions.begin() as session:
        session.execute(
            text("UPDATE report_windows SET deadline_at = now() + interval '1 hour' WHERE state = 'pending'")
        )
    assert write_report(window_id, tools).state is WindowState.PENDING
    tend_batches(tools)
    server.twin.clock.advance(3600)
    with sessions.begin() as session:
        session.execute(text("UPDATE llm_batches SET looked_at = NULL"))
    tend_batches(tools)
    direct, batched = kept(sessions)
    assert (batched.processing, batched.state) == (Processing.BATCH, AttemptState.PAID)
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    asked = ["--set", f"database.url={database_url}", "--set", "redis.url=redis://127.0.0.1:1/0", "costs", "reprice"]
    assert run([*asked, "--from", today, "--to", today, "--model", MODEL, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(row["calls"], row["batched"]) for row in found["rows"]] == [(2, 1)]
    assert Decimal(found["usd"]) == Decimal(found["repriced_usd"]) == server.twin.books.usd
    assert batched.usd == price_usage(paid_call(batched).usage, MODEL, at=datetime.now(UTC)).usd / 2
    assert caches(server) == [None]
    assert paid_call(batched).usage.cache_write_5m_tokens == 0
    assert (direct.usd or 0) > (batched.usd or 0)
