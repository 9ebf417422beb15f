"""How many frames a second an API accepts: ``python -m benchmarks.submit [--seconds 5] [--clients 4]``.

One process and as many as there are cores take turns, with fsync and without, with batches of 16 and single images.
Starts PostgreSQL (fsync on) and ``python -m api`` in a temporary folder and posts grey 640-pixel boards, every one
with bytes of its own. The cases take turns, so that a busy machine slows all of them; read the ratios.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from pydantic import SecretStr

from gistline.embedded.postgres import postgres
from gistline.flows.add_camera import add_camera
from gistline.settings import DatabaseSettings
from gistline.simulator.boards import encode_jpeg, render_board
from gistline.storage import migrate
from gistline.storage.session import close_database, open_database

BOUNDARY = "gistline-benchmark"
ROUND_S = 1.0
HEAD = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="images"; filename="x"\r\n\r\n'.encode()
TAIL = f"--{BOUNDARY}--\r\n".encode()


@dataclass(frozen=True)
class Case:
    """Images in a request, whether the API syncs them, and how many processes it has."""

    batch: int
    fsync: bool
    processes: int = 1

    @property
    def name(self) -> str:
        return f"batches of {self.batch:2d}, fsync {'on, ' if self.fsync else 'off,'} {self.processes} processes"


@dataclass
class Tally:
    """What one case came to."""

    frames: int = 0
    seconds: float = 0.0
    api_cpu_s: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)


class Boards:
    """JPEGs that look alike and differ in a comment, so that none is a duplicate of another."""

    def __init__(self, count: int) -> None:
        self._images = [encode_jpeg(render_board(np.random.default_rng(seed)).image) for seed in range(count)]
        self._numbers = itertools.count()

    @property
    def mean_bytes(self) -> int:
        return int(statistics.mean(map(len, self._images)))

    def next(self) -> bytes:
        number = next(self._numbers)
        image = self._images[number % len(self._images)]
        return image[:2] + b"\xff\xfe\x00\x0a" + number.to_bytes(8) + image[2:]

    def body(self, batch: int) -> bytes:
        return b"".join(part for _ in range(batch) for part in (HEAD, self.next(), b"\r\n")) + TAIL


@dataclass(frozen=True)
class Target:
    """A running API and a camera's key."""

    process: psutil.Process
    port: int
    key: str

    def play(self, case: Case, boards: Boards, clients: int, tally: Tally) -> None:
        """Post for one round from several connections at once."""
        deadline = time.monotonic() + ROUND_S
        began, cpu = time.monotonic(), self._cpu_s()
        threads = [threading.Thread(target=self._post, args=(case, boards, deadline, tally)) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        tally.seconds += time.monotonic() - began
        tally.api_cpu_s += self._cpu_s() - cpu

    def _cpu_s(self) -> float:
        used = [one.cpu_times() for one in (self.process, *self.process.children())]
        return float(sum(one.user + one.system for one in used))

    def _post(self, case: Case, boards: Boards, deadline: float, tally: Tally) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        kind = f"multipart/form-data; boundary={BOUNDARY}"
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": kind}
        while time.monotonic() < deadline:
            body = boards.body(case.batch)
            began = time.monotonic()
            connection.request("POST", "/v1/frames", body, headers)
            answer = connection.getresponse()
            said = json.loads(answer.read())
            if answer.status != http.HTTPStatus.ACCEPTED:
                raise SystemExit(f"refused: {said}")
            tally.latencies_ms.append((time.monotonic() - began) * 1000)
            tally.frames += len(said["frames"])
        connection.close()


@contextmanager
def api(url: str, folder: Path, key: str, case: Case) -> Iterator[Target]:
    """One API."""
    environment = os.environ | {
        "GISTLINE_DATABASE__URL": url,
        "GISTLINE_REDIS__URL": "redis://127.0.0.1:9/0",
        "GISTLINE_DATA_DIR": str(folder),
        "GISTLINE_API__PORT": "0",
        "GISTLINE_FRAMES__FSYNC": str(case.fsync),
        "GISTLINE_API__PROCESSES": str(case.processes),
    }
    command = [sys.executable, "-m", "api"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as run:
        assert run.stdout is not None
        try:
            yield Target(psutil.Process(run.pid), int(run.stdout.readline().rpartition(":")[2]), key)
        finally:
            run.terminate()


def report(tallies: dict[Case, Tally], boards: Boards, clients: int) -> None:
    """One line a case, with its ratio to the first."""
    first = None
    print(f"{os.cpu_count()} cores, {clients} connections, grey 640 x 640 JPEG of {boards.mean_bytes} bytes on average")
    for case, tally in tallies.items():
        rate = tally.frames / tally.seconds
        first = first or rate
        cuts = statistics.quantiles(tally.latencies_ms, n=100)
        print(
            f"{case.name}: {rate:7.0f} frames/s ({rate / first:4.2f} x), {rate / case.batch:6.0f} requests/s,"
            f" answer p50 {cuts[49]:6.1f} ms, p99 {cuts[98]:6.1f} ms,"
            f" {tally.api_cpu_s / tally.frames * 1000:5.2f} ms of the API's CPU a frame"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=5, help="for each case")
    parser.add_argument("--clients", type=int, default=4, help="connections at once")
    given = parser.parse_args()
    boards = Boards(32)
    several = max(2, os.cpu_count() or 1)
    cases = [Case(batch, fsync, count) for batch in (16, 1) for fsync in (True, False) for count in (1, several)]
    tallies = {case: Tally() for case in cases}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(postgres(folder / "postgres", folder / "postgres.log"))
        migrate.upgrade(url)
        sessions = open_database(DatabaseSettings(url=SecretStr(url)))
        _, key = add_camera(sessions, "benchmark", "benchmark")
        close_database(sessions)
        targets: dict[tuple[bool, int], Target] = {}
        for case in cases[: len(cases) // 2]:
            place = folder / f"data-{case.fsync}-{case.processes}"
            targets[case.fsync, case.processes] = stack.enter_context(api(url, place, key, case))
        for case in cases * given.seconds:
            targets[case.fsync, case.processes].play(case, boards, given.clients, tallies[case])
        report(tallies, boards, given.clients)


if __name__ == "__main__":
    main()
