"""``gistline costs holds``: attempts that may have cost something, and what somebody found out about them."""

from __future__ import annotations

from dataclasses import asdict
from decimal import Decimal
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from gistline.cli.actor import actor
from gistline.cli.amounts import exact
from gistline.cli.budgets import Dollars
from gistline.cli.database import database
from gistline.cli.output import console, print_json
from gistline.flows import budgets as flows
from gistline.storage.budget_book import OpenHold, Reconciliation, open_holds
from gistline.storage.session import transaction

REASON = click.option("--reason", required=True, help="What shows it, such as the provider's usage page.")


@click.group("holds")
def command() -> None:
    """Attempts that may have cost something. Their money stays held until somebody knows.

    Look a request up on the provider's usage page by its time and id, then settle it at what it cost or release it.
    Wait until it is surely over: an attempt of a worker that is only held up may still be billed.
    """


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; amounts are decimal texts.")
@click.pass_context
def list_command(context: click.Context, /, *, as_json: bool) -> None:
    """What is held: sent and not yet answered, or unknown, oldest first."""
    with database(context) as opened, transaction(opened.sessions) as session:
        found = open_holds(session)
    if as_json:
        print_json([_as_dict(hold) for hold in found])
    elif not found:
        console().print("Nothing is held.")
    else:
        console().print(_table(found))


@command.command("settle")
@click.argument("attempt", type=int)
@click.option("--usd", type=Dollars(), required=True, help="What it cost.")
@REASON
@click.pass_context
def settle(context: click.Context, /, *, attempt: int, usd: Decimal, reason: str) -> None:
    """Book what an unknown attempt cost."""
    _reconcile(context, attempt, usd, reason)
    console().print(f"Attempt {attempt} is booked at ${exact(usd)}.", markup=False)


@command.command("release")
@click.argument("attempt", type=int)
@REASON
@click.pass_context
def release(context: click.Context, /, *, attempt: int, reason: str) -> None:
    """Give back what an unknown attempt holds: it cost nothing."""
    _reconcile(context, attempt, None, reason)
    console().print(f"Attempt {attempt} cost nothing; what it held is free.", markup=False)


def _reconcile(context: click.Context, attempt: int, usd: Decimal | None, reason: str) -> None:
    with database(context) as opened:
        flows.reconcile(opened.sessions, attempt, Reconciliation(usd, actor(), reason))


def _as_dict(hold: OpenHold) -> dict[str, Any]:
    return asdict(hold) | {"usd": exact(hold.usd)}


def _table(found: list[OpenHold]) -> Table:
    table = Table("attempt", "state", "sent (UTC)", "line", "call", "model", "up to $", "request", "why", box=None)
    for hold in found:
        table.add_row(
            str(hold.attempt_id),
            hold.state.value,
            f"{hold.sent_at:%Y-%m-%d %H:%M:%S}",
            escape(hold.line),
            f"{hold.call} ({hold.attempt})",
            hold.model,
            str(exact(hold.usd)),
            hold.request_id or "",
            escape(hold.error or ""),
        )
    return table
