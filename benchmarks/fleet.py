"""The fleet beside its own engine: ``python -m benchmarks.fleet [--engines cpu device quick] [--rounds 3]``.

For each engine, in one run and in turn: (a) the bare engine on decoded frames in memory, letterbox and NMS included;
(b) the same with JPEG decoding, a few frames ahead in threads; (c) one detect worker of the running system, from rows
that wait to rows that are committed; (d) the same, fed over HTTP meanwhile; (e) a naive worker, one Celery task and one
commit a frame. While the frames of (c) and (e) are being submitted the fleet's worker stands still (SIGSTOP); the clock
of (c) runs from the moment that it goes on, that of (e) from its first message.

Engines: ``cpu``, the bundled detector; ``device``, one that takes 10 ms a frame and no CPU, as on a device of its own;
``quick``, 1 ms, so that the work around the engine decides. Read the ratios: the machine may be shared.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from uuid import UUID

import numpy as np
import psutil
from numpy.typing import NDArray
from sqlalchemy import func, select

from benchmarks.naive_worker import naive_app, send
from benchmarks.rig import ROOT, Crew, Pictures, Rig, crew, rig
from benchmarks.simulated_worker import environment
from gistline.detection.detector import open_detector
from gistline.dispatch import CelerySender, Dispatcher, NullDispatcher
from gistline.embedded.servers import child_environment
from gistline.flows.measure_engine import Detects, engine_rate
from gistline.flows.submit_frames import Submitted, submit_frames
from gistline.frames.decode import decode
from gistline.frames.store import open_store
from gistline.settings_frames import FrameSettings
from gistline.simulator.engine import SimulatedDetector, Speed
from gistline.storage.frames import NOT_FINAL
from gistline.storage.session import transaction
from gistline.storage.tables import FrameRow

BATCH = 16
CLIENTS = 2
GIVE_UP_S = 300.0
BARE_S = 3.0
DECODED_AHEAD = 8
CASES = {
    "a": "bare engine, decoded frames",
    "b": "with JPEG decoding",
    "c": "fleet, row to row",
    "d": "fleet, fed over HTTP",
    "e": "naive: a task and a commit a frame",
}
RATIOS = (("b", "a"), ("c", "a"), ("c", "b"), ("d", "b"), ("c", "e"))


@dataclass(frozen=True, slots=True)
class Kind:
    """An engine to measure: its speed where it is simulated, and how many frames a round takes."""

    speed: Speed | None
    frames: int
    naive: int
    """Frames of a round of (e), which takes its time."""


KINDS = {
    "cpu": Kind(None, 480, naive=160),
    "device": Kind(Speed(0.0, 0.010), 800, naive=320),
    "quick": Kind(Speed(0.0, 0.001), 2_000, naive=640),
}


@dataclass
class Rates:
    """Frames a second of each case, one entry a round."""

    engine: str
    cases: dict[str, list[float]] = field(default_factory=dict)

    def add(self, case: str, rate: float) -> None:
        self.cases.setdefault(case, []).append(rate)

    def medians(self) -> dict[str, float]:
        return {case: statistics.median(rates) for case, rates in self.cases.items()}

    def ratios(self) -> dict[str, float]:
        """Medians of the rounds' ratios: the cases of a round were measured within seconds of each other."""
        found = {}
        for over, under in RATIOS:
            pairs = zip(self.cases[over], self.cases[under], strict=True)
            found[f"{over}/{under}"] = statistics.median(one / other for one, other in pairs)
        return found

    def lines(self) -> list[str]:
        lines = [f"{case}  {CASES[case]:<36}{rate:8.1f} frames/s" for case, rate in self.medians().items()]
        return [f"engine {self.engine}", *lines, "   ".join(f"{name} {one:.2f}" for name, one in self.ratios().items())]


