"""From capture to verdict: ``python -m benchmarks.latency [--engines device cpu] [--rounds 3] [--seconds 8]``.

A running system (API, one detect worker, the watch over the verdict channel, PostgreSQL with fsync, Redis, mosquitto)
is fed by four cameras over HTTP at half of what the engine can do: each sends one frame a request at its own steady
pace, 20 % jitter, like a trigger on a belt. A subscriber takes the verdicts off the broker as a gate does. The clock
runs from the moment before the frame is sent to the moment its verdict is heard, on one machine and one clock.

The bare engine takes its turns in the same run: one decoded frame at a time, letterbox and NMS included, nothing else
running. The aim is a p99 of at most the bare engine's p50 + 20 ms.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http.client import HTTPConnection
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

from benchmarks.rig import Crew, Pictures, Rig, cpu_s, crew, rig
from gistline.detection.detector import open_detector
from gistline.flows.measure_engine import Detects, engine_rate
from gistline.frames.decode import decode
from gistline.outputs.mqtt import MqttLink
from gistline.simulator.engine import SimulatedDetector, Speed
from tests.support.broker import own_broker

CAMERAS = 4
LOAD = 0.5
JITTER = 0.2
AIM_MS = 20.0
SETTLE_S = 1.5
LAST_VERDICT_S = 10.0
ENGINES = {"device": Speed(0.0, 0.010), "slow": Speed(0.0, 0.040), "cpu": None}
"""Simulated ones take so long a frame and no CPU, as on a device of their own; ``cpu`` is the bundled detector."""
STAGES = ("accept", "decide", "hear", "total")


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
    """Sends frames at a steady pace; ``sent`` has the moment before each one's request."""

    port: int
    key: str
    pictures: Pictures
    sent: dict[str, float] = field(default_factory=dict)

    def play(self, rate: float, until: float, seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311 - jitter
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "image/jpeg"}
        due = time.monotonic() + chance.random() / rate
        while due < until:
            time.sleep(max(0.0, due - time.monotonic()))
            key = uuid.uuid4().hex
            body = self.pictures.next()
            self.sent[key] = time.time()
            connection.request("POST", f"/v1/frames?frame_key={key}", body, headers)
            answer = connection.getresponse()
            said = answer.read()
            if answer.status != 202:
                raise SystemExit(f"the API refused a frame: {answer.status} {said[:200]!r}")
            due += (1 + chance.uniform(-JITTER, JITTER)) / rate
        connection.close()


def bare(detector: Detects, images: Sequence[Any], seconds: float) -> list[float]:
    """Milliseconds of one frame at a time."""
    found, until, number = [], time.monotonic() + seconds, 0
    while time.monotonic() < until:
        began = time.perf_counter()
        detector.detect([images[number % len(images)]])
        found.append((time.perf_counter() - began) * 1000)
        number += 1
    return found


