"""``gistline costs``: what the reports cost, beside what sending the frames' images would have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import click

from gistline.cli.amounts import exact
from gistline.cli.budgets import budget_dict, budget_table
from gistline.cli.costs_savings import show_savings
from gistline.cli.database import database
from gistline.cli.lazy import Entry, LazyGroup
from gistline.cli.output import console, print_json
from gistline.storage.budget_book import OpenHold, open_holds
from gistline.storage.budgets import BudgetState, budget_states
from gistline.storage.buying_stops import stop_in_force
from gistline.storage.dashboards import CostRow, Costs, cost_rows, total_costs
from gistline.storage.session import transaction
from gistline.storage.tables import AttemptState

COMMANDS = {
    "caching": Entry("gistline.cli.costs_caching", "Whether the prompt's fixed part is cached, with the arithmetic."),
    "holds": Entry("gistline.cli.costs_holds", "Attempts that may have cost something: list, settle, release."),
    "resume": Entry("gistline.cli.costs_resume", "Buy again before the pause for the provider's spend limit is over."),
    "reprice": Entry("gistline.cli.costs_reprice", "What a time would have cost with another model."),
}


@click.group("costs", cls=LazyGroup, table=COMMANDS, invoke_without_command=True)
@click.option("--days", type=click.IntRange(1, 3650), default=30, show_default=True, help="Days back, today included.")
@click.option("--savings", is_flag=True, help="What was saved against the images, step by step.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; amounts are decimal texts.")
@click.pass_context
def command(context: click.Context, /, *, days: int, savings: bool, as_json: bool) -> None:
    """What the reports cost by day (UTC), model and line, beside the cheapest way to send the same frames as images.

    Billed is real money; simulated is what the offline writer's calls would have cost. The saving is the image plan
    less both. Below stand the budgets with what they have spent and hold.
    """
    if context.invoked_subcommand is not None:
        return
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    since = today - timedelta(days=days - 1)
    if savings:
        with database(context) as opened, transaction(opened.sessions) as session:
            show_savings(session, since, as_json=as_json)
        return
    with database(context) as opened, transaction(opened.sessions) as session:
        rows = cost_rows(session, since=since)
        budgets, held, stop = budget_states(session), open_holds(session), stop_in_force(session)
    if as_json:
        print_json(
            {
                "rows": [_row_dict(row) for row in rows],
                "total": _as_dict(total_costs(rows)),
                "budgets": [budget_dict(state) for state in budgets],
                "stopped_until": None if stop is None else stop.until.isoformat(),
                "held_usd": exact(sum((hold.usd for hold in held), Decimal(0))),
            }
        )
    else:
        _print_text(rows)
        _print_budgets(budgets, held)
        if stop is not None:
            console().print(
                f"Nothing is bought until {stop.until:%Y-%m-%d %H:%M} UTC ({stop.code}): 'gistline costs resume'.",
                style="yellow",
                markup=False,
            )


def _row_dict(row: CostRow) -> dict[str, Any]:
    return {"day": row.day.isoformat(), "model": row.model, "line": row.line, **_as_dict(row.costs)}


def _as_dict(costs: Costs) -> dict[str, Any]:
    values = {field.name: getattr(costs, field.name) for field in fields(costs)}
    return {name: exact(value) for name, value in {**values, "saving_usd": costs.saving_usd}.items()}


def _print_text(rows: Sequence[CostRow]) -> None:
    if not rows:
        console().print("No report windows in this time.")
        return
    for row in rows:
        _print_block(f"{row.day} {row.line} {row.model}", row.costs)
    _print_block("All", total_costs(list(rows)))


def _print_budgets(budgets: list[BudgetState], held: Sequence[OpenHold]) -> None:
    shown = console()
    if budgets:
        shown.print(budget_table(budgets))
    unknown = [hold for hold in held if hold.state is AttemptState.UNKNOWN]
    if unknown:
        usd = exact(sum((hold.usd for hold in unknown), Decimal(0)))
        shown.print(
            f"Up to ${usd} is held for {len(unknown)} attempts without an answer: 'gistline costs holds list'.",
            style="yellow",
            markup=False,
        )


def _print_block(title: str, costs: Costs) -> None:
    shown = console()
    shown.print(title, style="bold", markup=False)
    counts = f"{costs.reports} reports on {costs.frames} frames with {costs.findings} findings"
    shown.print(f"  {counts}; {costs.input_tokens} tokens in, {costs.output_tokens} out", markup=False)
    shown.print(f"  billed ${exact(costs.billed_usd)}, simulated ${exact(costs.simulated_usd)}", markup=False)
    images = f"as images ${exact(costs.image_usd)} ({costs.image_tokens} tokens)"
    shown.print(f"  {images}, saving ${exact(costs.saving_usd)}", markup=False)
    if costs.unknown:
        shown.print(f"  {costs.unknown} attempts without an answer, which may have been billed", style="yellow")
