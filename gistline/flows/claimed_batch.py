"""Frames that one worker holds: claimed a batch at a time, fetched and decoded by a few threads ahead of the engine."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass, replace
from threading import Lock
from uuid import UUID, uuid4

import numpy as np
from numpy.typing import NDArray

from gistline.errors import FrameDamaged, ImageRejected, ImageTooLarge, NotFound, StorageUnavailable
from gistline.frames.decode import decode
from gistline.frames.store import FrameStore
from gistline.settings_frames import FrameSettings
from gistline.storage.frames import ClaimedFrame, Lease, Turn, claim_fresh
from gistline.storage.frames import claim as claim_frames
from gistline.storage.session import Sessions, transaction


@dataclass(frozen=True, slots=True)
class Claim:
    """Frames held under one token; ``suspect`` when it is one frame that runs alone.

    ``claimed`` is when, in seconds of the monotonic clock.
    """

    token: UUID
    frames: Sequence[ClaimedFrame]
    suspect: bool
    claimed: float

    @property
    def ids(self) -> list[UUID]:
        """Ids of the frames."""
        return [frame.id for frame in self.frames]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A frame's image, or why there is none; the seconds that fetching and decoding took."""

    frame: ClaimedFrame
    image: NDArray[np.uint8] | None
    problem: str
    fetch_s: float = 0.0
    decode_s: float = 0.0


def claim(sessions: Sessions, turn: Turn, *, limit: int, lease_s: float, ids: Sequence[UUID] = ()) -> Claim | None:
    """Claim up to ``limit`` fresh frames, those of ``ids`` first, or one suspect; None when nothing is due.

    Raises:
        StorageUnavailable: the database does not answer; nothing is claimed.

    """
    lease = Lease(uuid4(), lease_s)
    with transaction(sessions) as session:
        frames, suspect = claim_frames(session, turn, lease, limit=limit, ids=ids)
    return Claim(lease.token, frames, suspect, time.monotonic()) if frames else None


def fill_up(claimed: Claim, sessions: Sessions, *, limit: int, lease_s: float) -> Claim:
    """Add fresh frames to a claim until it holds ``limit``; a database that does not answer adds none."""
    more: Sequence[ClaimedFrame] = ()
    with suppress(StorageUnavailable), transaction(sessions) as session:
        more = claim_fresh(session, Lease(claimed.token, lease_s), limit=limit - len(claimed.frames))
    return replace(claimed, frames=[*claimed.frames, *more])


class Loading:
    """Images of claims in the order of :meth:`add`, a few ahead of whoever takes them: that bounds the memory.

    ``ahead`` is the most that are being loaded or lie loaded at once. Claims may be added by another thread than the
    one that takes.
    """

    def __init__(self, store: FrameStore, limits: FrameSettings, *, pool: Executor, ahead: int) -> None:
        self._load: Callable[[ClaimedFrame], Loaded] = lambda frame: _load(frame, store, limits)
        self._pool = pool
        self._ahead = ahead
        self._lock = Lock()
        self._left: deque[ClaimedFrame] = deque()
        self._loading: deque[Future[Loaded]] = deque()

    def add(self, frames: Sequence[ClaimedFrame]) -> None:
        """Load these frames after all others."""
        with self._lock:
            self._left.extend(frames)
            self._start()

    def take(self) -> Future[Loaded]:
        """The next frame, ended; its exception is :class:`StorageUnavailable` when the frame store does not answer.

        Raises:
            IndexError: nothing was added that was not taken.

        """
        with self._lock:
            oldest = self._loading.popleft()
        oldest.exception()  # waits; the place is free only now that one less is being loaded
        with self._lock:
            self._start()
        return oldest

    def clear(self) -> None:
        """Forget what was not taken."""
        with self._lock:
            self._left.clear()
            while self._loading:
                self._loading.pop().cancel()

    def _start(self) -> None:
        while self._left and len(self._loading) < self._ahead:
            self._loading.append(self._pool.submit(self._load, self._left.popleft()))


def _load(frame: ClaimedFrame, store: FrameStore, limits: FrameSettings) -> Loaded:
    began = time.perf_counter()
    try:
        data = store.get(frame.sha256)
    except NotFound:
        return Loaded(frame, None, "frame missing: the store has no bytes of it")
    except FrameDamaged as error:
        return Loaded(frame, None, f"frame damaged: {error.message}")
    fetched = time.perf_counter()
    try:
        image = decode(data, limits)
    except (ImageRejected, ImageTooLarge) as error:
        return Loaded(frame, None, f"{error.title.lower()}: {error.message}", fetch_s=fetched - began)
    return Loaded(frame, image, "", fetched - began, time.perf_counter() - fetched)
