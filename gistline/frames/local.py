"""Frame bytes in a folder: ``ab/abcd...`` by their SHA-256, those of one request together in one file.

An object appears whole or not at all: it is written under another name and then linked to its own. The file and the
folders of its names are synced before :meth:`LocalFrames.put_many` returns (``frames.fsync``).
"""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
import time
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final
from uuid import uuid4

from obstore.store import LocalStore

from gistline.errors import FrameDamaged
from gistline.frames.objects import Objects, absent, explained, key_of, proven
from gistline.frames.segments import BLOCK, INDEX_BYTES, MAGIC, MOST, packed, place_in

_ARRIVALS: Final = "arrivals"
_SYNCERS: Final = 8
_SLOW_S: Final = 0.001
"""A sync that takes longer waited for a disk, not for a cache: then threads that wait together are worth their CPU."""
_PUNCH_HOLE_KEEP_SIZE: Final = 3


class LocalFrames(Objects):
    """A folder with 256 others in it. Files of older versions, two levels deep, are read and removed as well."""

    def __init__(self, root: Path, *, fsync: bool = True) -> None:
        with explained():
            root.mkdir(parents=True, exist_ok=True)
            super().__init__(LocalStore(prefix=root))
        self._root = root
        self._fsync = fsync
        self._is_ready = False
        self._syncers = ThreadPoolExecutor(_SYNCERS, "sync")

    def put(self, sha256: str, data: bytes) -> None:
        """Write and sync."""
        self.put_many({sha256: data})

    def put_many(self, images: Mapping[str, bytes]) -> None:
        """Write what is not there yet into one file, which gets a name for each."""
        with explained():
            if not self._is_ready:
                self._make_folders()
            try:
                self._put(images)
            except FileNotFoundError:  # somebody emptied the store
                self._make_folders()
                self._put(images)

    def get(self, sha256: str) -> bytes:
        """Read and compare the digest."""
        with explained():
            path = self._find(sha256)
            if path is None:
                raise absent(sha256)
            try:
                with path.open("rb", buffering=0) as file:
                    data = _read(file.fileno(), sha256)
            except FileNotFoundError as error:
                raise absent(sha256) from error
            try:
                return proven(data, sha256)
            except FrameDamaged:
                if self._find(sha256) is None:  # removed meanwhile, and its place in the file with it
                    raise absent(sha256) from None
                raise

    def delete(self, sha256: str) -> None:
        """Remove the name, and give its space back where others still need the file."""
        with explained(), suppress(FileNotFoundError):
            path = self._find(sha256)
            if path is None:
                return
            with path.open("r+b", buffering=0) as file:
                place = place_in(os.pread(file.fileno(), INDEX_BYTES, 0), sha256)
                path.unlink()
                if place is not None and os.fstat(file.fileno()).st_nlink:
                    _punch(file.fileno(), *place)

    def free_bytes(self) -> int:
        """Space for whoever runs this process, on the disk that holds the folder."""
        with explained():
            return shutil.disk_usage(self._root).free

    def older_than(self, moment: datetime) -> Iterator[str]:
        """List page by page, and remove what writers left that were killed before ``moment``."""
        with explained():
            for left in self._root.joinpath(_ARRIVALS).glob("*"):
                with suppress(FileNotFoundError):
                    if left.stat().st_mtime < moment.timestamp():
                        left.unlink()
        yield from super().older_than(moment)

    def _make_folders(self) -> None:
        """All at once, so that later only names of files are to be synced; a new folder's own name must last too."""
        for name in (_ARRIVALS, *(f"{number:02x}" for number in range(256))):
            self._root.joinpath(name).mkdir(exist_ok=True)
        if self._fsync:
            self._sync([self._root, self._root.parent])
        self._is_ready = True

    def _path(self, sha256: str) -> Path:
        return self._root / sha256[:2] / sha256

    def _find(self, sha256: str) -> Path | None:
        """Where the object is: at its own path, or at that of older versions."""
        older = self._root / key_of(sha256)
        return next((path for path in (self._path(sha256), older) if path.exists()), None)

    def _put(self, images: Mapping[str, bytes]) -> None:
        known = {sha256: self._find(sha256) for sha256 in images}
        for group in _groups({sha256: data for sha256, data in images.items() if known[sha256] is None}):
            self._write(group)
        for sha256, path in known.items():
            if path is not None:
                self._keep(path, sha256, images[sha256])
        if self._fsync:
            self._sync({(known[sha256] or self._path(sha256)).parent for sha256 in images})

    def _write(self, group: Mapping[str, bytes]) -> None:
        with self._arriving() as (handle, arrived):
            _write_all(handle, list(group.values()) if len(group) == 1 else packed(group))
            for sha256, data in group.items():
                path = self._path(sha256)
                try:
                    os.link(arrived, path)
                except FileExistsError:  # another writer was quicker
                    self._keep(path, sha256, data)
            if self._fsync:
                os.fsync(handle)

    def _keep(self, path: Path, sha256: str, data: bytes) -> None:
        """See that what is there is ``data``, and stays.

        Equal bytes are left alone: a fresh file in their place would be less durable until it is synced. Others were
        torn by a power cut before they were accepted.
        """
        with path.open("rb", buffering=0) as file:
            if _read(file.fileno(), sha256) == data:
                if self._fsync:
                    os.fsync(file.fileno())
                return
        with self._arriving() as (handle, arrived):
            _write_all(handle, [data])
            if self._fsync:
                os.fsync(handle)
            arrived.replace(path)

    @contextmanager
    def _arriving(self) -> Iterator[tuple[int, Path]]:
        """Open a file under a name that is removed afterwards."""
        arrived = self._root / _ARRIVALS / uuid4().hex
        handle = os.open(arrived, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            yield handle, arrived
        finally:
            os.close(handle)
            arrived.unlink(missing_ok=True)

    def _sync(self, folders: Collection[Path]) -> None:
        """Sync one after the other, as long as that is cheaper than handing them to threads.

        A disk that takes its time over the first gets the rest at once, to flush once for many.
        """
        rest = deque(folders)
        while rest:
            began = time.perf_counter()
            _fsync(rest.popleft())
            if len(rest) > 1 and time.perf_counter() - began > _SLOW_S:
                break
        for done in [self._syncers.submit(_fsync, folder) for folder in rest]:
            done.result()


def _groups(images: Mapping[str, bytes]) -> Iterator[dict[str, bytes]]:
    rest = iter(images.items())
    while group := dict(islice(rest, MOST)):
        yield group


def _read(handle: int, sha256: str) -> bytes:
    """The object's part of a segment, or the whole of a file that is none."""
    if os.pread(handle, len(MAGIC), 0) == MAGIC:
        place = place_in(os.pread(handle, INDEX_BYTES, 0), sha256)
        if place is not None:
            at, length = place
            return os.pread(handle, min(length, os.fstat(handle).st_size), at)
    return os.pread(handle, os.fstat(handle).st_size, 0)


def _write_all(handle: int, parts: Sequence[bytes]) -> None:
    """Write to the last byte: the system may take less than it is given."""
    written = os.writev(handle, parts)
    if written < sum(map(len, parts)):
        left = memoryview(b"".join(parts))[written:]
        while left:
            left = left[os.write(handle, left) :]


def _punch(handle: int, at: int, length: int) -> None:
    """Give the space of an image back. Where the system cannot, it stays taken until the file's last name goes."""
    if sys.platform == "linux":
        length += -length % BLOCK
        libc = ctypes.CDLL(None)
        libc.fallocate(handle, _PUNCH_HOLE_KEEP_SIZE, ctypes.c_int64(at), ctypes.c_int64(length))


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
