"""A whole fleet around simulated engines, for the benchmarks that measure everything but the engine."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks import watched as watching
from benchmarks.simulated_worker import environment
from gistline.cli.stack import Stack, programs, wait_until_ready
from gistline.embedded.processes import Program, termination_raises
from gistline.embedded.redis import free_port
from gistline.embedded.servers import servers
from gistline.embedded.supervisor import Supervisor
from gistline.flows.add_camera import add_camera
from gistline.settings import Settings, load_settings
from gistline.simulator.boards import encode_jpeg, render_board
from gistline.simulator.engine import Speed
from gistline.storage import health, migrate
from gistline.storage.cameras import CameraIdentity
from gistline.storage.session import Sessions, close_database, open_database, transaction

ROOT = Path(__file__).parents[1]
BOARDS_SEED = 17_000_000


class Pictures:
    """Boards as grey 640-pixel JPEGs; they repeat, and differ in a comment, so that none is another's duplicate."""

    def __init__(self, count: int = 32) -> None:
        self._images = [
            encode_jpeg(render_board(np.random.default_rng(BOARDS_SEED + seed)).image) for seed in range(count)
        ]
        self._numbers = itertools.count(int.from_bytes(os.urandom(6)) << 16)

    def next(self) -> bytes:
        """One more; safe to call from several threads."""
        number = next(self._numbers)
        image = self._images[number % len(self._images)]
        return image[:2] + b"\xff\xfe\x00\x0a" + number.to_bytes(8) + image[2:]


@dataclass(frozen=True, slots=True)
class Rig:
    """Servers, tables and cameras; workers come and go with :func:`workers`."""

    settings: Settings
    sessions: Sessions
    cameras: Sequence[tuple[CameraIdentity, str]]
    """Each with its key."""

    @property
    def pids(self) -> dict[str, int]:
        """The servers' process ids."""
        folder = self.settings.data_dir
        notes = {"postgres": folder / "postgres" / "postmaster.pid", "redis": folder / "redis" / "redis.pid"}
        return {name: int(path.read_text().split()[0]) for name, path in notes.items()}


@contextmanager
def rig(folder: Path, *, cameras: int, lines: int = 4, **sections: Any) -> Iterator[Rig]:
    """PostgreSQL (fsync on) and Redis in ``folder``, both torn down at the end. Call it in the main thread.

    ``sections`` are parts of the settings. Engines serve without a passport, since nothing simulated can have one.
    """
    sections.setdefault("passport", {"required": False})
    sections["api"] = {"port": free_port()} | sections.get("api", {})
    given = load_settings(data_dir=folder, database={"url": ""}, redis={"url": ""}, **sections)
    with termination_raises(), servers(given) as complete:
        migrate.upgrade(complete.database.url.get_secret_value())
        sessions = open_database(complete.database)
        try:
            made = [add_camera(sessions, f"cam-{n + 1:03d}", f"line-{n % lines + 1}") for n in range(cameras)]
            yield Rig(complete, sessions, made)
        finally:
            close_database(sessions)


@dataclass(slots=True)
class Crew:
    """Processes of a fleet: their names and process ids."""

    supervisor: Supervisor
    events: list[str] = field(default_factory=list)

    def pids(self, kind: str = "") -> dict[str, int]:
        """Those whose name begins with ``kind``."""
        return {name: pid for name, pid in self.supervisor.pids().items() if name.startswith(kind)}

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Detect workers do not run meanwhile (SIGSTOP), so that rows can be queued at no cost to them."""
        held = list(self.pids("detect").values())
        for pid in held:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in held:
                os.kill(pid, signal.SIGCONT)


@contextmanager
def crew(
    rig: Rig,
    speed: Speed | None,
    *,
    detect: int,
    findings: float = 0.5,
    kinds: Sequence[str] = ("detect",),
    notes: Path | None = None,
) -> Iterator[Crew]:
    """Run ``detect`` workers and, where ``kinds`` names them, ``api``, ``report`` and ``beat``.

    The engines are simulated; without a ``speed`` they are the real ones that the settings name. With a folder for
    ``notes``, API and detect workers note there when frames pass their stages (:mod:`benchmarks.watched`).

    Yields when all of them are ready.
    """
    simulated = (environment(speed, findings) if speed else {}) | {
        "SIMULATED_LOG_LEVEL": "warning",
        "PYTHONPATH": str(ROOT),
    }
    watched = simulated | {watching.FOLDER: str(notes)}
    made: list[str] = []
    with Supervisor(on_event=made.append) as supervisor:
        for program in programs(rig.settings, detect):
            kind = program.name.split("-")[0]
            if kind not in kinds:
                continue
            if notes and kind in {"detect", "api"}:
                supervisor.start(_instead(program, (watching.MODULE, kind), watched))
            elif kind == "detect" and speed:
                supervisor.start(_instead(program, ("benchmarks.simulated_worker",), simulated))
            else:
                supervisor.start(program)
        stack = Stack(rig.settings, supervisor, f"http://127.0.0.1:{rig.settings.api.port}")
        if "api" in kinds:
            wait_until_ready(stack, lambda _: None)
        else:
            _wait_for_workers(stack)
        yield Crew(supervisor, made)


def _instead(program: Program, module: Sequence[str], variables: dict[str, str]) -> Program:
    """The program as another module runs it."""
    argv = (sys.executable, "-m", *module)
    return replace(program, argv=argv, env=dict(program.env or {}) | variables, cwd=ROOT)


def _wait_for_workers(stack: Stack) -> None:
    """Without an API only the workers' own word counts."""
    sessions = open_database(stack.settings.database)
    deadline = time.monotonic() + 120
    try:
        while time.monotonic() < deadline:
            with transaction(sessions) as session:
                ready = health.ready_names(session)
            wanted = [f"{name.split('-')[0]}-{pid}@" for name, pid in stack.supervisor.pids().items()]
            if all(any(one.startswith(want) for one in ready) for want in wanted):
                return
            time.sleep(0.1)
    finally:
        close_database(sessions)
    raise SystemExit(f"workers are not ready; see {stack.settings.data_dir / 'logs'}")


def cpu_s(pid: int) -> float:
    """CPU seconds of a process and of all that it started, ended ones included."""
    process = psutil.Process(pid)
    own = process.cpu_times()
    total = own.user + own.system + own.children_user + own.children_system
    for child in process.children(recursive=True):
        try:
            used = child.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += used.user + used.system
    return float(total)
