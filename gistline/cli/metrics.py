"""``gistline metrics``: the fleet's own metrics, served by one process."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress
from threading import Event

import click

from gistline.cli.database import database
from gistline.cli.invocation import settings_of
from gistline.errors import SettingsError
from gistline.flows.expose_fleet import expose_fleet
from gistline.settings_report import secrets_of
from gistline.telemetry.listener import listening, written
from gistline.telemetry.logs import set_up_logging
from gistline.telemetry.places import Place


@click.command("metrics")
@click.option("--once", is_flag=True, help="Print them once, in Prometheus's text form, instead of serving them.")
@click.pass_context
def command(context: click.Context, /, *, once: bool) -> None:
    """Serve what the database knows of the fleet to Prometheus: what waits, who works, what it cost.

    Listens on metrics.host, the port after metrics.port, until SIGTERM or Ctrl-C: /metrics, /targets (the workers that
    serve metrics, for Prometheus's http_sd_configs), /healthz, /readyz. Run one in a fleet; the API and the workers
    serve what they count themselves on ports of their own.
    """
    settings = settings_of(context)
    if not (once or settings.metrics.port):
        raise SettingsError("metrics.port is 0: no metrics are served.", cure="Set GISTLINE_METRICS__PORT, or --once.")
    with database(context) as opened:
        exposed = expose_fleet(opened.sessions, opened.settings.metrics, model=opened.settings.reports.model)
        if once:
            click.echo(written(exposed.registry), nl=False)
            return
        set_up_logging(settings.log, service="metrics", secrets=secrets_of(opened.settings))
        left = Event()
        signal.signal(signal.SIGTERM, lambda *_: left.set())
        with suppress(KeyboardInterrupt), listening(settings.metrics, Place.EXPORTER, exposed) as address:
            sys.stdout.write(f"Metrics on http://{address}/metrics\n")
            sys.stdout.flush()
            left.wait()
