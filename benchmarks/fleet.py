"""The fleet beside its own engine: ``python -m benchmarks.fleet [--frames 300] [--rounds 3] [--deeppcb FOLDER]``.

In one run and in turn: (a) the bare engine on decoded frames in memory, letterbox and NMS included; (b) the same with
JPEG decoding; (c) one detect worker of the running system, from rows that wait to rows that are committed. While (c)'s
frames are being submitted its worker is stopped (SIGSTOP), so that submission costs it nothing; the clock runs from the
moment that it goes on. Read the ratios: the machine may be shared.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import cycle
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import DateTime, cast, func, select

from gistline.cli.stack import Stack, running
from gistline.detection.detector import Detector, open_detector
from gistline.dispatch import CelerySender
from gistline.flows.add_camera import add_camera
from gistline.flows.measure_engine import engine_rate
from gistline.flows.submit_frames import Submitted, submit_frames
from gistline.frames.decode import decode
from gistline.frames.store import open_store
from gistline.settings import Settings, load_settings
from gistline.simulator.boards import encode_jpeg, render_board
from gistline.storage.cameras import CameraIdentity
from gistline.storage.frames import NOT_FINAL
from gistline.storage.session import Sessions, close_database, open_database, transaction
from gistline.storage.tables import FrameRow

BOARDS_SEED = 13_000_000
BATCH = 32
GIVE_UP_S = 300.0


@dataclass
class Rates:
    """Frames a second of each case, one entry a round."""

    engine: list[float] = field(default_factory=list)
    decoding: list[float] = field(default_factory=list)
    fleet: list[float] = field(default_factory=list)

    def lines(self) -> list[str]:
        medians = [statistics.median(one) for one in (self.engine, self.decoding, self.fleet)]
        names = ["a  bare engine", "b  with JPEG decoding", "c  fleet, row to row"]
        lines = [f"{name:<24}{rate:8.1f} frames/s" for name, rate in zip(names, medians, strict=True)]
        lines.append(
            f"b/a {medians[1] / medians[0]:.2f}   c/a {medians[2] / medians[0]:.2f}   c/b {medians[2] / medians[1]:.2f}"
        )
        return lines


@contextmanager
def benched_fleet(folder: Path) -> Iterator[BenchedFleet]:
    """The whole system in ``folder``, with one detect worker. Call it in the main thread."""
    settings = load_settings(data_dir=folder, api={"port": 0}, database={"url": ""}, redis={"url": ""})
    with running(settings, say=lambda _: None, on_event=print) as stack:
        sessions = open_database(stack.settings.database)
        try:
            yield BenchedFleet(stack, sessions, add_camera(sessions, "bench", "bench")[0])
        finally:
            close_database(sessions)


@dataclass
class BenchedFleet:
    """A running system whose rate can be taken again and again."""

    stack: Stack
    sessions: Sessions
    camera: CameraIdentity

    def rate(self, jpegs: Sequence[bytes], frames: int) -> float:
        """Frames a second from the worker's first moment to the last commit, for ``frames`` waiting rows."""
        worker = self.stack.supervisor.pids()["detect-1"]
        os.kill(worker, signal.SIGSTOP)
        try:
            self._submit(jpegs, frames)
            begun = self._now()
        finally:
            os.kill(worker, signal.SIGCONT)
        deadline = time.monotonic() + GIVE_UP_S
        while self._unfinished():
            if time.monotonic() > deadline:
                raise SystemExit(f"The fleet left {self._unfinished()} of {frames} frames unfinished.")
            time.sleep(0.5)
        return frames / (self._last_end() - begun).total_seconds()

    def _submit(self, jpegs: Sequence[bytes], frames: int) -> None:
        settings, taken = self.stack.settings, cycle(jpegs)
        store = open_store(settings)
        dispatcher = CelerySender(settings.redis, settings.fleet)
        for start in range(0, frames, BATCH):
            images = [Submitted(next(taken)) for _ in range(min(BATCH, frames - start))]
            submit_frames(
                self.camera, images, sessions=self.sessions, store=store, dispatcher=dispatcher, settings=settings
            )
        dispatcher.close()

    def _now(self) -> datetime:
        with transaction(self.sessions) as session:
            now: datetime = session.execute(select(cast(func.clock_timestamp(), DateTime(timezone=True)))).scalar_one()
        return now

    def _last_end(self) -> datetime:
        with transaction(self.sessions) as session:
            last: datetime | None = session.scalar(select(func.max(FrameRow.finished_at)))
        assert last is not None
        return last

    def _unfinished(self) -> int:
        with transaction(self.sessions) as session:
            return session.scalar(select(func.count()).select_from(FrameRow).where(NOT_FINAL)) or 0


def decoding_rate(detector: Detector, jpegs: Sequence[bytes], settings: Settings, *, seconds: float) -> float:
    """Frames a second of decode, letterbox, engine and NMS; decoding runs beside the engine, as in the fleet."""
    fed = 0
    deadline = time.perf_counter() + seconds

    def feed() -> Iterator[NDArray[np.uint8]]:
        nonlocal fed
        for data in cycle(jpegs):
            if time.perf_counter() >= deadline:
                return
            fed += 1
            yield decode(data, settings.frames)

    begun = time.perf_counter()
    detector.detect(feed())
    return fed / (time.perf_counter() - begun)


def measure(jpegs: Sequence[bytes], *, frames: int, rounds: int, say: Callable[[str], None] = print) -> Rates:
    """All three cases in turn, ``rounds`` times; a first round warms up and is not counted."""
    rates = Rates()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        fleet = stack.enter_context(benched_fleet(folder / "data"))
        settings = fleet.stack.settings
        detector = stack.enter_context(open_detector(settings.detection))
        detector.warm_up()
        images = [decode(data, settings.frames) for data in jpegs]
        for number in range(rounds + 1):
            found = (
                engine_rate(detector, images, seconds=3.0),
                decoding_rate(detector, jpegs, settings, seconds=3.0),
                fleet.rate(jpegs, frames),
            )
            say(f"round {number}: a {found[0]:.1f}  b {found[1]:.1f}  c {found[2]:.1f} frames/s")
            if number:
                for kept, rate in zip((rates.engine, rates.decoding, rates.fleet), found, strict=True):
                    kept.append(rate)
    return rates


def load_jpegs(folder: Path | None, count: int) -> list[bytes]:
    """JPEGs of a data set's ``images``, or simulated boards where none is at hand."""
    if folder is not None:
        return [path.read_bytes() for path in sorted((folder / "images").glob("*.jpg"))[:count]]
    return [encode_jpeg(render_board(np.random.default_rng(BOARDS_SEED + seed)).image) for seed in range(count)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deeppcb", type=Path, help="folder of the data set; without it boards are simulated")
    parser.add_argument("--frames", type=int, default=300, help="waiting rows in each round")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    jpegs = load_jpegs(given.deeppcb, 64)
    for line in measure(jpegs, frames=given.frames, rounds=given.rounds).lines():
        print(line)


if __name__ == "__main__":
    main()
