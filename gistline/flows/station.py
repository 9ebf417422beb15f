"""What a detect worker holds from its start to its end, and what its work came to."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from uuid import UUID

from gistline.flows.claimed_batch import Claim, Loader, Turn, claim
from gistline.flows.serve_model import Serving
from gistline.frames.store import FrameStore
from gistline.settings import Settings
from gistline.storage.session import Sessions


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
    serving: Serving
    settings: Settings
    loaders: ThreadPoolExecutor
    ahead: ThreadPoolExecutor
    tidier: ThreadPoolExecutor
    frame_s: float = 0.0
    """Seconds that a frame of the last batch took; 0 before the first."""
    tidying: list[Future[None]] = field(default_factory=list)
    looking: Lock = field(default_factory=Lock)
    """Held while an engine looks at a batch."""

    def change_over(self, successor: Serving) -> Serving:
        """Let the next batch be looked at by another engine; returns the old one, which nobody uses any more.

        Call it from another thread than the one that inspects. A batch is looked at and written by one engine: the one
        under way keeps the old one, and this waits until it has been looked at.
        """
        old, self.serving = self.serving, successor
        measured = successor.passport.measurement
        self.frame_s = 1 / measured.engine_fps if measured and measured.engine_fps else 0.0
        with self.looking:
            return old

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


def open_station(sessions: Sessions, store: FrameStore, serving: Serving, settings: Settings) -> Station:
    """Start the threads around a proven engine."""
    return Station(
        sessions,
        store,
        serving,
        settings,
        ThreadPoolExecutor(settings.fleet.loaders, "load"),
        ThreadPoolExecutor(1, "ahead"),
        ThreadPoolExecutor(1, "tidy"),
    )
