"""``gistline ledger``: do the books agree?"""

from __future__ import annotations

from dataclasses import asdict

import click
from rich.table import Table

from gistline.cli.database import database
from gistline.cli.output import FAILED, OK, console, print_json
from gistline.storage.frame_ledger import LEDGER_SQL, FrameLedger, read_frame_ledger
from gistline.storage.session import transaction


@click.group("ledger")
def command() -> None:
    """Do the books agree? Proofs by SQL, read at one moment."""


@command.command("frames")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--sql", "as_sql", is_flag=True, help="Print the statement that counts, and do nothing.")
@click.pass_context
def frames_command(context: click.Context, /, *, as_json: bool, as_sql: bool) -> int:
    """Every accepted frame is inspected, failed, expired or in flight, with one verdict at its end.

    Exit code 1 when a frame is missing or anything is counted twice.
    """
    if as_sql:
        click.echo(LEDGER_SQL.strip())
        return OK
    with database(context) as opened, transaction(opened.sessions) as session:
        ledger = read_frame_ledger(session)
    if as_json:
        print_json(asdict(ledger) | {"missing": ledger.missing, "faults": ledger.faults})
    else:
        _print(ledger)
    return FAILED if ledger.faults else OK


def _print(ledger: FrameLedger) -> None:
    table = Table("", "frames", box=None)
    table.columns[1].justify = "right"
    table.add_row("accepted", f"{ledger.accepted:,}")
    for name in ("inspected", "failed", "expired", "pending", "running"):
        table.add_row(f"- {name}", f"{getattr(ledger, name):,}")
    if ledger.retired:
        table.add_row("  of these retired", f"{ledger.retired:,}")
    table.add_row("= missing", f"{ledger.missing:,}")
    shown = console()
    shown.print(table)
    for name, count in ledger.faults.items():
        shown.print(f"[bold red]{name.replace('_', ' ')}: {count:,}[/]")
    if not ledger.faults:
        shown.print("Nothing is missing, nothing is doubled.")
