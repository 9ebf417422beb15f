"""From capture to verdict: ``python -m benchmarks.latency [--engines slow] [--arrivals clocked poisson] [--rounds 3]``.

A running system (API, one detect worker, the watch over the verdict channel, PostgreSQL with fsync, Redis, mosquitto)
is fed by four cameras over HTTP, one frame a request, at half of what the engine can do. A subscriber takes the
verdicts off the broker as a gate does. The clock runs from the moment of the capture to the moment in which the verdict
is heard, on one machine and one clock; API and worker note when each frame passes each stage.

The bare engine takes its turns in the same run: one decoded frame at a time, letterbox and NMS included, nothing else
running. A frame that meets a busy engine waits whatever the system does: beside each result stands what the very
arrivals of the run would have waited behind that engine alone (:func:`benchmarks.stages.ideal_waits`). The aim is a p99
of at most the bare engine's p50 + 20 ms where no frame meets another (``clocked``), and 20 ms beyond engine and
unavoidable wait where they do.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psutil

from benchmarks.rig import Crew, Pictures, Rig, cpu_s, crew, rig
from benchmarks.stages import ARRIVALS, STAGES, arrivals, ideal_waits, spread, stage_times
from benchmarks.watched import read_notes
from gistline.detection.detector import open_detector
from gistline.flows.measure_engine import Detects, engine_rate
from gistline.frames.decode import decode
from gistline.outputs.mqtt import MqttLink
from gistline.simulator.engine import SimulatedDetector, Speed
from tests.support.broker import own_broker

CAMERAS = 4
LOAD = 0.5
AIM_MS = 20.0
SETTLE_S = 1.5
LAST_VERDICT_S = 10.0
ENGINES = {"device": Speed(0.0, 0.010), "slow": Speed(0.0, 0.040), "cpu": None}
"""Simulated ones take so long a frame and no CPU, as on a device of their own; ``cpu`` is the bundled detector."""
Frame = dict[str, float]
"""Moments of a frame, by stage: seconds of the wall clock."""


@dataclass
class Verdicts:
    """What a gate hears: when, by frame key."""

    heard: dict[str, tuple[float, dict[str, Any]]] = field(default_factory=dict)
    twice: int = 0

    def hear(self, message: Any) -> None:
        at, told = time.time(), json.loads(message.payload)
        self.twice += told["frame_key"] in self.heard
        self.heard.setdefault(told["frame_key"], (at, told))


@dataclass
class Camera:
    """Takes pictures at given moments and sends each at once; ``frames`` has what it knows of them, by key."""

    port: int
    key: str
    pictures: Pictures
    frames: dict[str, Frame] = field(default_factory=dict)

    def play(self, moments: Sequence[float], began: float) -> None:
        """A picture that is due while the one before is still being sent was taken when it was due."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "image/jpeg"}
        for moment in moments:
            due, body, key = began + moment, self.pictures.next(), uuid.uuid4().hex
            if (pause := due - time.time()) > 0:
                time.sleep(pause)
                due = time.time()
            self.frames[key] = {"captured": due}
            connection.request("POST", f"/v1/frames?frame_key={key}", body, headers)
            answer = connection.getresponse()
            said = answer.read()
            if answer.status != 202:
                raise SystemExit(f"the API refused a frame: {answer.status} {said[:200]!r}")
            self.frames[key]["accepted"] = time.time()
        connection.close()


@dataclass
class System:
    """Everything running, and who listens to it."""

    held: Rig
    made: Crew
    verdicts: Verdicts
    notes: Path

    def cpu(self) -> dict[str, float]:
        """Seconds of CPU so far, by process."""
        own = psutil.Process().cpu_times()
        pids = self.made.pids() | self.held.pids
        return {name: cpu_s(pid) for name, pid in pids.items()} | {"benchmark": own.user + own.system}


@dataclass
class Result:
    """One engine under one kind of arrivals: milliseconds, a frame each but for ``engine``."""

    engine: list[float] = field(default_factory=list)
    total: list[float] = field(default_factory=list)
    ideal: list[float] = field(default_factory=list)
    """The wait that no system could spare the frame."""
    stages: dict[str, list[float]] = field(default_factory=dict)
    rate: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)
    twice: int = 0

    def beyond(self) -> list[float]:
        """What each frame took beyond the engine's time and its unavoidable wait."""
        engine = statistics.median(self.engine)
        return [total - ideal - engine for total, ideal in zip(self.total, self.ideal, strict=True)]

    def add(self, frames: Sequence[Frame], engine_s: float) -> None:
        """Frames in the order of their capture, those that warm everything up included."""
        waits = ideal_waits([one["captured"] for one in frames], engine_s)
        first = frames[0]["captured"] + SETTLE_S  # the first frames wake connections, threads and caches
        counted = [(one, wait) for one, wait in zip(frames, waits, strict=True) if one["captured"] >= first]
        self.total += [(one["heard"] - one["captured"]) * 1000 for one, _ in counted]
        self.ideal += [wait * 1000 for _, wait in counted]
        for title, values in stage_times([one for one, _ in counted]).items():
            self.stages.setdefault(title, []).extend(values)


def bare(detector: Detects, images: Sequence[Any], seconds: float) -> list[float]:
    """Milliseconds of one frame at a time."""
    found, until, number = [], time.monotonic() + seconds, 0
    while time.monotonic() < until:
        began = time.perf_counter()
        detector.detect([images[number % len(images)]])
        found.append((time.perf_counter() - began) * 1000)
        number += 1
    return found


