"""``gistline submit FILE...``: send image files to a running API."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import click
import httpx2
from rich.table import Column, Table

from gistline.cli.invocation import settings_of
from gistline.cli.output import console, errors, print_json
from gistline.domain import FINAL_STATES
from gistline.errors import FleetBusy, GistlineError, RequestRejected, StorageUnavailable
from gistline.settings import Settings

FILES_A_REQUEST = 16
TIMEOUT_S = 120.0
POLL_S = 0.2
ATTEMPTS = 4
"""A request is repeated after a lost answer or a 503; its frame keys keep the frames from being doubled."""
PATIENCE_S = 600.0
"""How long a request is repeated that the API puts off (429, 507), each time after the pause that it asks for."""


@dataclass(frozen=True, slots=True)
class Client:
    """A camera's connection to the API."""

    http: httpx2.Client

    def send(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        """Send one request, again while the API says that it is for the moment.

        Raises:
            RequestRejected: the API refused it; its reason and cure.
            StorageUnavailable: the API does not answer, or cannot store at the moment.
            FleetBusy: it put the request off for ten minutes.

        """
        error: GistlineError | None = None
        patient_until = time.monotonic() + PATIENCE_S
        attempt = 0
        while attempt < ATTEMPTS:
            if isinstance(error, FleetBusy):
                errors().print(f"Again in {error.retry_after_s} s: {error.message}", markup=False)
            time.sleep(error.retry_after_s if isinstance(error, FleetBusy) else attempt)
            attempt += not (isinstance(error, FleetBusy) and time.monotonic() < patient_until)
            try:
                answer = self.http.request(method, path, **content)
            except httpx2.TransportError as failure:
                error = StorageUnavailable(f"{self.http.base_url} does not answer: {failure}.", cure="Is it running?")
                continue
            if answer.is_success:
                found: dict[str, Any] = answer.json()
                return found
            error = _refusal(answer)
            if not error.retryable:
                break
        raise error or StorageUnavailable(f"{self.http.base_url} does not answer.")


@click.command("submit")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--key", prompt=True, hide_input=True, help="A camera's key; asked for when it is left out.")
@click.option("--url", help="Address of the API; by default the one that the settings name.")
@click.option("--part-number", help="The part that the images show.")
@click.option("--wait", "wait_s", type=click.FloatRange(0), default=0.0, help="Wait this many seconds for verdicts.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.pass_context
def command(context: click.Context, /, **given: Any) -> None:
    """Send image files as a camera would, and show what became of them.

    Each request holds up to 16 files and is accepted as a whole or not at all.
    """
    url = given["url"] or _own_url(settings_of(context))
    headers = {"Authorization": f"Bearer {given['key']}"}
    with httpx2.Client(base_url=url, headers=headers, timeout=TIMEOUT_S) as http:
        client = Client(http)
        frames = list(_submit(client, given["files"], given["part_number"]))
        frames = _wait(client, frames, given["wait_s"])
    print_json(frames) if given["as_json"] else console().print(_table(frames))


def _submit(client: Client, files: Sequence[Path], part_number: str | None) -> Iterator[dict[str, Any]]:
    for start in range(0, len(files), FILES_A_REQUEST):
        batch = files[start : start + FILES_A_REQUEST]
        part = {"part_number": part_number} if part_number else {}
        meta = json.dumps([{"frame_key": uuid4().hex, **part} for _ in batch])
        parts = [("images", (file.name, file.read_bytes(), "application/octet-stream")) for file in batch]
        accepted = client.send("POST", "/v1/frames", data={"meta": meta}, files=parts)["frames"]
        yield from ({"file": str(file), **frame} for file, frame in zip(batch, accepted, strict=True))


def _wait(client: Client, frames: Sequence[dict[str, Any]], wait_s: float) -> list[dict[str, Any]]:
    """Frames with what is known of them, once all have come to an end or the time is up."""
    deadline = time.monotonic() + wait_s
    found = list(frames)
    open_frames = [place for place, _ in enumerate(found)] if wait_s else []
    while open_frames:
        for place in open_frames:
            found[place] |= client.send("GET", f"/v1/frames/{found[place]['id']}")
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


def _refusal(answer: httpx2.Response) -> GistlineError:
    try:
        said = answer.json()
        message, cure = str(said["detail"]), str(said["cure"])
    except (ValueError, KeyError, TypeError):
        message, cure = f"{answer.url} answered {answer.status_code}.", "Is --url the address of a Gistline API?"
    if answer.status_code in {httpx2.codes.TOO_MANY_REQUESTS, httpx2.codes.INSUFFICIENT_STORAGE}:
        pause = answer.headers.get("retry-after", "")
        return FleetBusy(message, cure=cure, retry_after_s=int(pause) if pause.isdecimal() else 1)
    kind = StorageUnavailable if answer.status_code == httpx2.codes.SERVICE_UNAVAILABLE else RequestRejected
    return kind(message, cure=cure)


def _own_url(settings: Settings) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.api.host, settings.api.host)  # noqa: S104 - compared only
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.api.port}"
