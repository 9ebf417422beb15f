"""Child processes that cannot be left behind: tied to their starter's life, stopped as a group, logged to a file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread, current_thread, main_thread
from types import FrameType

TETHER = Path(__file__).with_name("tether.py")


@dataclass(frozen=True, slots=True)
class Account:
    """System user that a program runs as: numeric user and group, and further groups that it needs."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.uid}:{self.gid}:{','.join(map(str, self.groups))}"


@dataclass(frozen=True, slots=True)
class Program:
    """What to run: ``argv[0]`` is an absolute path; ``env`` None inherits; ``death`` comes when the starter dies.

    Output goes to the end of ``log``. ``account`` None runs it as the starter's user.
    """

    name: str
    argv: tuple[str, ...]
    log: Path
    env: Mapping[str, str] | None = None
    cwd: Path | None = None
    account: Account | None = None
    death: signal.Signals = signal.SIGKILL


def spawn(program: Program) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, so that Ctrl-C reaches the starter alone.

    On Linux the kernel sends ``program.death`` when the *thread* that called this ends: call it from one that lives as
    long as the program should.
    """
    account = "-" if program.account is None else str(program.account)
    tether = (sys.executable, "-I", "-S", str(TETHER), str(os.getpid()), str(int(program.death)), account)
    program.log.parent.mkdir(parents=True, exist_ok=True)
    with program.log.open("ab") as log:
        return subprocess.Popen(
            [*tether, *program.argv],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=program.env,
            cwd=program.cwd,
            start_new_session=True,
        )


def stop(process: subprocess.Popen[bytes], signals: Sequence[signal.Signals], *, grace_s: float) -> None:
    """Send the signals one by one, waiting ``grace_s`` after each, then kill what is left of the whole group."""
    for number in signals:
        if process.poll() is not None:
            break
        process.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace_s)
    kill_group(process)


@contextmanager
def watched(process: subprocess.Popen[bytes], on_end: Callable[[], None] | None) -> Iterator[None]:
    """Call ``on_end``, in a thread, should the process end within the block."""
    over = Event()

    def watch() -> None:
        process.wait()
        if not over.is_set() and on_end is not None:
            on_end()

    if on_end is not None:
        Thread(target=watch, name=f"watch-{process.pid}", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a program and of the processes that it started."""
    with suppress(ProcessLookupError, PermissionError):  # macOS answers EPERM for a group of zombies
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def tail(log: Path, lines: int = 5) -> str:
    """Last lines of a log, for an error that says why something did not start."""
    if not log.is_file():
        return ""
    text = log.read_text(errors="replace").splitlines()
    return "\n".join(text[-lines:])


@contextmanager
def termination_raises() -> Iterator[None]:
    """Turn the first SIGTERM, SIGINT or SIGHUP into :class:`KeyboardInterrupt`, so that every ``finally`` runs.

    Later ones are ignored until the end: stopping is bounded in time, and an impatient second Ctrl-C must not leave
    servers behind. Call it in the main thread.
    """

    def unwind(number: int, _frame: FrameType | None) -> None:
        for signal_ in kept:
            signal.signal(signal_, signal.SIG_IGN)
        raise KeyboardInterrupt(signal.Signals(number).name)

    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number in kept:
        signal.signal(number, unwind)
    try:
        yield
    finally:
        _restore(kept)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Ignore SIGINT, SIGTERM and SIGHUP while something stops; does nothing outside of the main thread."""
    if current_thread() is not main_thread():
        yield
        return
    kept = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        _restore(kept)


def _restore(kept: Mapping[signal.Signals, object]) -> None:
    for number, handler in kept.items():
        signal.signal(number, handler if handler is not None else signal.SIG_DFL)  # type: ignore[arg-type]
