"""``gistline camera SOURCE``: take pictures beside the camera, and send each of them once, whatever is away."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import click

from gistline.capture.agent import Agent, Counts
from gistline.capture.sameness import Sameness
from gistline.capture.sources import FolderSource, Source
from gistline.capture.spool import Bounds, Spool
from gistline.capture.triggers import LineTrigger, TouchTrigger, Trigger
from gistline.capture.video import LiveStream, VideoFile, is_live, shown
from gistline.cli.addresses import own_url
from gistline.cli.invocation import settings_of
from gistline.cli.output import FAILED, OK, errors
from gistline.client import CameraClient, Patience, read_key

ONE_TRY = Patience(attempts=1, busy_s=0)
"""The agent itself repeats, and stops in between."""


@click.command("camera")
@click.argument("source", envvar="GISTLINE_CAMERA_SOURCE")
@click.option("--url", envvar="GISTLINE_CAMERA_URL", help="Address of the API; by default the one of the settings.")
@click.option("--key-file", type=click.Path(path_type=Path), help="Holds the camera's key; else GISTLINE_CAMERA_KEY.")
@click.option("--spool", type=click.Path(path_type=Path, file_okay=False), help="Where frames wait to be sent.")
@click.option("--spool-frames", type=click.IntRange(1), default=100_000, show_default=True, help="Most frames in it.")
@click.option("--spool-mb", type=click.FloatRange(0.001), default=10_000.0, show_default=True, help="Most megabytes.")
@click.option("--fps", type=click.FloatRange(0), default=1.0, show_default=True, help="Frames a second; 0 takes all.")
@click.option("--trigger", metavar="stdin|FILE", help="Of a stream: one frame at each line, or touch of a file.")
@click.option(
    "--skip-similar",
    metavar="LEVELS",
    type=click.FloatRange(0, 255),
    default=0.0,
    help="Skip a frame whose 64 x 64 cells all differ by at most so many grey levels from the last one; 0 skips none.",
)
@click.option("--settle", type=click.FloatRange(0), default=1.0, show_default=True, help="Seconds a file must rest.")
@click.option("--delete", is_flag=True, help="Delete files that are in the spool, instead of moving them to taken/.")
@click.option("--once", is_flag=True, help="Of a folder: end when all that is there is sent.")
@click.pass_context
def command(context: click.Context, /, **given: Any) -> int:
    """Send what a camera sees: image files of a folder, frames of a video file, or an RTSP or other stream.

    Every frame goes through a folder on the disk (--spool), in order, and leaves it when the API has stored it. While
    the API is away they wait there; a full spool takes nothing more and says so. Ctrl-C and SIGTERM end it; the next
    start goes on. The key comes from GISTLINE_CAMERA_KEY or a file; name a source with a password in
    GISTLINE_CAMERA_SOURCE.
    """
    settings = settings_of(context)
    url = given["url"] or own_url(settings)
    source = _source(given)

    def connect() -> CameraClient:
        return CameraClient(url, read_key(given["key_file"]), patience=ONE_TRY)

    connect().close()
    bounds = Bounds(given["spool_frames"], int(given["spool_mb"] * 1e6))
    with Spool(given["spool"] or settings.data_dir / "camera-spool", bounds) as spool:
        if len(spool):
            _say(f"{len(spool)} frames wait in {spool.folder} since last time.")
        agent = Agent(spool, connect, say=_say)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: agent.stop())
        counts = agent.run(source, Sameness(given["skip_similar"]))
        _say(_summary(counts, len(spool)))
    return FAILED if counts.lost or counts.refused else OK


def _source(given: dict[str, Any]) -> Source:
    name = given["source"]
    if is_live(name):
        return LiveStream(name, given["fps"], _trigger(given["trigger"]), _say)
    if given["trigger"]:
        raise click.UsageError("--trigger is for streams: files are there anyway.")
    path = Path(name)
    if path.is_dir():
        return FolderSource(path, settle_s=given["settle"], delete=given["delete"], once=given["once"])
    if path.is_file():
        return VideoFile(path, given["fps"])
    raise click.BadParameter(f"{shown(name)!r} is no folder, no file and no address such as rtsp://camera/stream.")


def _trigger(name: str | None) -> Trigger | None:
    if name is None:
        return None
    return LineTrigger(sys.stdin) if name == "stdin" else TouchTrigger(Path(name))


def _summary(counts: Counts, waiting: int) -> str:
    told = f"{counts.spooled} frames taken, {counts.skipped} skipped as similar, {counts.sent} sent, {waiting} wait"
    refused = f", {counts.refused} refused by the API" if counts.refused else ""
    lost = f", {counts.lost} LOST to a full spool" if counts.lost else ""
    return f"{told}{refused}{lost}."


def _say(text: str) -> None:
    errors().print(text, markup=False)
