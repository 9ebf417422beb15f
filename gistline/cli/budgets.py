"""``gistline budgets``: how many dollars may be spent on what, in a day or a month."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from decimal import Decimal, InvalidOperation
from typing import Any

import click
from rich.table import Table

from gistline.cli.actor import actor
from gistline.cli.amounts import exact
from gistline.cli.database import database
from gistline.cli.output import console, print_json
from gistline.domain_money import BudgetPeriod, BudgetScope
from gistline.flows import budgets as flows
from gistline.storage.budget_book import BudgetKey
from gistline.storage.budgets import BudgetState, budget_states
from gistline.storage.session import transaction


class Dollars(click.ParamType[Decimal]):
    """An exact amount: ``5``, ``0.25``, ``$12.50``."""

    name = "dollars"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        """Read it as a decimal, never as a float."""
        try:
            return value if isinstance(value, Decimal) else Decimal(str(value).removeprefix("$"))
        except InvalidOperation:
            self.fail(f"{value!r} is no amount in dollars, such as 5 or 0.25.", param, ctx)


@click.group("budgets")
def command() -> None:
    """Ceilings in dollars on what reports may cost, by site, line or camera and by day or month (UTC).

    Before each call the dearest that it can come to is held; what does not fit waits. Nothing that is only simulated
    counts.
    """


def _names(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that name a budget."""
    for option in (
        click.option(
            "--per",
            type=click.Choice([period.value for period in BudgetPeriod]),
            required=True,
            help="How long it lasts.",
        ),
        click.option("--camera", help="Only this camera's share: a report is shared by the cameras' findings."),
        click.option("--line", help="Only this line's reports."),
        click.option("--site", is_flag=True, help="All reports."),
    ):
        function = option(function)
    return function


@command.command("set")
@_names
@click.argument("cap", type=Dollars())
@click.pass_context
def set_command(
    context: click.Context, /, *, site: bool, line: str | None, camera: str | None, per: str, cap: Decimal
) -> None:
    """Set a cap of so many dollars, from now on. What its period has spent and holds already counts.

    Reports that wait for money are tried again.
    """
    key = _key(site, line, camera, per)
    with database(context) as opened:
        state = flows.set_budget(opened.sessions, key, cap, by=actor())
    console().print(f"{state.name}: {_sentence(state)}", markup=False)


@command.command("remove")
@_names
@click.pass_context
def remove(context: click.Context, /, *, site: bool, line: str | None, camera: str | None, per: str) -> None:
    """Remove a cap, from now on. What it has settled and holds stays in the database."""
    key = _key(site, line, camera, per)
    with database(context) as opened:
        flows.remove_budget(opened.sessions, key, by=actor())
    console().print("Removed.")


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; amounts are decimal texts.")
@click.pass_context
def list_command(context: click.Context, /, *, as_json: bool) -> None:
    """Every budget in force and its current period: spent, held, left."""
    with database(context) as opened, transaction(opened.sessions) as session:
        found = budget_states(session)
    if as_json:
        print_json([budget_dict(state) for state in found])
    elif not found:
        console().print(
            "No budgets: nothing caps what reports cost. 'gistline budgets set --site --per day 5' sets one."
        )
    else:
        console().print(budget_table(found))


def budget_table(found: list[BudgetState]) -> Table:
    """Budgets as people read them."""
    table = Table("budget", "until (UTC)", "cap $", "spent", "held", "left", box=None)
    for column in table.columns[2:]:
        column.justify = "right"
    for state in found:
        amounts = (state.cap_usd, state.settled_usd, state.held_usd, state.left_usd)
        over = " [bold red]overdrawn[/]" if state.overdrawn_usd else ""
        table.add_row(
            f"{state.name}{over}", f"{state.period_end:%Y-%m-%d %H:%M}", *(str(exact(one)) for one in amounts)
        )
    return table


def budget_dict(state: BudgetState) -> dict[str, Any]:
    """A budget as JSON."""
    values = asdict(state) | {"left_usd": state.left_usd, "period_end": state.period_end}
    return {key: exact(value) if isinstance(value, Decimal) else value for key, value in values.items()}


def _key(site: bool, line: str | None, camera: str | None, per: str) -> BudgetKey:
    given = [
        (scope, name or "")
        for scope, name in ((BudgetScope.SITE, site), (BudgetScope.LINE, line), (BudgetScope.CAMERA, camera))
        if name
    ]
    if len(given) != 1:
        raise click.UsageError("Name one of --site, --line LINE and --camera CAMERA.")
    scope, name = given[0]
    return BudgetKey(scope, "" if scope is BudgetScope.SITE else str(name), BudgetPeriod(per))


def _sentence(state: BudgetState) -> str:
    sentence = (
        f"${exact(state.cap_usd)}, of which ${exact(state.settled_usd)} is spent and ${exact(state.held_usd)} held; "
        f"${exact(state.left_usd)} left until {state.period_end:%Y-%m-%d %H:%M} UTC."
    )
    return (
        f"{sentence} That is below what is spent: nothing more is bought until then."
        if state.overdrawn_usd
        else sentence
    )
