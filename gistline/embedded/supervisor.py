"""Keeps named programs running, and ends every one of them when it ends itself, however that happens."""

from __future__ import annotations

import math
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import Event, RLock, Thread
from types import TracebackType
from typing import Self

from gistline.embedded.processes import Program, kill_group, spawn, undisturbed

WATCH_S = 0.1
"""Pause between two looks at the programs."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How a supervisor waits, in seconds.

    ``grace_s``: between SIGTERM and SIGKILL, for all programs together. ``backoff_s``: before the first restart; it
    doubles to ``longest_backoff_s`` and starts afresh once a program ran for ``settled_s``.
    """

    grace_s: float = 10.0
    backoff_s: float = 0.5
    longest_backoff_s: float = 30.0
    settled_s: float = 30.0


@dataclass(slots=True)
class _Kept:
    """One program and its life so far; ``due`` is when to start it again, None while it runs, infinite at the end."""

    program: Program
    process: subprocess.Popen[bytes]
    started: float
    restarts: int = 0
    failures: int = 0
    due: float | None = None


class Supervisor:
    """Starts programs, restarts those that end by themselves, stops all at the end of its ``with`` block.

    A program that ends, with whatever code, is started again after a growing pause. At the end they get SIGTERM, last
    started first, and after the grace period SIGKILL, with everything that they started themselves. On Linux they also
    die when this process is killed. ``on_event`` gets a sentence about each restart, from a thread of the supervisor.
    ``retired`` is asked about a program that ended with code 0, by name and process id: true leaves it ended.
    ``lost`` is asked at every look: once it gives a sentence, that is told and all are stopped.
    """

    def __init__(
        self,
        patience: Patience | None = None,
        *,
        on_event: Callable[[str], None] | None = None,
        retired: Callable[[str, int], bool] | None = None,
        lost: Callable[[], str] | None = None,
    ) -> None:
        self._patience = patience or Patience()
        self._on_event = on_event or (lambda _sentence: None)
        self._retired = retired or (lambda _name, _pid: False)
        self._lost = lost or (lambda: "")
        self._kept: dict[str, _Kept] = {}
        self._lock = RLock()
        self._stopping = Event()
        self._watcher = Thread(target=self._watch, name="supervisor", daemon=True)

    def __enter__(self) -> Self:
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, program: Program) -> None:
        """Start one program; ``program.name`` must be new.

        Raises:
            ValueError: the name is taken, or the supervisor was stopped.

        """
        with self._lock:
            if self._stopping.is_set():
                raise ValueError("the supervisor was stopped")
            if program.name in self._kept:
                raise ValueError(f"{program.name!r} runs already")
            self._kept[program.name] = _Kept(program, spawn(program), time.monotonic())

    def pids(self) -> dict[str, int]:
        """Process ids of the programs that run at this moment."""
        with self._lock:
            return {name: kept.process.pid for name, kept in self._kept.items() if kept.process.poll() is None}

    def restarts(self) -> dict[str, int]:
        """How often each program was started again."""
        with self._lock:
            return {name: kept.restarts for name, kept in self._kept.items()}

    def failures(self) -> dict[str, int]:
        """How often in a row each program ended without having settled in between."""
        with self._lock:
            return {name: kept.failures for name, kept in self._kept.items()}

    def wait(self) -> None:
        """Return when the supervisor has stopped; a signal that raises in the main thread breaks the wait off."""
        while self._watcher.is_alive():
            self._watcher.join(1.0)

    def stop(self) -> None:
        """End every program, bounded by the grace period; harmless when called twice."""
        with undisturbed():
            self._stopping.set()
            if self._watcher.is_alive():
                self._watcher.join()
            self._end_all()

    def _watch(self) -> None:
        try:
            while not self._stopping.wait(WATCH_S):
                if why := self._lost():
                    self._on_event(why)
                    return
                with self._lock:
                    for kept in self._kept.values():
                        self._look_at(kept)
        finally:
            self._stopping.set()
            # In this thread, because the programs that it restarted are killed as soon as it is gone.
            self._end_all()

    def _end_all(self) -> None:
        with self._lock:
            running = [kept for kept in reversed(self._kept.values()) if kept.due is None]
            for kept in running:
                kept.process.send_signal(signal.SIGTERM)
            deadline = time.monotonic() + self._patience.grace_s
            for kept in running:
                with suppress(subprocess.TimeoutExpired):
                    kept.process.wait(max(0.0, deadline - time.monotonic()))
                kill_group(kept.process)
                kept.due = math.inf

    def _look_at(self, kept: _Kept) -> None:
        now = time.monotonic()
        if kept.due is not None:
            if now >= kept.due:
                self._start_again(kept, now)
        elif kept.process.poll() is not None:
            kill_group(kept.process)  # what it started must not live beside its successor
            if kept.process.returncode == 0 and self._retired(kept.program.name, kept.process.pid):
                kept.due = math.inf
                self._on_event(f"{kept.program.name} was drained and has left")
                return
            kept.failures = 1 if now - kept.started >= self._patience.settled_s else kept.failures + 1
            self._postpone(kept, _ending(kept.process.returncode))

    def _start_again(self, kept: _Kept, now: float) -> None:
        """A machine that is out of processes or memory for a moment must not cost the other programs."""
        try:
            kept.process = spawn(kept.program)
        except OSError as error:
            kept.failures += 1
            self._postpone(kept, f"cannot be started: {error}")
        else:
            kept.started, kept.due = now, None
            kept.restarts += 1

    def _postpone(self, kept: _Kept, why: str) -> None:
        pause = min(self._patience.longest_backoff_s, self._patience.backoff_s * 2 ** (kept.failures - 1))
        kept.due = time.monotonic() + pause
        self._on_event(f"{kept.program.name} {why}; restart {kept.restarts + 1} in {pause:g} s")


def _ending(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
