"""How many frames a second an API accepts, and whose CPU it takes: ``python -m benchmarks.submit [--seconds 5]``.

Starts PostgreSQL (fsync on) and ``python -m api`` in a temporary folder and posts grey 640-pixel boards, every one
with bytes of its own, from bodies that were made before. The cases take turns, so that a busy machine slows all of
them. ``--pictures DIR`` sends JPEGs of your own. ``--beside DIR`` lets the API of another working tree take turns too;
ratios are to the first case.

What the load generator, PostgreSQL and the API each used of the CPU is said apart, since they share the cores; so is
what the whole machine used, kernel threads that write to the disk and other people's work included.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from gistline.embedded.postgres import postgres
from gistline.simulator.boards import encode_jpeg, render_board

BOUNDARY = "gistline-benchmark"
ROUND_S = 1.0
HEAD = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="images"; filename="x"\r\n\r\n'.encode()
TAIL = f"--{BOUNDARY}--\r\n".encode()
COMMENT = b"\xff\xfe\x00\x0a"
"""Begins a JPEG comment of eight bytes."""
ROOT = Path(__file__).resolve().parent.parent
PREPARE = """
import sys
from pydantic import SecretStr
from gistline.flows.add_camera import add_camera
from gistline.settings import DatabaseSettings
from gistline.storage import migrate
from gistline.storage.session import close_database, open_database
migrate.upgrade(sys.argv[1])
sessions = open_database(DatabaseSettings(url=SecretStr(sys.argv[1])))
print(add_camera(sessions, "benchmark", "benchmark")[1])
close_database(sessions)
"""


@dataclass(frozen=True)
class Case:
    """Images in a request, whether the API syncs them, how many processes it has, and the tree that it comes from."""

    batch: int
    fsync: bool
    processes: int
    tree: Path

    @property
    def name(self) -> str:
        where = "" if self.tree == ROOT else f", {self.tree.name}"
        return f"batches of {self.batch:2d}, fsync {'on, ' if self.fsync else 'off,'} {self.processes} processes{where}"


@dataclass
class Spent:
    """Seconds of CPU, by who used them."""

    api: float = 0.0
    postgres: float = 0.0
    client: float = 0.0
    machine: float = 0.0

    def add(self, later: Spent, earlier: Spent) -> None:
        for name in vars(self):
            setattr(self, name, getattr(self, name) + getattr(later, name) - getattr(earlier, name))


@dataclass
class Tally:
    """What one case came to."""

    frames: int = 0
    rates: list[float] = field(default_factory=list)
    """Frames/s of each round: others may be at work in some of them."""
    spent: Spent = field(default_factory=Spent)
    latencies_ms: list[float] = field(default_factory=list)


class Boards:
    """JPEGs that look alike and differ in a comment, so that none is a duplicate of another."""

    def __init__(self, jpegs: Sequence[bytes]) -> None:
        self._images = [one[:2] + COMMENT + bytes(8) + one[2:] for one in jpegs]
        self._numbers = itertools.count()

    @property
    def mean_bytes(self) -> int:
        return int(statistics.mean(map(len, self._images)))

    def body(self, batch: int) -> tuple[bytearray, list[int]]:
        """A request's body, and where in it the number of each image stands."""
        body, places = bytearray(), []
        for place in range(batch):
            body += HEAD
            places.append(len(body) + 2 + len(COMMENT))
            body += self._images[place % len(self._images)] + b"\r\n"
        return body + TAIL, places

    def renew(self, body: bytearray, places: Sequence[int]) -> None:
        """Make other images of those in the body."""
        for place in places:
            body[place : place + 8] = next(self._numbers).to_bytes(8)


