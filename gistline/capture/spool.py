"""Frames on the local disk until the API has them: an image and a sidecar each, in capture order.

``000000000017.json`` is the commit: it is renamed into place, synced, after its image was. An image without one was
torn off by a crash, and its source still has it. Numbers rise by one and give the order. A full spool takes nothing
more, and says so; it never drops what it has. ``refused/`` keeps the frames that the API will not take, with why.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
from collections import deque
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from threading import Condition
from typing import Any, Final

from gistline.client import Shot
from gistline.errors import Conflict, FrameDamaged, StorageUnavailable

IMAGE, SIDECAR, HALF = ".image", ".json", ".tmp"
NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class SpoolFull(StorageUnavailable):
    """There is no room for one frame more; nothing was written and nothing was dropped."""

    title = "Spool full"


@dataclass(frozen=True, slots=True)
class Bounds:
    """Most frames and bytes that a spool holds, what the API refused included."""

    frames: int = 100_000
    bytes: int = 10_000_000_000


@dataclass(frozen=True, slots=True)
class Waiting:
    """A frame in the spool: its number, its key and the size of its image in bytes."""

    number: int
    frame_key: str
    size: int


class Spool(AbstractContextManager["Spool"]):
    """One agent's folder; frames are put at one end and taken off at the other, by two threads.

    Raises:
        Conflict: another process uses the folder.

    """

    def __init__(self, folder: Path, bounds: Bounds) -> None:
        self.folder = folder
        self.bounds = bounds
        self.put_aside = 0
        self._changed = Condition()
        self._refused = folder / "refused"
        self._refused.mkdir(parents=True, exist_ok=True)
        self._lock = (folder / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise Conflict(f"Another camera agent uses {folder}.", cure="Give each its own --spool.") from error
        self._waiting = deque(self._found())
        self._keys = {one.frame_key for one in self._waiting}
        aside = [path.stat().st_size for path in self._refused.glob(f"*{IMAGE}")]
        self._frames = len(self._waiting) + len(aside)
        self._bytes = sum(one.size for one in self._waiting) + sum(aside)
        numbered = *_sidecars(folder), *_sidecars(self._refused)
        self._next = 1 + max((int(path.stem) for path in numbered), default=0)

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    def __len__(self) -> int:
        with self._changed:
            return len(self._waiting)

    def put(self, shot: Shot) -> None:
        """Keep a frame; once this returns no crash and no power cut takes it. One that waits already is kept once.

        Raises:
            SpoolFull: no room, by the bounds or on the disk.

        """
        with self._changed:
            if shot.frame_key in self._keys:
                return
            self._check_room(len(shot.data))
            number = self._next
        try:
            self._write(number, shot)
        except OSError as error:
            self._forget(number)
            if error.errno in NO_ROOM:
                raise SpoolFull(f"The disk of {self.folder} is full.", cure="Free space on it.") from error
            raise StorageUnavailable(f"{self.folder} cannot be written: {error}.", cure="Mend the disk.") from error
        with self._changed:
            self._next += 1
            self._frames += 1
            self._bytes += len(shot.data)
            self._keys.add(shot.frame_key)
            self._waiting.append(Waiting(number, shot.frame_key, len(shot.data)))
            self._changed.notify_all()

    def oldest(self, count: int) -> list[Waiting]:
        """The first frames in capture order, at most ``count``."""
        with self._changed:
            return list(islice(self._waiting, count))

    def load(self, one: Waiting) -> Shot:
        """A frame as it was put.

        Raises:
            FrameDamaged: the disk gives back something else.

        """
        try:
            data = self._path(one.number, IMAGE).read_bytes()
            about = json.loads(self._path(one.number, SIDECAR).read_text())
            if hashlib.sha256(data).hexdigest() != about["sha256"]:
                raise ValueError("other bytes than were written")
            when = about["captured_at"]
            return Shot(data, one.frame_key, when and datetime.fromisoformat(when), about["part_number"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            place = self._path(one.number, IMAGE)
            raise FrameDamaged(f"{place} is damaged: {error}.", cure="Check the disk.") from error

    def sent(self, one: Waiting) -> None:
        """Forget the oldest frame, which the API has."""
        self._forget(one.number)
        self._take_off(one)
        with self._changed:
            self._frames -= 1
            self._bytes -= one.size

    def set_aside(self, one: Waiting, reason: str) -> Path:
        """Move the oldest frame to ``refused/``, with the reason beside it.

        It counts against the bounds until the agent starts without it.
        """
        goal = self._refused / self._path(one.number, IMAGE).name
        told = {"frame_key": one.frame_key, "reason": reason}
        _write_synced(goal.with_suffix(SIDECAR), json.dumps(told, ensure_ascii=False).encode())
        if self._path(one.number, IMAGE).exists():
            self._path(one.number, IMAGE).rename(goal)
        self._path(one.number, SIDECAR).unlink(missing_ok=True)
        _sync_folder(self._refused)
        _sync_folder(self.folder)
        self._take_off(one)
        self.put_aside += 1
        return goal

    def wait(self, seconds: float) -> None:
        """Return when a frame was put or went, or after so many seconds."""
        with self._changed:
            self._changed.wait(seconds)

    def _take_off(self, one: Waiting) -> None:
        with self._changed:
            self._waiting.remove(one)
            self._keys.discard(one.frame_key)
            self._changed.notify_all()

    def _check_room(self, size: int) -> None:
        cure = f"Bring the API back, look into {self._refused}, or allow more (--spool-frames, --spool-mb)."
        if self._frames >= self.bounds.frames:
            raise SpoolFull(f"{self.folder} holds {self._frames} frames; {self.bounds.frames} may be.", cure=cure)
        if self._bytes + size > self.bounds.bytes:
            held = f"{self.folder} holds {self._bytes} bytes of images and {size} more do not fit"
            raise SpoolFull(f"{held}; {self.bounds.bytes} may be.", cure=cure)

    def _write(self, number: int, shot: Shot) -> None:
        _write_synced(self._path(number, IMAGE), shot.data)
        about = {
            "frame_key": shot.frame_key,
            "captured_at": shot.captured_at.isoformat() if shot.captured_at else None,
            "part_number": shot.part_number,
            "sha256": hashlib.sha256(shot.data).hexdigest(),
        }
        _write_synced(self._path(number, SIDECAR), json.dumps(about, ensure_ascii=False).encode())
        _sync_folder(self.folder)

    def _forget(self, number: int) -> None:
        """The sidecar goes first: what is left of a crash in between is an image that nobody committed."""
        self._path(number, SIDECAR).unlink(missing_ok=True)
        self._path(number, IMAGE).unlink(missing_ok=True)

    def _found(self) -> list[Waiting]:
        """What an earlier run left, oldest first; halves of writes that a crash broke off are removed."""
        for path in (*self.folder.glob(f"*{HALF}"), *self._refused.glob(f"*{HALF}")):
            path.unlink()
        for path in self.folder.glob(f"*{IMAGE}"):
            if not path.with_suffix(SIDECAR).exists():
                path.unlink()
        for path in _sidecars(self.folder):
            # It was being set aside: its image is over there already.
            if not path.with_suffix(IMAGE).exists() and (self._refused / path.name).exists():
                path.unlink()
        return [_waiting(path) for path in sorted(_sidecars(self.folder))]

    def _path(self, number: int, suffix: str) -> Path:
        return self.folder / f"{number:012}{suffix}"


def _sidecars(folder: Path) -> list[Path]:
    """Those of ours: people may put notes beside what was refused."""
    return [path for path in folder.glob(f"*{SIDECAR}") if path.stem.isdecimal()]


def _waiting(sidecar: Path) -> Waiting:
    """A sidecar that cannot be read is found out when its frame is loaded, and is set aside then."""
    image = sidecar.with_suffix(IMAGE)
    try:
        about: Mapping[str, Any] = json.loads(sidecar.read_text())
        key = str(about["frame_key"])
    except (OSError, ValueError, KeyError, TypeError):
        key = sidecar.stem
    return Waiting(int(sidecar.stem), key, image.stat().st_size if image.exists() else 0)


def _write_synced(path: Path, data: bytes) -> None:
    half = path.with_name(path.name + HALF)
    try:
        with half.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        half.replace(path)
    except OSError:
        half.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
