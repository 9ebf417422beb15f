"""What a detect worker holds from its start to its end, and what its work came to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Condition, Event
from uuid import UUID

from gistline.errors import StorageUnavailable
from gistline.flows.claimed_batch import Claim, Loading, claim, fill_up
from gistline.flows.serve_model import Serving
from gistline.frames.store import FrameStore
from gistline.settings import Settings
from gistline.storage.batches import BatchNote, save_batches
from gistline.storage.findings import Measure
from gistline.storage.frames import Outcome, Turn
from gistline.storage.session import Sessions, transaction

LEAD = 2.0
"""The next batch is claimed ahead of the engine's end by this many times what claiming and loading took last."""


@dataclass(frozen=True, slots=True)
class Inspected:
    """What one call did: frames ended, how many of them failed, and the seconds that went into each stage.

    Stages of neighbouring batches overlap, so their sum exceeds the time that passed. ``fetch_s`` and ``decode_s`` are
    summed over the loaders' threads; ``infer_s`` is what the engine's thread waited for answers, ``post_s`` what it
    spent on them, ``commit_s`` the writer's.
    """

    batches: int = 0
    frames: int = 0
    failed: int = 0
    fetch_s: float = 0.0
    decode_s: float = 0.0
    infer_s: float = 0.0
    post_s: float = 0.0
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
    claimer: ThreadPoolExecutor
    writer: ThreadPoolExecutor
    tidier: ThreadPoolExecutor
    frame_s: float = 0.0
    """Seconds that a frame of the last batch took; 0 before the first."""
    claim_s: float = 0.005
    load_s: float = 0.005
    """Seconds that the last claim beside a batch took, and fetching and decoding the last frame."""
    worker: str = "unnamed"
    """Under which batches are noted."""
    tidying: list[Future[None]] = field(default_factory=list)
    notes: list[BatchNote] = field(default_factory=list)
    """Batches committed and not yet noted; the next commit takes them along, or :meth:`write_notes` does."""
    tell: Callable[[Outcome, Measure], None] = lambda _outcome, _measure: None
    """Told how a frame ended as soon as that is known, long before it is committed; never waits."""
    let_told_pass: Callable[[], None] = lambda: None
    """Returns when what was told is on its way, or after a moment; a batch's commit waits for it."""
    _look: Condition = field(default_factory=Condition)
    _looks: Serving | None = None

    @contextmanager
    def looking(self) -> Iterator[Serving]:
        """The engine in force, which is not let go while the body runs."""
        with self._look:
            self._looks = serving = self.serving
        try:
            yield serving
        finally:
            with self._look:
                self._looks = None
                self._look.notify_all()

    def change_over(self, successor: Serving) -> Serving:
        """Let the next batch be looked at by another engine; returns the old one, which nobody uses any more.

        Call it from another thread than the one that inspects. A batch is looked at and written by one engine: the one
        under way keeps the old one, and this waits until it has been looked at.
        """
        measured = successor.passport.measurement
        with self._look:
            old, self.serving = self.serving, successor
            self.frame_s = 1 / measured.engine_fps if measured and measured.engine_fps else 0.0
            self._look.wait_for(lambda: self._looks is not old)
        return old

    def limit(self) -> int:
        """Most frames to claim: a batch must end well before its lease and when the worker is asked to leave.

        A quarter of the lease, since a batch waits for the one before it and for the one that is being written.
        """
        fleet = self.settings.fleet
        if not self.frame_s:
            return fleet.batch_size
        return max(1, min(fleet.batch_size, int(min(fleet.drain_s, fleet.lease_s / 4) / self.frame_s)))

    def claim(self, turn: Turn, ids: Sequence[UUID] = ()) -> Claim | None:
        """Claim the next batch.

        Raises:
            StorageUnavailable: the database does not answer; nothing is claimed.

        """
        return claim(self.sessions, turn, limit=self.limit(), lease_s=self.settings.fleet.lease_s, ids=ids)

    def claim_beside(self, loading: Loading, wanted: Event) -> Claim | None:
        """Claim the batch after the one under way, and have it loaded.

        When it is not full, wait a moment for frames that keep arriving, but not once it is ``wanted``.

        Raises:
            StorageUnavailable: the database does not answer; nothing is claimed.

        """
        began = time.monotonic()
        fleet, limit = self.settings.fleet, self.limit()
        claimed = self.claim(Turn.FRESH_BESIDE_OTHERS)
        self.claim_s = time.monotonic() - began
        if claimed is None:
            return None
        loading.add(claimed.frames)
        if len(claimed.frames) >= limit or wanted.wait(fleet.fill_ms / 1000):
            return claimed
        filled = fill_up(claimed, self.sessions, limit=limit, lease_s=fleet.lease_s)
        loading.add(filled.frames[len(claimed.frames) :])
        return filled

    def spare_s(self, frames: int) -> float:
        """How long after the engine began a batch of so many frames the next one need not be claimed."""
        return max(
            0.0, frames * self.frame_s - LEAD * (self.claim_s + self.load_s) - self.settings.fleet.fill_ms / 1000
        )

    def loading(self) -> Loading:
        """Threads that fetch and decode what is claimed."""
        ahead = 2 * self.settings.fleet.loaders
        return Loading(self.store, self.settings.frames, pool=self.loaders, ahead=ahead)

    def write_notes(self) -> None:
        """Note the last batches, for a worker that has nothing to commit; safe beside one that has.

        Raises:
            StorageUnavailable: the database does not answer; they stay.

        """
        if notes := list(self.notes):
            with transaction(self.sessions) as session:
                save_batches(session, notes, time.monotonic())
            self.forget_notes(notes)

    def forget_notes(self, notes: Sequence[BatchNote]) -> None:
        """These are in the database."""
        for note in notes:
            with suppress(ValueError):  # another thread was quicker
                self.notes.remove(note)

    def close(self) -> None:
        """Note the last batches and end the threads; nothing may be running."""
        with suppress(StorageUnavailable):
            self.write_notes()
        for pool in (self.claimer, self.writer, self.tidier, self.loaders):
            pool.shutdown()


def open_station(
    sessions: Sessions, store: FrameStore, serving: Serving, settings: Settings, *, worker: str = "unnamed"
) -> Station:
    """Start the threads around a proven engine; batches are noted under the ``worker``'s name."""
    return Station(
        sessions,
        store,
        serving,
        settings,
        loaders=ThreadPoolExecutor(settings.fleet.loaders, "load"),
        claimer=ThreadPoolExecutor(1, "claim"),
        writer=ThreadPoolExecutor(1, "write"),
        tidier=ThreadPoolExecutor(1, "tidy"),
        worker=worker,
    )
