"""``gistline demo``: cameras, API, queue, INT8 detector, report and bill, all real, all on this machine."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from pydantic import SecretStr
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from gistline.cli.demo_feed import CAMERAS, Outcome, Shot, from_folder, simulated, submit
from gistline.cli.demo_result import DemoResult, print_result, read_result
from gistline.cli.first_person import invitation
from gistline.cli.invocation import settings_of
from gistline.cli.output import errors, print_json
from gistline.cli.stack import Stack, running
from gistline.dispatch import CelerySender
from gistline.embedded.servers import is_owned
from gistline.errors import EngineUnavailable, RequestRejected
from gistline.flows.add_camera import add_camera
from gistline.flows.close_windows import close_now
from gistline.settings import Settings
from gistline.settings_frames import Keep
from gistline.storage.run_totals import frame_totals, windows_open
from gistline.storage.session import Sessions, close_database, open_database, transaction

LINE = "demo-line"
MARKER = "gistline-demo"
"""File that marks a folder as a demo's, so that only such a one is emptied."""
DATA = "data"
"""Subfolder of the servers' data, the frames and the logs."""
POLL_S = 0.1
STALLED_S = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What each camera submits, and where results go."""

    shots: Mapping[str, Iterable[Shot]]
    output: Path


@click.command("demo")
@click.option(
    "--frames-dir",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Submit the images of this folder instead of simulated boards.",
)
@click.option("--limit", type=click.IntRange(1, 100_000), default=180, show_default=True, help="Most frames.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the simulated boards.")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("demo-output"),
    show_default=True,
    help="Folder for results, data and logs; an earlier demo's is emptied first.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the table.")
@click.option("--keep", is_flag=True, help="Leave everything running until Ctrl-C.")
@click.pass_context
def command(
    context: click.Context, /, *, folder: Path | None, output: Path, as_json: bool, keep: bool, **amount: Any
) -> None:
    """Send three cameras' frames through the whole system and print what came out and what it cost.

    Always on servers of its own, whatever the settings name: it never touches your database.
    """
    plan = Plan(_shots(folder, **amount), output)  # a folder without images is refused before anything starts
    _prepare(output)
    settings = _settings(settings_of(context), output)
    try:
        _run(settings, plan, as_json=as_json, keep=keep)
    except KeyboardInterrupt as error:
        errors().print("Stopped.")
        raise click.Abort from error


def _shots(folder: Path | None, *, limit: int, seed: int) -> Mapping[str, Iterable[Shot]]:
    return from_folder(folder, limit) if folder else simulated(limit, seed=seed)


def _run(settings: Settings, plan: Plan, *, as_json: bool, keep: bool) -> None:
    shown = errors()
    with shown.status("Starting") as status:

        def say(missing: str) -> None:
            status.update(f"Waiting for {missing}")

        with running(settings, say=say, on_event=shown.print) as stack:
            status.stop()
            result = _play(stack, plan, shown)
            print_json(result.as_json()) if as_json else print_result(result)
            _check(result)
            if keep:
                shown.print(f"To sign in, add somebody: {invitation(stack.settings)}", markup=False)
                shown.print(f"API: {stack.url}   reference: {stack.url}/docs   Stop with Ctrl-C.", markup=False)
                stack.supervisor.wait()


def _play(stack: Stack, plan: Plan, shown: Console) -> DemoResult:
    columns = (TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    sessions = open_database(stack.settings.database)
    try:
        with Progress(*columns, console=shown) as progress:
            outcome = _submit(stack, sessions, plan, progress=progress)
            _report(stack.settings, sessions, progress)
        with shown.status("Timing the bare engine on the same frames"):
            return read_result(stack.settings, sessions, outcome=outcome, output=plan.output)
    finally:
        close_database(sessions)


def _submit(stack: Stack, sessions: Sessions, plan: Plan, *, progress: Progress) -> Outcome:
    """Hand everything in and wait until each accepted frame has its end."""
    keys = {camera: add_camera(sessions, camera, LINE)[1] for camera in CAMERAS}
    sent = progress.add_task("submitted", total=None)
    done = progress.add_task("inspected", total=None)

    with ThreadPoolExecutor(1, thread_name_prefix="cameras") as pool:
        running_cameras = pool.submit(
            submit, stack.url, keys, plan.shots, on_sent=lambda frames: progress.advance(sent, frames)
        )
        while not running_cameras.done():
            progress.update(done, completed=_finished(sessions))
            time.sleep(POLL_S)
    outcome = running_cameras.result()
    progress.update(sent, total=outcome.submitted)
    progress.update(done, total=outcome.accepted)
    _wait(lambda: _advance(progress, done, sessions) >= outcome.accepted, stalled=lambda: _finished(sessions))
    return outcome


def _report(settings: Settings, sessions: Sessions, progress: Progress) -> None:
    """Close the window at once instead of at its end, and wait for its report."""
    task = progress.add_task("reported", total=1)
    with closing(CelerySender(settings.redis, settings.fleet)) as dispatcher:
        close_now(sessions, dispatcher, line=LINE, settings=settings.reports)

        def settled() -> bool:
            with transaction(sessions) as session:
                return windows_open(session) == 0

        _wait(settled, stalled=lambda: 0)
    progress.update(task, completed=1)


def _advance(progress: Progress, task: TaskID, sessions: Sessions) -> int:
    finished = _finished(sessions)
    progress.update(task, completed=finished)
    return finished


def _finished(sessions: Sessions) -> int:
    with transaction(sessions) as session:
        return frame_totals(session).finished


def _wait(done: Callable[[], bool], *, stalled: Callable[[], int]) -> None:
    """Poll until ``done``; give up when the count that ``stalled`` reads has not moved for a minute."""
    seen, since = stalled(), time.monotonic()
    while not done():
        if (now := stalled()) != seen:
            seen, since = now, time.monotonic()
        if time.monotonic() - since > STALLED_S:
            raise EngineUnavailable(
                f"Nothing has moved for {STALLED_S:.0f} s.", cure="See the logs in the folder of --output, data/logs."
            )
        time.sleep(POLL_S)


def _check(result: DemoResult) -> None:
    """The demo fails aloud when a frame was refused, lost or not inspected, or when no report came."""
    if result.outcome.refusals:
        raise RequestRejected(
            f"{len(result.outcome.refusals)} requests were refused, the first with {result.outcome.refusals[0]}.",
            cure="Leave that image out.",
        )
    if result.inspected != result.outcome.submitted or not result.reports:
        raise EngineUnavailable(
            f"{result.outcome.submitted} frames submitted, {result.inspected} inspected, {result.reports} reports.",
            cure="See the logs in the folder of --output, data/logs.",
        )


def _prepare(output: Path) -> None:
    """Make the output folder; an earlier demo's is emptied, anybody else's is left alone.

    Raises:
        RequestRejected: the folder holds something else, or its demo still runs.

    """
    marker = output / MARKER
    if output.exists() and any(output.iterdir()):
        if not marker.exists():
            raise RequestRejected(f"{output} holds files that are no demo's.", cure="Name another --output.")
        if is_owned(output / DATA):
            raise RequestRejected(f"A demo still runs in {output}.", cure="Stop it, or name another --output.")
        shutil.rmtree(output)
    output.mkdir(parents=True, exist_ok=True)
    marker.write_text("Made by 'gistline demo', which empties this folder when it runs again.\n")


def _settings(settings: Settings, output: Path) -> Settings:
    """The user's settings, on embedded servers, a free port and one long window that the demo closes itself.

    Its heartbeat would hold the plant's gates open, and its metrics would be taken for the plant's.
    """
    return settings.model_copy(
        update={
            "data_dir": output.absolute() / DATA,
            "database": settings.database.model_copy(update={"url": SecretStr("")}),
            "redis": settings.redis.model_copy(update={"url": SecretStr("")}),
            "mqtt": settings.mqtt.model_copy(update={"url": SecretStr("")}),
            "metrics": settings.metrics.model_copy(update={"port": 0}),
            "frames": settings.frames.model_copy(update={"store_url": "", "keep": Keep.FINDINGS}),
            "api": settings.api.model_copy(update={"host": "127.0.0.1", "port": 0}),
            "reports": settings.reports.model_copy(update={"window_minutes": 1_440}),
        }
    )