class Connection:
    """HTTP as plain as can be, so that the load takes little of the cores that the API is measured on."""

    def __init__(self, port: int, key: str, length: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._head = (
            f"POST /v1/frames HTTP/1.1\r\nHost: benchmark\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {length}\r\n\r\n"
        ).encode()

    def post(self, body: bytearray) -> int:
        """Send; returns how many frames were accepted."""
        self._socket.sendall(self._head)
        self._socket.sendall(body)
        answer = b""
        while (end := answer.find(b"\r\n\r\n") + 4) < 4:
            answer += self._receive()
        length = int(answer[:end].lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        while len(answer) < end + length:
            answer += self._receive()
        if not answer.startswith(b"HTTP/1.1 202"):
            raise SystemExit(f"refused: {answer!r}")
        return len(json.loads(answer[end:])["frames"])

    def close(self) -> None:
        self._socket.close()

    def _receive(self) -> bytes:
        found = self._socket.recv(65_536)
        if not found:
            raise SystemExit("the API hung up")
        return found


@dataclass(frozen=True)
class Target:
    """A running API and a camera's key."""

    process: psutil.Process
    port: int
    key: str

    def play(self, case: Case, boards: Boards, clients: int, tally: Tally) -> None:
        """Post for one round from several connections at once."""
        bodies = [boards.body(case.batch) for _ in range(clients)]
        began, before, frames = time.monotonic(), self._spent(), tally.frames
        deadline = began + ROUND_S
        threads = [
            threading.Thread(target=self._post, args=(body, places, boards, deadline, tally)) for body, places in bodies
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        tally.rates.append((tally.frames - frames) / (time.monotonic() - began))
        tally.spent.add(self._spent(), before)

    def _post(self, body: bytearray, places: list[int], boards: Boards, deadline: float, tally: Tally) -> None:
        connection = Connection(self.port, self.key, len(body))
        while time.monotonic() < deadline:
            boards.renew(body, places)
            began = time.monotonic()
            accepted = connection.post(body)
            tally.latencies_ms.append((time.monotonic() - began) * 1000)
            tally.frames += accepted
        connection.close()

    def _spent(self) -> Spent:
        whole = psutil.cpu_times()
        servers = [one for one in psutil.Process().children(recursive=True) if one.name() == "postgres"]
        api = [self.process, *self.process.children(recursive=True)]
        return Spent(_cpu_s(api), _cpu_s(servers), time.process_time(), sum(whole) - whole.idle - whole.iowait)


def _cpu_s(processes: Sequence[psutil.Process]) -> float:
    used = [one.cpu_times() for one in processes]
    return float(sum(one.user + one.system for one in used))


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
        "GISTLINE_PRESSURE__MAX_DEPTH": "10000000",
        "GISTLINE_PRESSURE__MAX_CAMERA_DEPTH": "10000000",
    }
    command = [sys.executable, "-m", "api"]
    with subprocess.Popen(
        command, cwd=case.tree, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as run:
        assert run.stdout is not None
        try:
            yield Target(psutil.Process(run.pid), int(run.stdout.readline().rpartition(":")[2]), key)
        finally:
            run.terminate()


def report(tallies: dict[Case, Tally], boards: Boards, clients: int) -> None:
    """Two lines a case, with its ratio to the first."""
    first = None
    cores = os.cpu_count() or 1
    print(f"{cores} cores, {clients} connections, JPEGs of {boards.mean_bytes} bytes on average")
    for case, tally in tallies.items():
        rate = statistics.median(tally.rates)
        first = first or rate
        cuts = statistics.quantiles(tally.latencies_ms, n=100)
        parts = {name: used / tally.frames * 1000 for name, used in vars(tally.spent).items()}
        own = parts["api"] + parts["postgres"] + parts["client"]
        print(
            f"{case.name}: {rate:7.0f} frames/s in the median round ({rate / first:4.2f} x),"
            f" {max(tally.rates):.0f} in the best, answer p50 {cuts[49]:6.1f} ms,"
            f" p99 {cuts[98]:6.1f} ms\n    CPU of a frame, ms: "
            + ", ".join(f"{name} {part:.2f}" for name, part in parts.items())
            + f"; API, PostgreSQL and client alone would fill {cores} cores at {cores * 1000 / own:.0f} frames/s"
        )


def prepare(url: str, tree: Path) -> str:
    """Make the tree's tables in a database; returns a camera's key."""
    command = [sys.executable, "-c", PREPARE, url]
    return subprocess.run(command, cwd=tree, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1]


def pictures(folder: Path | None, count: int) -> list[bytes]:
    """The first JPEGs of a folder, or boards of the simulator, grey and 640 pixels wide."""
    if folder is None:
        return [encode_jpeg(render_board(np.random.default_rng(seed)).image) for seed in range(count)]
    found = [path.read_bytes() for path in sorted(folder.glob("*.jpg"))[:count]]
    if not found:
        raise SystemExit(f"{folder} holds no file named *.jpg. Name a folder of JPEGs.")
    return found


def chosen(given: argparse.Namespace) -> list[Case]:
    """The cases, those that are held against each other one after the other."""
    trees = [ROOT, *([given.beside.resolve()] if given.beside else [])]
    syncs = {"on": (True,), "off": (False,), "both": (True, False)}[given.fsync]
    return [
        Case(batch, fsync, count, tree)
        for batch in given.batches
        for fsync in syncs
        for count in given.processes
        for tree in trees
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=5, help="for each case")
    parser.add_argument("--clients", type=int, default=4, help="connections at once")
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 1], help="images in a request")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, max(2, os.cpu_count() or 1)])
    parser.add_argument("--fsync", choices=["on", "off", "both"], default="both")
    parser.add_argument("--beside", type=Path, help="another working tree, measured in the same run")
    parser.add_argument("--pictures", type=Path, help="a folder of JPEGs to send instead of rendered boards")
    given = parser.parse_args()
    boards, cases = Boards(pictures(given.pictures, 32)), chosen(given)
    tallies = {case: Tally() for case in cases}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        targets: dict[tuple[bool, int, Path], Target] = {}
        databases: dict[Path, tuple[str, str]] = {}
        for case in cases:
            place = case.fsync, case.processes, case.tree
            if case.tree not in databases:
                own = folder / f"tree-{len(databases)}"
                own.mkdir()
                url = stack.enter_context(postgres(own / "postgres", own / "postgres.log"))
                databases[case.tree] = url, prepare(url, case.tree)
            if place not in targets:
                url, key = databases[case.tree]
                targets[place] = stack.enter_context(api(url, folder / f"data-{len(targets)}", key, case))
        for case in cases * given.seconds:
            targets[case.fsync, case.processes, case.tree].play(case, boards, given.clients, tallies[case])
        report(tallies, boards, given.clients)


if __name__ == "__main__":
    main()
