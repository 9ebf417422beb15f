"""Several API processes on one port: a parent that listens, and children that serve.

The parent opens the socket, so that connections wait in it while a child starts, and starts another child for one that
died. Children end with their parent, however it ends: its end of a pipe closes.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Thread
from typing import Final

from gistline.errors import SettingsError
from gistline.settings import ApiSettings

POLL_S: Final = 0.1
YOUNG_S: Final = 5.0
"""A child that ends by itself within this never served: the next would not either."""
GRACE_S: Final = 15.0
"""Children that take longer than this to finish their requests are killed."""


@dataclass(frozen=True, slots=True)
class Place:
    """What the parent gives a child: its number from 1, the listening socket, and the pipe that tells of its life."""

    number: int
    listener: int
    lifeline: int

    def arguments(self) -> list[str]:
        """As a child takes them on its command line."""
        return [str(self.number), str(self.listener), str(self.lifeline)]


@dataclass(slots=True)
class _Child:
    process: subprocess.Popen[bytes]
    born: float = field(default_factory=time.monotonic)


def place_of(arguments: list[str]) -> Place | None:
    """Where this process stands, by its command line; None for one that was started by a person."""
    return Place(*map(int, arguments)) if arguments else None


def listen(settings: ApiSettings) -> socket.socket:
    """Open the port that all children serve.

    Raises:
        SettingsError: it is taken, or the address is not of this machine.

    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"api.host:api.port = {settings.host}:{settings.port} cannot be listened on: {error.strerror}.",
            cure="Set GISTLINE_API__PORT to another port; 0 takes a free one.",
        ) from error
    listener.listen(2_048)
    return listener


def herd(listener: socket.socket, count: int) -> int:
    """Keep ``count`` children serving until SIGTERM or Ctrl-C; returns the exit code."""
    told: list[int] = []
    for known in (signal.SIGTERM, signal.SIGINT):
        signal.signal(known, lambda which, _: told.append(which))
    lifeline, ours = os.pipe()
    children: dict[int, _Child] = {}
    try:
        while not told:
            for number in range(1, count + 1):
                child = children.get(number)
                if child is None or child.process.poll() is not None:
                    if child is not None and child.process.returncode > 0 and time.monotonic() - child.born < YOUNG_S:
                        return child.process.returncode
                    children[number] = _start(Place(number, listener.fileno(), lifeline))
            time.sleep(POLL_S)
        return 0
    finally:
        _stop([child.process for child in children.values()])
        os.close(ours)
        os.close(lifeline)
        listener.close()


def when_orphaned(lifeline: int, act: Callable[[], None]) -> None:
    """Act once the parent is gone."""

    def wait() -> None:
        os.read(lifeline, 1)
        act()

    Thread(target=wait, name="lifeline", daemon=True).start()


def _start(place: Place) -> _Child:
    command = [sys.executable, "-P", "-m", "api", *place.arguments()]
    return _Child(subprocess.Popen(command, pass_fds=(place.listener, place.lifeline)))


def _stop(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + GRACE_S
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
