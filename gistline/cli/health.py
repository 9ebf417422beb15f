"""``gistline health``: one process's own word on its health, as an exit code for whatever watches containers."""

from __future__ import annotations

import http.client
import json

import click

from gistline.cli.addresses import reachable
from gistline.cli.invocation import settings_of
from gistline.cli.output import console
from gistline.errors import SettingsError, StorageUnavailable
from gistline.settings import Settings
from gistline.telemetry.places import Place

TIMEOUT_S = 4.0
WORKERS = ("detect", "report", "verdicts")
PLACES = dict.fromkeys(WORKERS, Place.WORKER) | {"beat": Place.BEAT, "metrics": Place.EXPORTER}
KINDS = ("api", *PLACES)


@click.command("health")
@click.argument("kind", type=click.Choice(KINDS))
@click.option("--live", is_flag=True, help="Only whether it is alive, not whether it takes work.")
@click.pass_context
def command(context: click.Context, /, *, kind: str, live: bool) -> None:
    """Ask a process of this machine whether it is ready; exits 1 when not.

    The API is asked on its own port, the others on that of their metrics, so metrics.port must not be 0. Meant for one
    process a container; of several workers on one machine the first is asked.
    """
    host, port = _address(settings_of(context), kind)
    path = "/healthz" if live else "/readyz"
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read().decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        raise StorageUnavailable(
            f"Nobody answers on {host}:{port}{path}: {error}.", cure=f"Is the {kind} process up? See its log."
        ) from error
    finally:
        connection.close()
    console().print(_said(body), markup=False)
    context.exit(0 if answer.status == http.HTTPStatus.OK else 1)


def _address(settings: Settings, kind: str) -> tuple[str, int]:
    if kind == "api":
        return reachable(settings.api.host).strip("[]"), settings.api.port
    if not settings.metrics.port:
        raise SettingsError(
            f"metrics.port is 0, so {kind} serves no health.", cure="Set GISTLINE_METRICS__PORT for it and for this."
        )
    return reachable(settings.metrics.host).strip("[]"), settings.metrics.port + PLACES[kind]


def _said(body: str) -> str:
    """What it says, on one line."""
    try:
        answer = json.loads(body)
    except ValueError:
        return body
    return str(answer.get("detail") or answer.get("status") or body) if isinstance(answer, dict) else body
