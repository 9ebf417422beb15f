"""``gistline gate``: an example of a sorting gate, which prints what it would do with each part."""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import click

from gistline.cli.invocation import settings_of
from gistline.cli.output import FAILED, OK, console, errors
from gistline.outputs.gate import Action, Gate
from gistline.outputs.mqtt import MqttLink
from gistline.outputs.verdict_message import HEARTBEAT_TOPIC

COLOURS = {"ok": "green", "ng": "bold red", "reinspect": "yellow"}
TICK_S = 0.01


@click.command("gate")
@click.option("--camera", help="Only this camera's verdicts; by default all.")
@click.option(
    "--gap-ms", type=click.IntRange(1, 60_000), default=250, show_default=True, help="A skipped number's time."
)
@click.option("--count", type=click.IntRange(1), help="Stop after this many actions about parts.")
@click.option("--seconds", type=click.FloatRange(min=0.1), help="Stop after this long.")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON for each action.")
@click.pass_context
def command(
    context: click.Context,
    /,
    *,
    camera: str | None,
    gap_ms: int,
    count: int | None,
    seconds: float | None,
    as_json: bool,
) -> int:
    """Listen to the verdict channel over MQTT and print OK, NG or REINSPECT for each part.

    It fails closed: NG for a number that does not come, and "closed" while no live heartbeat is heard. Exit code 1 when
    it is closed at its end.
    """
    settings = settings_of(context)
    link = MqttLink(settings.mqtt, name="gate")
    heard: queue.Queue[tuple[str, dict[str, Any], bool]] = queue.Queue()
    prefix = settings.mqtt.prefix
    link.subscribe(f"{prefix}/verdicts/#", lambda m: heard.put(("verdict", json.loads(m.payload), m.retain)))
    link.subscribe(f"{prefix}/{HEARTBEAT_TOPIC}", lambda m: heard.put(("heartbeat", json.loads(m.payload), m.retain)))
    link.open(lambda up: heard.put(("up" if up else "down", {}, False)))
    gate = Gate(gap_s=gap_ms / 1000)
    errors().print("Closed until a heartbeat is heard.")
    parts, ends_at = 0, time.monotonic() + (seconds or float("inf"))
    try:
        while time.monotonic() < ends_at and (count is None or parts < count):
            for action in _actions(gate, heard):
                if not action.camera or camera in (None, action.camera):
                    parts += bool(action.camera)
                    _print(action, as_json=as_json)
    except KeyboardInterrupt:
        pass
    finally:
        link.close()
    return OK if gate.is_open else FAILED


def _actions(gate: Gate, heard: queue.Queue[tuple[str, dict[str, Any], bool]]) -> Iterable[Action]:
    try:
        kind, told, retained = heard.get(timeout=TICK_S)
    except queue.Empty:
        pass
    else:
        now = time.monotonic()
        if kind == "verdict":
            yield from gate.hear_verdict(told, now)
        elif kind == "heartbeat":
            yield from gate.hear_heartbeat(told, now, retained=retained)
        elif kind == "down":
            yield from gate.lose_connection()
    yield from gate.tick(time.monotonic())


def _print(action: Action, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(asdict(action)))
        return
    kind = action.kind.value
    where = f"{action.camera} #{action.seq}" if action.camera else "GATE"
    part = f" part {action.part}" if action.part else ""
    console().print(f"[{COLOURS[kind]}]{kind.upper():<9}[/] ", end="")
    console().print(f"{where}{part}: {action.why}", markup=False)
