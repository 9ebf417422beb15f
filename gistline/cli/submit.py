"""``gistline submit FILE...``: send image files to a running API."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.table import Column, Table

from gistline.cli.addresses import own_url
from gistline.cli.invocation import settings_of
from gistline.cli.output import console, errors, print_json
from gistline.client import FRAMES_A_REQUEST, KEY_VARIABLE, CameraClient, Patience, Shot
from gistline.domain import FINAL_STATES
from gistline.errors import FleetBusy, GistlineError

POLL_S = 0.2
ATTEMPTS = 4
"""A request is repeated after a lost answer or a 503; its frame keys keep the frames from being doubled."""
PATIENCE_S = 600.0
"""How long a request is repeated that the API puts off (429, 507), each time after the pause that it asks for."""


@click.command("submit")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--key", envvar=KEY_VARIABLE, prompt=True, hide_input=True, help="A camera's key; asked for if left out.")
@click.option("--url", help="Address of the API; by default the one that the settings name.")
@click.option("--part-number", help="The part that the images show.")
@click.option("--wait", "wait_s", type=click.FloatRange(0), default=0.0, help="Wait this many seconds for verdicts.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.pass_context
def command(context: click.Context, /, **given: Any) -> None:
    """Send image files as a camera would, and show what became of them.

    Each request holds up to 16 files and is accepted as a whole or not at all.
    """
    url = given["url"] or own_url(settings_of(context))
    with CameraClient(url, given["key"], patience=Patience(ATTEMPTS, PATIENCE_S), notice=_tell) as client:
        frames = list(_submit(client, given["files"], given["part_number"]))
        frames = _wait(client, frames, given["wait_s"])
    print_json(frames) if given["as_json"] else console().print(_table(frames))


def _submit(client: CameraClient, files: Sequence[Path], part_number: str | None) -> Iterator[dict[str, Any]]:
    for start in range(0, len(files), FRAMES_A_REQUEST):
        batch = files[start : start + FRAMES_A_REQUEST]
        accepted = client.submit([Shot(file.read_bytes(), part_number=part_number) for file in batch])
        yield from ({"file": str(file), **asdict(frame)} for file, frame in zip(batch, accepted, strict=True))


def _wait(client: CameraClient, frames: Sequence[dict[str, Any]], wait_s: float) -> list[dict[str, Any]]:
    """Frames with what is known of them, once all have come to an end or the time is up."""
    deadline = time.monotonic() + wait_s
    found = list(frames)
    open_frames = [place for place, _ in enumerate(found)] if wait_s else []
    while open_frames:
        for place in open_frames:
            found[place] |= client.frame(found[place]["id"])
        open_frames = [place for place in open_frames if found[place]["state"] not in FINAL_STATES]
        if time.monotonic() >= deadline:
            break
        time.sleep(POLL_S if open_frames else 0)
    return found


def _table(frames: Sequence[dict[str, Any]]) -> Table:
    table = Table("file", Column("frame", no_wrap=True, min_width=36), "state", "verdict", "findings", box=None)
    for frame in frames:
        verdict = (frame.get("verdict") or {}).get("kind", "")
        findings = ", ".join(f"{found['label']} {found['confidence']:.2f}" for found in frame.get("findings", []))
        table.add_row(frame["file"], frame["id"], frame["state"], verdict, findings)
    return table


def _tell(error: GistlineError, pause_s: float) -> None:
    if isinstance(error, FleetBusy):
        errors().print(f"Again in {pause_s:.0f} s: {error.message}", markup=False)
