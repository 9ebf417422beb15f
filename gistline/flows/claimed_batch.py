"""Frames that one worker holds: claimed together, loaded by a few threads while the engine asks for them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from enum import Enum, auto
from uuid import UUID, uuid4

import numpy as np
from numpy.typing import NDArray

from gistline.errors import FrameDamaged, ImageRejected, ImageTooLarge, NotFound
from gistline.frames.decode import decode
from gistline.frames.store import FrameStore
from gistline.settings import FrameSettings
from gistline.storage.frames import ClaimedFrame, Lease, claim_fresh, claim_suspect, suspect_is_due
from gistline.storage.session import Sessions, transaction


class Turn(Enum):
    """Which frames a claim looks for. Suspects were tried before and may be what brought their batch down."""

    SUSPECT_FIRST = auto()
    FRESH_FIRST = auto()
    FRESH_BESIDE_OTHERS = auto()
    """While another batch runs: nothing when a suspect is due, which must find the worker empty-handed."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Frames held under one token; ``suspect`` when it is one frame that runs alone."""

    token: UUID
    frames: Sequence[ClaimedFrame]
    suspect: bool

    @property
    def ids(self) -> list[UUID]:
        """Ids of the frames."""
        return [frame.id for frame in self.frames]


@dataclass(frozen=True, slots=True)
class _Loaded:
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
        if turn is Turn.FRESH_BESIDE_OTHERS and suspect_is_due(session):
            return None
        if turn is Turn.SUSPECT_FIRST and (suspect := claim_suspect(session, lease)):
            return Claim(lease.token, suspect, suspect=True)
        if fresh := claim_fresh(session, lease, limit=limit, ids=ids):
            return Claim(lease.token, fresh, suspect=False)
        if turn is Turn.FRESH_FIRST and (suspect := claim_suspect(session, lease)):
            return Claim(lease.token, suspect, suspect=True)
    return None


class Loader:
    """Images of a claim in its order, a few ahead of whoever draws them: memory does not grow with the batch.

    After :meth:`images` is exhausted ``looked`` names the frames whose images came, in order, and ``problems`` says of
    each other one why there is no image.
    """

    def __init__(self, claimed: Claim, store: FrameStore, limits: FrameSettings, *, pool: Executor, ahead: int) -> None:
        self.looked: list[ClaimedFrame] = []
        self.problems: dict[UUID, str] = {}
        self.fetch_s = 0.0
        self.decode_s = 0.0
        self._store = store
        self._limits = limits
        self._pool = pool
        self._ahead = ahead
        self._left = deque(claimed.frames)
        self._loading: deque[Future[_Loaded]] = deque()
        self._start()

    def images(self) -> Iterator[NDArray[np.uint8]]:
        """Yield what can be decoded.

        Raises:
            StorageUnavailable: the frame store does not answer.

        """
        while self._loading:
            loaded = self._loading.popleft().result()
            self._start()
            self.fetch_s += loaded.fetch_s
            self.decode_s += loaded.decode_s
            if loaded.image is None:
                self.problems[loaded.frame.id] = loaded.problem
            else:
                self.looked.append(loaded.frame)
                yield loaded.image

    def stop(self) -> None:
        """Load no more."""
        self._left.clear()
        while self._loading:
            self._loading.pop().cancel()

    def _start(self) -> None:
        while self._left and len(self._loading) < self._ahead:
            self._loading.append(self._pool.submit(self._load, self._left.popleft()))

    def _load(self, frame: ClaimedFrame) -> _Loaded:
        began = time.perf_counter()
        try:
            data = self._store.get(frame.sha256)
        except NotFound:
            return _Loaded(frame, None, "frame missing: the store has no bytes of it")
        except FrameDamaged as error:
            return _Loaded(frame, None, f"frame damaged: {error.message}")
        fetched = time.perf_counter()
        try:
            image = decode(data, self._limits)
        except (ImageRejected, ImageTooLarge) as error:
            return _Loaded(frame, None, f"{error.title.lower()}: {error.message}", fetch_s=fetched - began)
        return _Loaded(frame, image, "", fetched - began, time.perf_counter() - fetched)