def half_load(system: System, moments: Sequence[Sequence[float]], pictures: Pictures) -> list[Frame]:
    """Have the cameras play; every frame's moments, in the order of their capture."""
    heard = system.verdicts.heard
    heard.clear()
    cameras = [Camera(system.held.settings.api.port, key, pictures) for _, key in system.held.cameras]
    began = time.time() + 0.1
    threads = [threading.Thread(target=one.play, args=(own, began)) for one, own in zip(cameras, moments, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    frames = {key: moments for one in cameras for key, moments in one.frames.items()}
    deadline = time.monotonic() + LAST_VERDICT_S
    while len(heard) < len(frames) and time.monotonic() < deadline:
        time.sleep(0.02)
    if missing := len(frames) - len(heard):
        raise SystemExit(f"{missing} of {len(frames)} verdicts were not heard")
    time.sleep(0.2)  # the last results are being committed
    noted = read_notes(system.notes)
    for key, known in frames.items():
        at, told = heard[key]
        known.update(noted.get(key, {}) | noted.get(told["frame_id"], {}) | {"heard": at})
    return sorted(frames.values(), key=lambda one: one["captured"])


@contextmanager
def running(folder: Path, speed: Speed | None, **sections: Any) -> Iterator[System]:
    """Everything, and a listener on the broker."""
    with ExitStack() as stack:
        broker = stack.enter_context(own_broker(folder))
        given: Any = {"mqtt": {"url": broker.url}, "verdicts": {"enabled": True}} | sections
        held = stack.enter_context(rig(folder / "data", cameras=CAMERAS, **given))
        notes = folder / "notes"
        notes.mkdir()
        made = stack.enter_context(crew(held, speed, detect=1, kinds=("detect", "api", "verdicts"), notes=notes))
        verdicts = Verdicts()
        link = MqttLink(broker.settings(), name="gate")
        link.subscribe("gistline/verdicts/#", verdicts.hear)
        link.open()
        stack.callback(link.close)
        if not link.wait_until_up(10):
            raise SystemExit("no connection to mosquitto")
        time.sleep(1.0)
        yield System(held, made, verdicts, notes)


def measure(name: str, kinds: Sequence[str], *, rounds: int, seconds: float) -> dict[str, Result]:
    """Bare engine and system in turn, under each kind of arrivals."""
    speed = ENGINES[name]
    found = {kind: Result() for kind in kinds}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, ExitStack() as stack:
        Path(folder).chmod(0o755)
        system = stack.enter_context(running(Path(folder), speed))
        detector = SimulatedDetector(speed) if speed else open_detector(system.held.settings.detection)
        stack.callback(detector.close)
        detector.warm_up()
        pictures = Pictures()
        images = [decode(pictures.next(), system.held.settings.frames) for _ in range(32)]
        for turn in range(rounds):
            for kind, result in found.items():
                result.rate = engine_rate(detector, images, seconds=1.0) * LOAD
                result.engine += bare(detector, images, max(1.0, seconds / 8))
                moments = arrivals(kind, rate=result.rate, seconds=seconds, cameras=CAMERAS, seed=turn)
                before = system.cpu()
                result.add(half_load(system, moments, pictures), statistics.median(result.engine) / 1000)
                for part, used in system.cpu().items():
                    spent = 1000 * (used - before[part]) / sum(map(len, moments)) / rounds
                    result.cpu[part] = result.cpu.get(part, 0.0) + spent
                result.twice = system.verdicts.twice
    return found


def show(name: str, kind: str, result: Result) -> None:
    print(f"\nengine {name}, {kind} arrivals ({ARRIVALS[kind]}),")
    print(f"{result.rate:.1f} frames/s (half load), {len(result.total)} frames, ms")
    print(f"{'':34}{'p50':>8}{'p90':>8}{'p99':>8}{'max':>8}")
    rows = [("bare engine, one frame", result.engine), ("unavoidable wait for it", result.ideal)]
    rows += [(title, result.stages[title]) for title, _, _ in STAGES]
    rows += [("capture -> verdict heard", result.total), ("  beyond engine and that wait", result.beyond())]
    for title, values in rows:
        if (one := spread(values)) is not None:
            print(f"{title:34}{one.p50:8.1f}{one.p90:8.1f}{one.p99:8.1f}{one.most:8.1f}")
    print("CPU ms a frame: " + ", ".join(f"{part} {one:.1f}" for part, one in result.cpu.items()))
    total, beyond = spread(result.total), spread(result.beyond())
    if total and beyond:
        over = total.p99 - statistics.median(result.engine)
        print(
            f"p99 is the bare engine's p50 + {over:.1f} ms, {beyond.p99:.1f} ms of it beyond the wait for the engine "
            f"(aim: {AIM_MS:g}); heard twice: {result.twice}"
        )


def figures(result: Result) -> dict[str, Any]:
    """The same for a file."""
    rows = {"engine": result.engine, "ideal": result.ideal, "total": result.total, "beyond": result.beyond()}
    spreads = {title: spread(values) for title, values in (rows | result.stages).items()}
    return {title.strip(): asdict(one) for title, one in spreads.items() if one} | {"rate": result.rate}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), default=list(ENGINES))
    parser.add_argument("--arrivals", nargs="+", choices=list(ARRIVALS), default=["clocked", "poisson"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="of load, a round")
    parser.add_argument("--json", type=Path, help="file for the figures")
    given = parser.parse_args()
    found: dict[str, Any] = {}
    for name in given.engines:
        for kind, result in measure(name, given.arrivals, rounds=given.rounds, seconds=given.seconds).items():
            show(name, kind, result)
            found.setdefault(name, {})[kind] = figures(result)
    print(f"\n{psutil.cpu_count()} cores, load {os.getloadavg()[0]:.1f} in the last minute")
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