def half_load(held: Rig, verdicts: Verdicts, rate: float, seconds: float, pictures: Pictures) -> dict[str, list[float]]:
    """Milliseconds of each stage, a frame each."""
    verdicts.heard.clear()
    cameras = [Camera(held.settings.api.port, key, pictures) for _, key in held.cameras]
    until = time.monotonic() + seconds
    pace = rate / len(cameras)
    threads = [threading.Thread(target=one.play, args=(pace, until, n)) for n, one in enumerate(cameras)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sent = {key: at for one in cameras for key, at in one.sent.items()}
    deadline = time.monotonic() + LAST_VERDICT_S
    while len(verdicts.heard) < len(sent) and time.monotonic() < deadline:
        time.sleep(0.02)
    if missing := len(sent) - len(verdicts.heard):
        raise SystemExit(f"{missing} of {len(sent)} verdicts were not heard")
    found: dict[str, list[float]] = {name: [] for name in STAGES}
    first = min(sent.values()) + SETTLE_S  # the first frames wake connections, threads and caches
    for key, at in sent.items():
        heard, told = verdicts.heard[key]
        if at < first:
            continue
        accepted, decided = (datetime.fromisoformat(told[name]).timestamp() for name in ("accepted_at", "decided_at"))
        moments = (at, accepted, decided, heard)
        for name, (begin, end) in zip(STAGES, pairwise(moments), strict=False):
            found[name].append((end - begin) * 1000)
        found["total"].append((heard - at) * 1000)
    return found


@contextmanager
def system(folder: Path, speed: Speed | None, **sections: Any) -> Iterator[tuple[Rig, Crew, Verdicts]]:
    """Everything running, and a listener on the broker."""
    with ExitStack() as stack:
        broker = stack.enter_context(own_broker(folder))
        given: Any = {"mqtt": {"url": broker.url}, "verdicts": {"enabled": True}} | sections
        held = stack.enter_context(rig(folder / "data", cameras=CAMERAS, **given))
        made = stack.enter_context(crew(held, speed, detect=1, kinds=("detect", "api", "verdicts")))
        verdicts = Verdicts()
        link = MqttLink(broker.settings(), name="gate")
        link.subscribe("gistline/verdicts/#", verdicts.hear)
        link.open()
        stack.callback(link.close)
        if not link.wait_until_up(10):
            raise SystemExit("no connection to mosquitto")
        time.sleep(1.0)
        yield held, made, verdicts


def cpu(held: Rig, made: Crew) -> dict[str, float]:
    """Seconds of CPU so far, by process."""
    own = psutil.Process().cpu_times()
    return {name: cpu_s(pid) for name, pid in (made.pids() | held.pids).items()} | {"benchmark": own.user + own.system}


def cut(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]


def summary(values: Sequence[float]) -> dict[str, float]:
    return {"p50": cut(values, 50), "p99": cut(values, 99), "max": max(values), "n": len(values)}


def measure(name: str, *, rounds: int, seconds: float) -> dict[str, Any]:
    """Bare engine and system in turn."""
    speed, engine, loaded = ENGINES[name], [], {stage: [] for stage in STAGES}  # type: ignore[var-annotated]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, ExitStack() as stack:
        Path(folder).chmod(0o755)
        held, made, verdicts = stack.enter_context(system(Path(folder), speed))
        detector = SimulatedDetector(speed) if speed else open_detector(held.settings.detection)
        stack.callback(detector.close)
        detector.warm_up()
        pictures = Pictures()
        spent: dict[str, float] = {}
        images = [decode(pictures.next(), held.settings.frames) for _ in range(32)]
        for _ in range(rounds):
            rate = engine_rate(detector, images, seconds=1.0) * LOAD
            engine += bare(detector, images, seconds / 4)
            before = cpu(held, made)
            for stage, values in half_load(held, verdicts, rate, seconds, pictures).items():
                loaded[stage] += values
            for part, used in cpu(held, made).items():
                spent[part] = spent.get(part, 0.0) + used - before[part]
    found = {"engine": summary(engine)} | {stage: summary(values) for stage, values in loaded.items()}
    found["rate"] = rate  # type: ignore[assignment]
    found["cpu"] = {name: 1000 * used / (rate * seconds * rounds) for name, used in spent.items()}
    found["twice"] = verdicts.twice  # type: ignore[assignment]
    return found


def show(name: str, found: dict[str, Any]) -> None:
    print(f"\nengine {name}, {found['rate']:.1f} frames/s (half load), {found['total']['n']} frames, ms")
    print(f"{'':24}{'p50':>8}{'p99':>8}{'max':>8}")
    titles = {
        "engine": "bare engine, one frame",
        "accept": "capture -> accepted",
        "decide": "accepted -> decided",
        "hear": "decided -> heard",
        "total": "capture -> verdict heard",
    }
    for stage, title in titles.items():
        one = found[stage]
        print(f"{title:24}{one['p50']:8.1f}{one['p99']:8.1f}{one['max']:8.1f}")
    print("CPU ms a frame: " + ", ".join(f"{name} {one:.1f}" for name, one in found["cpu"].items()))
    over = found["total"]["p99"] - found["engine"]["p50"]
    print(f"p99 is the bare engine's p50 + {over:.1f} ms (aim: {AIM_MS:g}); heard twice: {found['twice']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), default=list(ENGINES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="of load, a round")
    parser.add_argument("--json", type=Path, help="file for the figures")
    given = parser.parse_args()
    found = {}
    for name in given.engines:
        found[name] = measure(name, rounds=given.rounds, seconds=given.seconds)
        show(name, found[name])
    print(f"\n{psutil.cpu_count()} cores, load {os.getloadavg()[0]:.1f} in the last minute")
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
