"""Where pictures come from: the protocol of a source, and the folder that a camera writes into."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Final, Protocol

from gistline.client import Shot
from gistline.errors import StorageUnavailable

SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
LOOK_EVERY_S: Final = 0.1
TAKEN: Final = "taken"


class Source(Protocol):
    """Gives frames in capture order. ``keeps`` says whether a frame that is not taken is still there later."""

    keeps: bool

    def frames(self, stop: Event) -> Iterator[Shot]:
        """Frames until ``stop`` or the end; asking for the next says that the last is spooled, skipped or given up."""


@dataclass(slots=True)
class _Seen:
    size: int
    modified_ns: int
    since: float


@dataclass(slots=True)
class FolderSource:
    """Image files of a folder, oldest first, each once it is complete.

    A file is complete when its size and time have stayed as they are for ``settle_s`` seconds; 0 for a writer that
    renames whole files into the folder. Names that begin with a dot, or end otherwise than an image's, are left alone.
    What is taken moves into ``taken/``, or is deleted with ``delete``. With ``once`` the source ends when all that
    is there has been taken. The folder is looked at, not subscribed to: network shares tell nobody of a new file.
    """

    folder: Path
    settle_s: float = 1.0
    delete: bool = False
    once: bool = False
    keeps: bool = True
    _seen: dict[str, _Seen] = field(default_factory=dict)

    def frames(self, stop: Event) -> Iterator[Shot]:
        """Complete files by modification time, then by name.

        Raises:
            StorageUnavailable: the folder cannot be read, or what is taken cannot be moved.

        """
        try:
            while not stop.is_set():
                ready, growing = self._look()
                for path in ready:
                    try:
                        shot = _shot(path)
                    except FileNotFoundError:
                        continue
                    yield shot
                    self._done(path)
                    if stop.is_set():
                        return
                if self.once and not ready and not growing:
                    return
                stop.wait(LOOK_EVERY_S)
        except OSError as error:
            raise StorageUnavailable(f"{self.folder} cannot be used: {error}.", cure="Its files are left.") from error

    def _look(self) -> tuple[list[Path], int]:
        """Files that are complete, oldest first, and the number of those that are not."""
        now, found = time.monotonic(), {}
        for path in self.folder.iterdir():
            if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
                continue
            try:
                facts = path.stat()
            except FileNotFoundError:
                continue
            before = self._seen.get(path.name)
            same = before is not None and (before.size, before.modified_ns) == (facts.st_size, facts.st_mtime_ns)
            found[path.name] = before if before and same else _Seen(facts.st_size, facts.st_mtime_ns, now)
        self._seen = found
        ready = [name for name, seen in found.items() if now - seen.since >= self.settle_s]
        ready.sort(key=lambda name: (found[name].modified_ns, name))
        return [self.folder / name for name in ready], len(found) - len(ready)

    def _done(self, path: Path) -> None:
        if self.delete:
            path.unlink(missing_ok=True)
            return
        goal = path.parent / TAKEN / path.name
        goal.parent.mkdir(exist_ok=True)
        if goal.exists():
            goal = goal.with_stem(f"{goal.stem}-{time.time_ns()}")
        with suppress(FileNotFoundError):  # somebody tidies up beside us; the frame is in the spool
            path.rename(goal)


def _shot(path: Path) -> Shot:
    """The same file gives the same key: name, time and content."""
    modified_ns = path.stat().st_mtime_ns
    data = path.read_bytes()
    digest = hashlib.sha256(path.name.encode() + data).hexdigest()[:32]
    # A camera whose clock is ahead would have its frames refused.
    captured = min(datetime.fromtimestamp(modified_ns / 1e9, UTC), datetime.now(UTC))
    return Shot(data, f"{modified_ns}-{digest}", captured)
