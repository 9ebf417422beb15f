"""``gistline costs``: what the reports cost, beside what sending the frames' images would have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import click

from gistline.cli.costs_savings import show_savings
from gistline.cli.database import database
from gistline.cli.lazy import Entry, LazyGroup
from gistline.cli.output import console, print_json
from gistline.storage.dashboards import CostRow, Costs, cost_rows, total_costs
from gistline.storage.session import transaction

COMMANDS = {
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
    less both.
    """
    if context.invoked_subcommand is not None:
        return
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    since = today - timedelta(days=days - 1)
    if savings:
        with database(context) as opened, transaction(opened.sessions) as session:
            show_savings(session, since, as_json=as_json)
        return
    rows = _read(context, since)
    if as_json:
        total = _as_dict(total_costs(rows))
        print_json({"rows": [_row_dict(row) for row in rows], "total": total})
    else:
        _print_text(rows)


def _read(context: click.Context, since: datetime) -> list[CostRow]:
    with database(context) as opened, transaction(opened.sessions) as session:
        return cost_rows(session, since=since)


def _row_dict(row: CostRow) -> dict[str, Any]:
    return {"day": row.day.isoformat(), "model": row.model, "line": row.line, **_as_dict(row.costs)}


def _as_dict(costs: Costs) -> dict[str, Any]:
    values = {field.name: getattr(costs, field.name) for field in fields(costs)}
    return {name: exact(value) for name, value in {**values, "saving_usd": costs.saving_usd}.items()}


def exact(value: int | Decimal) -> int | str:
    """A count as it is, an amount as plain decimal text without trailing zeros: never rounded."""
    if isinstance(value, int):
        return value
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") or "0" if "." in text else text


def _print_text(rows: Sequence[CostRow]) -> None:
    if not rows:
        console().print("No report windows in this time.")
        return
    for row in rows:
        _print_block(f"{row.day} {row.line} {row.model}", row.costs)
    _print_block("All", total_costs(list(rows)))


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
