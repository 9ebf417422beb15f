"""What asks for one frame of a stream: a line on standard input, or a file that is touched."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Protocol, TextIO


class Trigger(Protocol):
    """Asked once for each picture of the stream."""

    def pulled(self) -> bool:
        """Whether the picture at hand was asked for."""


class LineTrigger:
    """Each line asks for one picture, the next that comes; what the line says does not matter."""

    def __init__(self, lines: TextIO) -> None:
        self._asked = threading.Semaphore(0)
        # A daemon: nobody can wake a thread that reads a terminal.
        threading.Thread(target=self._read, args=(lines,), name="trigger", daemon=True).start()

    def pulled(self) -> bool:
        """Whether a line is left over for this picture."""
        return self._asked.acquire(blocking=False)

    def _read(self, lines: TextIO) -> None:
        for _ in lines:
            self._asked.release()


class TouchTrigger:
    """A new modification time of the file asks for one picture; touches between two pictures count once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._before = self._modified()

    def pulled(self) -> bool:
        """Whether the file was touched since the last picture."""
        now = self._modified()
        changed = now not in (None, self._before)
        self._before = now
        return changed

    def _modified(self) -> int | None:
        try:
            return self.path.stat().st_mtime_ns
        except FileNotFoundError:
            return None
