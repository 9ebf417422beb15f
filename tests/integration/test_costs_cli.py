"""``gistline costs``: savings that add up and other models' prices, over reports that the twin was paid for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from gistline.cli.main import run
from gistline.costs.pricing import price_usage
from gistline.dispatch import NullDispatcher
from gistline.domain import TokenUsage
from gistline.flows.close_windows import close_now
from gistline.flows.report_tools import open_report_tools
from gistline.flows.write_report import write_report
from gistline.settings import DatabaseSettings, ReportSettings, Settings
from gistline.simulator.messages_api import MessagesServer, Reply, fault
from gistline.storage.session import Sessions, close_database, open_database
from tests.support.reporting import add_frame, draft_text

Answer = Callable[..., str]
PAID = {"input_tokens": 1000, "output_tokens": 100}


@pytest.fixture
def sessions(database_url: str, clean_settings: object) -> Iterator[Sessions]:
    made = open_database(DatabaseSettings(url=SecretStr(database_url)))
    yield made
    close_database(made)


@pytest.fixture
def answer(database_url: str, capsys: pytest.CaptureFixture[str]) -> Answer:
    asked = ["--set", f"database.url={database_url}", "--set", "redis.url=redis://127.0.0.1:1/0"]

    def ask(*arguments: str, code: int = 0) -> str:
        assert run([*asked, *arguments]) == code
        shown = capsys.readouterr()
        return shown.err if code else shown.out

    return ask


def write(sessions: Sessions, *replies: Reply, line: str = "line-1", labels: tuple[str, ...] = ("open",)) -> None:
    """Write one window's report, or fail at it, with as many attempts as there are replies."""
    moment = datetime.now(UTC) - timedelta(seconds=1)
    with sessions.begin() as session:
        for place in range(3):
            add_frame(session, finished_at=moment, camera=f"cam-{line}", line=line, labels=labels if place else ())
    settings = ReportSettings(window_minutes=1440, retry_backoff_s=0, prompt_cache="off")
    (*_, window) = close_now(sessions, NullDispatcher(), settings, line).closed
    with MessagesServer(replies) as server:
        asked = settings.model_copy(update={"base_url": server.url})
        tools = open_report_tools(Settings(anthropic_api_key=SecretStr("any"), reports=asked), sessions)
        for _ in replies or (None,):
            write_report(window, tools)
        tools.writer.close()


def savings(answer: Answer) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer("costs", "--savings", "--json"))
    return found


def test_the_steps_add_up_to_what_the_ledger_says(sessions: Sessions, answer: Answer) -> None:
    write(sessions, fault("refusal", usage=PAID))
    write(sessions, fault("overloaded"), Reply(text=draft_text("Fine")), line="line-2", labels=("open", "spur"))
    write(sessions, line="line-3", labels=())
    found = savings(answer)
    costs = json.loads(answer("costs", "--json"))["total"]
    total = found["total"]
    assert total["reports"] == 3  # the first one was declined and is written by rule; its call is paid all the same
    exact = Decimal(costs["image_usd"]) - Decimal(costs["billed_usd"])
    assert abs(Decimal(total["saving_usd"]) - exact) <= Decimal("0.0000015")
    assert sum(Decimal(step["usd"]) for step in total["steps"]) == Decimal(total["saving_usd"])
    steps = {step["step"]: Decimal(step["usd"]) for step in total["steps"]}
    assert steps["paid"] == -Decimal("0.000150")
    assert steps["rows"] > 0
    assert steps["packed"] == steps["cached"] == steps["batched"] == 0  # all fitted, nothing cached, nothing batched
    assert [row["line"] for row in found["rows"]] == ["line-1", "line-2", "line-3"]
    shown = answer("costs", "--savings")
    assert f"{Decimal(total['saving_usd']):.6f}".lstrip("-") in shown
    assert "our retries, repairs and lost answers" in shown
    assert "as a batch" in shown


def test_reports_of_before_keep_their_saving_as_one_sum(sessions: Sessions, answer: Answer) -> None:
    write(sessions, Reply(text=draft_text("Fine"), usage=PAID))
    before = Decimal(savings(answer)["total"]["saving_usd"])
    with sessions.begin() as session:
        session.execute(text("UPDATE reports SET levels = NULL"))
    total = savings(answer)["total"]
    assert (total["reports"], total["undivided_reports"]) == (0, 1)
    steps = {step["step"]: Decimal(step["usd"]) for step in total["steps"]}
    assert abs(steps.pop("undivided") - before) <= Decimal("0.000001")
    assert set(steps.values()) == {Decimal(0)}
    assert "written before" in answer("costs", "--savings")


def test_another_model_s_price_for_the_same_time(sessions: Sessions, answer: Answer) -> None:
    write(sessions, fault("timeout_after_billing", hang_s=0.01), Reply(text=draft_text("Fine"), usage=PAID))
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    asked = ("costs", "reprice", "--from", today, "--to", today, "--model")
    found = json.loads(answer(*asked, "claude-opus-5-5", "--json"))
    assert Decimal(found["usd"]) == Decimal("0.00015")
    assert (
        Decimal(found["repriced_usd"])
        == price_usage(TokenUsage(1000, 100), "claude-opus-5-5", at=datetime.now(UTC)).usd
    )
    assert found["unknown"] == 1
    assert found["rows"][0]["token_ratio"]["is"] == "assumed: the same generation of tokenizers"
    shown = answer(*asked, "claude-haiku-4-5", "--token-ratio", "0.8")
    assert "0.800 tokens in, 0.800 out; as you stated" in shown
    assert "1 attempts without an answer are not priced" in shown
    assert "No paid calls" in answer(
        "costs", "reprice", "--from", "2020-01-01", "--to", "2020-01-31", "--model", "claude-opus-5-5"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "claude-9", "--from", "2026-11-01", "--to", "2026-11-30"), "claude-haiku-5-5"),
        (("--model", "claude-opus-5", "--from", "2026-11-30", "--to", "2026-11-01"), "before the first"),
        (("--model", "claude-opus-5", "--from", "2026-11-01", "--to", "2026-11-02", "--token-ratio", "x"), "'x'"),
        (("--model", "claude-opus-5", "--from", "yesterday", "--to", "2026-11-02"), "yesterday"),
        (("--model", "claude-opus-5", "--from", "2026-11-01", "--to", "9999-12-31"), "beyond the year"),
    ],
)
def test_what_cannot_be_priced_is_refused(arguments: tuple[str, ...], said: str, answer: Answer) -> None:
    assert said in " ".join(answer("costs", "reprice", *arguments, code=2).split())
