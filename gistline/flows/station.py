"""What a detect worker holds from its start to its end, and what its work came to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from gistline.domain import Detection, EngineInfo
from gistline.flows.claimed_batch import Claim, Loader, Turn, claim
from gistline.frames.store import FrameStore
from gistline.settings import Settings
from gistline.storage.engines import register_engine
from gistline.storage.findings import Measure
from gistline.storage.session import Sessions, transaction


class FrameDetector(Protocol):
    """What the flow needs of a detector."""

    @property
    def info(self) -> EngineInfo:
        """What really runs."""
        ...

    def detect(self, images: Iterable[NDArray[np.uint8]]) -> list[list[Detection]]:
        """Detections of each image, in order; raises :class:`EngineUnavailable` when it did not look."""
        ...


@dataclass(frozen=True, slots=True)
class Inspected:
    """What one call did: frames ended, how many of them failed, and the seconds that went into each stage.

    ``fetch_s`` and ``decode_s`` are summed over threads that work beside the engine; ``infer_s`` (which includes
    waiting for them) and ``commit_s`` are what the worker spent.
    """

    batches: int = 0
    frames: int = 0
    failed: int = 0
    fetch_s: float = 0.0
    decode_s: float = 0.0
    infer_s: float = 0.0
    commit_s: float = 0.0

    def __add__(self, other: Inspected) -> Inspected:
        return Inspected(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))


@dataclass(slots=True)
class Station:
    """What one detect worker holds from its start to its end; one call of :func:`inspect_frames` at a time."""

    sessions: Sessions
    store: FrameStore
    detector: FrameDetector
    settings: Settings
    measure: Measure
    loaders: ThreadPoolExecutor
    ahead: ThreadPoolExecutor
    tidier: ThreadPoolExecutor
    frame_s: float = 0.0
    """Seconds that a frame of the last batch took; 0 before the first."""
    tidying: list[Future[None]] = field(default_factory=list)

    def limit(self) -> int:
        """Most frames to claim: a batch must end well before its lease and when the worker is asked to leave."""
        fleet = self.settings.fleet
        if not self.frame_s:
            return fleet.batch_size
        return max(1, min(fleet.batch_size, int(min(fleet.drain_s, fleet.lease_s / 4) / self.frame_s)))

    def claim(self, turn: Turn, ids: Sequence[UUID] = ()) -> Claim | None:
        """Claim the next batch."""
        return claim(self.sessions, turn, limit=self.limit(), lease_s=self.settings.fleet.lease_s, ids=ids)

    def load(self, batch: Claim) -> Loader:
        """Begin to fetch and decode a batch."""
        ahead = 2 * self.settings.fleet.loaders
        return Loader(batch, self.store, self.settings.frames, pool=self.loaders, ahead=ahead)

    def close(self) -> None:
        """End the threads; nothing may be running."""
        for pool in (self.ahead, self.tidier, self.loaders):
            pool.shutdown()


def open_station(sessions: Sessions, store: FrameStore, detector: FrameDetector, settings: Settings) -> Station:
    """Register the engine and start the threads.

    Raises:
        StorageUnavailable: the database does not answer.

    """
    with transaction(sessions) as session:
        engine_id = register_engine(session, detector.info)
    return Station(
        sessions,
        store,
        detector,
        settings,
        Measure(engine_id, settings.detection.min_confidence, settings.verdict.ng_confidence),
        ThreadPoolExecutor(settings.fleet.loaders, "load"),
        ThreadPoolExecutor(1, "ahead"),
        ThreadPoolExecutor(1, "tidy"),
    )
