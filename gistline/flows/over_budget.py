"""What becomes of a report that a budget in dollars refuses: a cheaper form, or waiting for the money."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from gistline.costs.ceiling import affordable_input
from gistline.errors import BudgetExhausted
from gistline.flows.report_tools import ReportTools
from gistline.reports.offline import OfflineWriter
from gistline.settings import LEAST_TOKEN_BUDGET, ReportSettings


def cheaper_forms(tools: ReportTools, refused: BudgetExhausted) -> Iterator[ReportTools]:
    """The tools for the cheaper forms that the settings name, dearest first; none where the report waits instead."""
    form = tools.settings.over_budget
    if form == "offline" and not tools.writer.simulated:
        yield replace(tools, writer=OfflineWriter(tools.settings))
    if form == "smaller":
        for settings in _smaller(tools.settings, refused):
            yield replace(tools, settings=settings)


def runs_at(tools: ReportTools, refused: BudgetExhausted) -> datetime:
    """When a refused report is tried again: at the budget's next period, or soon where what others hold may come back.

    Raising the cap, removing the budget or clearing up a hold makes it due at once.
    """
    return refused.runs_at or datetime.now(UTC) + timedelta(seconds=tools.settings.budget_recheck_s)


def note(tools: ReportTools, refused: BudgetExhausted) -> str:
    """The line under a cheaper report that says why it is one."""
    how = "Written by rule" if tools.writer.simulated else "Written from a shorter prompt"
    return f"*{how}, because the money did not reach for more. {refused.message}*"


def _smaller(settings: ReportSettings, refused: BudgetExhausted) -> Iterator[ReportSettings]:
    """Settings whose token budget what is left pays for, and half of it.

    A prompt is packed by what was learned of the model's tokens, and held for by its bytes, which are more.
    """
    tokens = affordable_input(
        settings.model,
        usd=refused.room_usd,
        output_tokens=settings.max_output_tokens,
        at=datetime.now(UTC),
        most=settings.token_budget,
    )
    for budget in (tokens, tokens // 2):
        if LEAST_TOKEN_BUDGET <= budget < settings.token_budget:
            yield settings.model_copy(update={"token_budget": budget})
