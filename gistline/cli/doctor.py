"""``gistline doctor``: what this machine has, what is missing, and the cure."""

from __future__ import annotations

from dataclasses import asdict

import click
from rich.markup import escape

from gistline.cli import hardware_probes
from gistline.cli.checks import Check, State
from gistline.cli.invocation import settings_of
from gistline.cli.output import console, errors, print_json
from gistline.cli.probes import examine
from gistline.flows.compare_precisions import compare_precisions

MARKS = {State.OK: "[green]ok[/]     ", State.ABSENT: "[dim]absent[/] ", State.MISSING: "[bold red]missing[/]"}


@click.command("doctor")
@click.option(
    "--bench", is_flag=True, help="First time FP32 against INT8 on this CPU, about five seconds, and keep it."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(context: click.Context, /, *, bench: bool, as_json: bool) -> None:
    """Look at hardware, runtimes, servers and data files; exits 1 when something needed is missing.

    'absent' marks what Gistline does without, such as a GPU.
    """
    settings = settings_of(context)
    if bench:
        with errors().status("Timing FP32 against INT8"):
            compare_precisions(settings)
    with errors().status("Looking"):
        checks = list(examine(settings))
    healthy = all(check.state is not State.MISSING for check in checks)
    if as_json:
        facts = hardware_probes.as_json(settings)
        print_json({"healthy": healthy, "checks": [asdict(check) for check in checks], "hardware": facts})
    else:
        _print(checks)
    context.exit(0 if healthy else 1)


def _print(checks: list[Check]) -> None:
    shown = console()
    for check in checks:
        shown.print(f"{MARKS[check.state]} [bold]{check.name:<9}[/] {escape(check.found)}")
        if check.cure and check.state is not State.OK:
            shown.print(f"                  {escape(check.cure)}")
