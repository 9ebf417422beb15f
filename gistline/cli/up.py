"""``gistline up``: the whole system on this machine, until Ctrl-C."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import suppress

import click

from gistline.cli.first_person import invitation
from gistline.cli.invocation import settings_of
from gistline.cli.output import console, errors
from gistline.cli.stack import Stack, running
from gistline.errors import EngineUnavailable
from gistline.settings import Settings
from gistline.settings_report import secrets_of
from gistline.telemetry.logs import set_up_logging


@click.command("up")
@click.option("--detect-workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Detector processes.")
@click.option("--json-ready", is_flag=True, help="Print one line of JSON when everything is ready, for programs.")
@click.pass_context
def command(context: click.Context, /, *, detect_workers: int, json_ready: bool) -> None:
    """Run the API, the workers and, where the settings name none, PostgreSQL and Redis.

    Brings the tables to this version first. A process that ends by itself is started again; when an embedded server
    does, everything ends with exit code 1. Ctrl-C or SIGTERM stops everything. Logs are in the data folder.
    """
    progress = errors()
    settings = settings_of(context)
    with suppress(KeyboardInterrupt), progress.status("Starting") as status:

        def say(missing: str) -> None:
            status.update(f"Waiting for {missing}")

        tell = _teller(settings) or progress.print
        with running(settings, detect_workers=detect_workers, say=say, on_event=tell) as stack:
            status.stop()
            _announce(stack, json_ready=json_ready)
            stack.supervisor.wait()
            raise EngineUnavailable("The supervisor has stopped.", cure=f"See {stack.settings.data_dir / 'logs'}.")
    progress.print("Stopped.")


def _teller(settings: Settings) -> Callable[[str], None] | None:
    """Where restarts are told when logs are for programs: as lines like those of the other processes."""
    if settings.log.format != "json":
        return None
    set_up_logging(settings.log, service="supervisor", secrets=secrets_of(settings))
    return logging.getLogger("gistline.supervisor").warning


def _announce(stack: Stack, *, json_ready: bool) -> None:
    facts = {"api": stack.url, "docs": f"{stack.url}/docs", "data_dir": str(stack.settings.data_dir)}
    if json_ready:
        click.echo(json.dumps(facts | {"pids": stack.supervisor.pids()}))
        return
    shown = console()
    shown.print(f"Ready.  Dashboard and API: [bold]{stack.url}[/]   API reference: {facts['docs']}")
    if first := invitation(stack.settings):
        shown.print(f"Nobody can sign in yet. Add the first admin:  {first}", markup=False)
    shown.print(f"Data and logs: {facts['data_dir']}   Stop with Ctrl-C.", markup=False)