@dataclass(frozen=True)
class Bench:
    """A running system and its pictures; a naive worker waits beside it for messages."""

    rig: Rig
    crew: Crew
    pictures: Pictures

    def fleet(self, frames: int) -> float:
        """(c): from the worker's first moment to the last commit, for rows that wait."""
        settings = self.rig.settings
        with self.crew.stopped():
            sender = CelerySender(settings.redis, settings.fleet)
            self._submit(frames, sender)
            sender.close(5.0)
            began = time.time()
        return self._rate(frames, began)

    def fed(self, frames: int) -> float:
        """(d): from the first request to the last commit."""
        began = time.time()
        with ThreadPoolExecutor(CLIENTS) as pool:
            for done in [pool.submit(self._post, frames // BATCH // CLIENTS) for _ in range(CLIENTS)]:
                done.result()
        return self._rate(frames // BATCH // CLIENTS * CLIENTS * BATCH, began)

    def alone(self, frames: int) -> float:
        """(e): the fleet's worker stands still, the naive one works."""
        with self.crew.stopped():
            ids = self._submit(frames, NullDispatcher())
            app = naive_app(self.rig.settings.redis)
            # Not stopped meanwhile, in case a pause costs a waiting connection its message: the fleet's sweep
            # would find such a frame, nothing finds it here.
            began = time.time()
            send(app, ids)
            app.close()
            return self._rate(frames, began)

    def _submit(self, frames: int, dispatcher: Dispatcher) -> list[UUID]:
        settings, (camera, _) = self.rig.settings, self.rig.cameras[0]
        store = open_store(settings)
        ids: list[UUID] = []
        for start in range(0, frames, BATCH):
            images = [Submitted(self.pictures.next()) for _ in range(min(BATCH, frames - start))]
            accepted = submit_frames(
                camera, images, sessions=self.rig.sessions, store=store, dispatcher=dispatcher, settings=settings
            )
            ids += [one.id for one in accepted]
        return ids

    def _post(self, requests: int) -> None:
        port, (_, key) = self.rig.settings.api.port, self.rig.cameras[0]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "multipart/form-data; boundary=bench"}
        head = b'--bench\r\nContent-Disposition: form-data; name="images"; filename="x"\r\n\r\n'
        for _ in range(requests):
            body = b"".join(head + self.pictures.next() + b"\r\n" for _ in range(BATCH)) + b"--bench--\r\n"
            while True:
                connection.request("POST", "/v1/frames", body, headers)
                answer = connection.getresponse()
                said = answer.read()
                if answer.status == http.HTTPStatus.ACCEPTED:
                    break
                if answer.status != http.HTTPStatus.TOO_MANY_REQUESTS:
                    raise SystemExit(f"the API refused frames: {answer.status} {said[:200]!r}")
                time.sleep(float(answer.headers.get("Retry-After", "1")))
        connection.close()

    def _rate(self, frames: int, began: float) -> float:
        deadline = time.monotonic() + GIVE_UP_S
        while left := self._unfinished():
            if time.monotonic() > deadline:
                raise SystemExit(f"{left} of {frames} frames were not finished in {GIVE_UP_S:g} s")
            time.sleep(0.5)
        with transaction(self.rig.sessions) as session:
            last: datetime | None = session.scalar(select(func.max(FrameRow.finished_at)))
        if last is None:
            raise SystemExit("no frame was finished")
        return frames / (last.timestamp() - began)

    def _unfinished(self) -> int:
        with transaction(self.rig.sessions) as session:
            return session.scalar(select(func.count()).select_from(FrameRow).where(NOT_FINAL)) or 0


@contextmanager
def naive_worker(rig: Rig, speed: Speed | None) -> Iterator[None]:
    """A naive worker beside the fleet."""
    variables = child_environment(rig.settings) | (environment(speed, 0.5) if speed else {}) | {"PYTHONPATH": str(ROOT)}
    log = (rig.settings.data_dir / "naive.log").open("ab")
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.naive_worker"], env=variables, cwd=ROOT, stdout=log, stderr=log
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()
        log.close()


@contextmanager
def bench(folder: Path, kind: Kind) -> Iterator[Bench]:
    """The whole system in ``folder``, with one detect worker and, waiting, a naive one."""
    with ExitStack() as stack:
        made = stack.enter_context(rig(folder, cameras=1))
        kinds = ("detect", "report", "beat", "api")
        workers = stack.enter_context(crew(made, kind.speed, detect=1, kinds=kinds))
        stack.enter_context(naive_worker(made, kind.speed))
        found = Bench(made, workers, Pictures(64))
        found.alone(BATCH)  # waits until it serves
        yield found


def decoding_rate(detector: Detects, jpegs: Sequence[bytes], limits: FrameSettings, *, seconds: float) -> float:
    """Frames a second of decode, letterbox, engine and NMS; decoding runs beside the engine, as in the fleet."""
    fed = 0
    deadline = time.perf_counter() + seconds

    def feed(pool: ThreadPoolExecutor) -> Iterator[NDArray[np.uint8]]:
        nonlocal fed
        ahead: deque[Future[NDArray[np.uint8]]] = deque()
        while time.perf_counter() < deadline:
            while len(ahead) < DECODED_AHEAD:
                ahead.append(pool.submit(decode, jpegs[(fed + len(ahead)) % len(jpegs)], limits))
            fed += 1
            yield ahead.popleft().result()

    with ThreadPoolExecutor(4) as pool:
        began = time.perf_counter()
        detector.detect(feed(pool))
        return fed / (time.perf_counter() - began)


def measure(name: str, *, rounds: int) -> Rates:
    """All cases of one engine in turn, ``rounds`` times; a first round warms up and is not counted."""
    kind, rates = KINDS[name], Rates(name)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        held = stack.enter_context(bench(folder / "data", kind))
        limits = held.rig.settings.frames
        detector = SimulatedDetector(kind.speed) if kind.speed else open_detector(held.rig.settings.detection)
        stack.callback(detector.close)
        detector.warm_up()
        jpegs = [held.pictures.next() for _ in range(64)]
        images = [decode(data, limits) for data in jpegs]
        for number in range(rounds + 1):
            found = {
                "a": engine_rate(detector, images, seconds=BARE_S),
                "b": decoding_rate(detector, jpegs, limits, seconds=BARE_S),
                "c": held.fleet(kind.frames),
                "d": held.fed(kind.frames),
                "e": held.alone(kind.naive),
            }
            print(f"{name} {number}: " + "  ".join(f"{case} {rate:.1f}" for case, rate in found.items()), flush=True)
            for case, rate in found.items() if number else ():
                rates.add(case, rate)
    return rates


def summary(measured: Sequence[Rates]) -> dict[str, object]:
    """What the documents quote."""
    machine = {"cores": psutil.cpu_count(), "load": os.getloadavg()}
    engines = {one.engine: {"frames_s": one.medians(), "ratios": one.ratios(), "rounds": one.cases} for one in measured}
    return {"machine": machine, "cases": CASES, "engines": engines}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="file for the figures")
    given = parser.parse_args()
    measured = [measure(name, rounds=given.rounds) for name in given.engines]
    for one in measured:
        print("\n" + "\n".join(one.lines()))
    if given.json:
        given.json.write_text(json.dumps(summary(measured), indent=2) + "\n")


if __name__ == "__main__":
    main()
