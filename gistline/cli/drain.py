"""``gistline drain``: take workers out without losing anything."""

from __future__ import annotations

import time

import click

from gistline.cli.actor import actor
from gistline.cli.database import database
from gistline.cli.output import console, print_json
from gistline.errors import StorageUnavailable
from gistline.flows.drain_workers import drain_workers, still_alive

POLL_S = 0.2


@click.command("drain")
@click.argument("workers", nargs=-1)
@click.option("--all", "everybody", is_flag=True, help="Every live detect and report worker.")
@click.option(
    "--wait", "wait_s", type=click.FloatRange(0, 3600), default=0.0, metavar="SECONDS", help="Until they left."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(
    context: click.Context, /, *, workers: tuple[str, ...], everybody: bool, wait_s: float, as_json: bool
) -> None:
    """Let WORKERS, by the names of their heartbeats, finish what they hold, give back the rest and exit with code 0.

    'gistline up' does not start a drained worker again; a worker joins by starting.
    """
    if bool(workers) == everybody:
        raise click.UsageError("Name workers, or give --all.")
    with database(context) as opened:
        asked = drain_workers(opened.sessions, workers, by=actor())
        deadline = time.monotonic() + wait_s
        left = asked
        while wait_s and (left := still_alive(opened.sessions, asked)) and time.monotonic() < deadline:
            time.sleep(POLL_S)
    if as_json:
        print_json({"asked": asked})
    else:
        console().print("\n".join(asked) or "No worker is alive.", markup=False)
    if wait_s and left:
        raise StorageUnavailable(f"Still at work after {wait_s:g} s: {', '.join(left)}.", cure="Wait longer.")
