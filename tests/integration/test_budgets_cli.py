"""``gistline budgets`` and ``gistline costs holds``: caps set and listed, holds cleared up, both audited."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from sqlalchemy import text

from gistline.cli.main import run
from gistline.flows.write_report import write_report
from gistline.simulator.messages_api import MessagesServer, Reply
from gistline.storage.session import Sessions
from tests.support.billing import OpenTools, attempts, filled_window

USAGE = {"input_tokens": 1000, "output_tokens": 100}


def test_the_command_line_sets_lists_and_clears_up(
    sessions: Sessions,
    server: MessagesServer,
    open_tools: OpenTools,
    database_url: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = ["--set", f"database.url={database_url}", "--set", "redis.url=redis://127.0.0.1:1/0"]

    def answer(*arguments: str, code: int = 0) -> str:
        assert run([*asked, *arguments]) == code
        out = capsys.readouterr()
        return out.out + out.err

    assert "nothing caps what reports cost" in answer("budgets", "list")
    server.script(Reply(status=500), Reply(usage=USAGE))
    tools = open_tools()
    window_id = filled_window(sessions)
    write_report(window_id, tools)
    write_report(window_id, tools)
    with sessions() as session:
        lost = attempts(session)[0].promised_usd
    said = answer("budgets", "set", "--line", "line-1", "--per", "day", "$0.25")
    assert "line line-1 per day: $0.25, of which $0.00015 is spent and $" in said
    answer("budgets", "set", "--site", "--per", "month", "40")
    site, line = json.loads(answer("budgets", "list", "--json"))
    assert (site["scope_kind"], site["cap_usd"], line["settled_usd"]) == ("site", "40", "0.00015")
    assert Decimal(line["held_usd"]) == lost

    (hold,) = json.loads(answer("costs", "holds", "list", "--json"))
    assert (hold["state"], hold["call"], Decimal(hold["usd"])) == ("unknown", "report", lost)
    assert "attempts without an answer: 'gistline costs holds list'" in answer("costs")
    assert "reason" in answer("costs", "holds", "release", str(hold["attempt_id"]), code=2)
    answer("costs", "holds", "settle", str(hold["attempt_id"]), "--usd", "0.0002", "--reason", "usage page")
    assert answer("costs", "holds", "list").strip() == "Nothing is held."
    costs = json.loads(answer("costs", "--json"))
    assert (costs["total"]["billed_usd"], costs["held_usd"]) == ("0.00035", "0")
    assert costs["budgets"][1]["left_usd"] == "0.24965"

    answer("budgets", "remove", "--line", "line-1", "--per", "day")
    assert "line-1" not in answer("budgets", "list")
    assert "There is no line 'line-7'" in answer("budgets", "set", "--line", "line-7", "--per", "day", "1", code=2)
    assert "Name one of" in answer("budgets", "set", "--per", "day", "1", code=2)
    assert "'five' is no amount" in answer("budgets", "set", "--site", "--per", "day", "five", code=2)
    with sessions() as session:
        actions = session.scalars(text("SELECT action FROM audit_log ORDER BY id")).all()
    assert actions == ["budget.set", "budget.set", "hold.settle", "budget.remove"]
