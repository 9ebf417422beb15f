"""Batches as one stream of images through one engine: it never waits between two of them.

While the engine looks at batch k, batch k+1 is claimed, fetched and decoded, and batch k-1 is being committed. Every
hand-over is bounded: one claim ahead, a few images decoded, two batches that wait for their commit.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from threading import Event
from types import TracebackType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gistline.domain import Detection
from gistline.errors import EngineUnavailable, StorageUnavailable
from gistline.flows.batch_end import Batch, return_unused, send_back, write
from gistline.flows.claimed_batch import Claim, Loading
from gistline.flows.station import Inspected, Station
from gistline.storage.frames import ClaimedFrame

WRITES_WAITING: Final = 2
"""Batches looked at and not yet committed; with more the engine waits, since their leases run."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Until when a call goes on: ``may_claim`` ends claiming, ``stopping`` also gives back what was not begun."""

    may_claim: Callable[[], bool]
    stopping: Callable[[], bool]


class Ahead:
    """The claim after the one under way; it is loaded as soon as it is there.

    It is made just in time for the engine: earlier it would find fewer frames, and take what an idle worker could have
    begun at once.
    """

    def __init__(self, station: Station, loading: Loading, may_claim: Callable[[], bool]) -> None:
        self._station = station
        self._loading = loading
        self._may_claim = may_claim
        self._future: Future[Claim | None] | None = None
        self._wanted = Event()
        self._began = 0.0

    def ask(self, in_s: float = 0.0) -> None:
        """Begin to claim ``in_s`` seconds from now, or when it is taken, unless that was begun."""
        if self._future is None and self._may_claim():
            self._wanted.clear()
            self._future = self._station.claimer.submit(self._claim, time.monotonic() + in_s)

    def take(self) -> Claim | None:
        """What was claimed, if anything; looks once more when the last look found nothing and was a while ago.

        Raises:
            StorageUnavailable: the database does not answer; nothing is claimed.

        """
        wanted_at = time.monotonic()
        self._wanted.set()
        future, self._future = self._future, None
        claimed = future.result() if future else None
        if future is None or claimed is not None or self._began >= wanted_at or not self._may_claim():
            return claimed
        return self._station.claimer.submit(self._claim, wanted_at).result()

    def give_back(self) -> None:
        """Return what was claimed."""
        self._wanted.set()
        future, self._future = self._future, None
        with suppress(StorageUnavailable):
            if future is not None and not future.cancel() and (unused := future.result()) is not None:
                return_unused(unused, self._station)

    def _claim(self, due: float) -> Claim | None:
        self._wanted.wait(due - time.monotonic())
        if not self._may_claim():
            return None
        self._began = time.monotonic()
        return self._station.claim_beside(self._loading, self._wanted)


class FrameStream:
    """One claim and those that follow it, until none does, time is up, or another engine takes over.

    A suspect runs alone. What goes wrong with one frame ends that frame. An exception of the engine sends back the
    batches whose images it held and gives back those that it had not begun; one of a loader sends back its batch. All
    that was looked at before is committed.
    """

    def __init__(self, first: Claim, station: Station, ahead: Ahead, loading: Loading, limits: Limits) -> None:
        self._station = station
        self._ahead = ahead
        self._loading = loading
        self._limits = limits
        self._alone = first.suspect
        self._next: Claim | None = first
        self._open: list[Batch] = []
        self._awaiting: deque[tuple[Batch, ClaimedFrame]] = deque()
        self._writes: deque[Future[Inspected]] = deque()
        self._trouble: BaseException | None = None
        self._to_blame: Batch | None = None
        self._answered_at = self._looked_at = time.perf_counter()
        self._fed_s = 0.0
        self._done = Inspected()

    def run(self) -> Inspected:
        """Inspect; returns after the last commit.

        Raises:
            EngineUnavailable: the engine failed or left an image without an answer; what it held went back.
            StorageUnavailable: the database or the frame store does not answer; frames went back, or their leases run.

        """
        with ExitStack() as stack:
            stack.push(self._settle)
            with self._station.looking() as serving:
                self._serving = serving
                with closing(serving.detector.detect_each(self._feed())) as answers:
                    for seen in answers:
                        self._answer(seen)
                if self._awaiting and self._trouble is None:
                    raise EngineUnavailable(f"The detector left {len(self._awaiting)} images without an answer.")
        if self._trouble is not None:
            raise self._trouble
        return self._done

    def _feed(self) -> Iterator[NDArray[np.uint8]]:
        """Images, as fast as the engine draws them; ends early after trouble, so that what it holds is finished."""
        while (batch := self._following()) is not None:
            if not self._alone:
                self._ahead.ask(self._station.spare_s(len(batch.claim.frames)))
            for _ in batch.claim.frames:
                image = self._draw(batch)
                if self._trouble is not None:
                    return
                if image is not None:
                    yield image

    def _following(self) -> Batch | None:
        claim, self._next = self._next or self._claimed_ahead(), None
        if claim is None:
            return None
        batch = Batch(claim)
        self._open.append(batch)
        return batch

    def _claimed_ahead(self) -> Claim | None:
        # A claim that is not taken here is given back, or looked at by the engine that takes over.
        if self._trouble or self._limits.stopping() or self._station.serving is not self._serving:
            return None
        began = time.perf_counter()
        try:
            return self._ahead.take()
        except StorageUnavailable as error:
            self._trouble = error
            return None
        finally:
            self._fed_s += time.perf_counter() - began

    def _draw(self, batch: Batch) -> NDArray[np.uint8] | None:
        began = time.perf_counter()
        future = self._loading.take()
        self._fed_s += time.perf_counter() - began
        if (error := future.exception()) is not None:
            self._trouble, self._to_blame = error, batch
            return None
        loaded = future.result()
        batch.take(loaded)
        self._station.load_s = loaded.fetch_s + loaded.decode_s
        if loaded.image is None:
            self._station.tell(batch.outcomes[-1], self._serving.measure)
            self._end_if_looked_at(batch)
        else:
            self._awaiting.append((batch, loaded.frame))
        return loaded.image

    def _answer(self, seen: Sequence[Detection]) -> None:
        if not self._awaiting:
            raise EngineUnavailable("The detector answered more images than it was given.")
        began = time.perf_counter()
        batch, frame = self._awaiting.popleft()
        batch.infer_s += began - self._answered_at - self._fed_s
        batch.judge(frame.id, seen, self._station.settings.verdict)
        self._station.tell(batch.outcomes[-1], self._serving.measure)
        batch.post_s += time.perf_counter() - began
        self._end_if_looked_at(batch)
        self._answered_at, self._fed_s = time.perf_counter(), 0.0

    def _end_if_looked_at(self, batch: Batch) -> None:
        """Hand a batch to the writer; the engine waits here when too many are written already."""
        if not batch.looked_at:
            return
        self._open.remove(batch)
        now = time.perf_counter()
        self._station.frame_s = (now - self._looked_at) / len(batch.claim.frames)
        self._looked_at = now
        self._writes.append(self._station.writer.submit(write, batch, self._station, self._serving.measure))
        self._collect(leave=WRITES_WAITING)

    def _collect(self, *, leave: int) -> None:
        while self._writes and (len(self._writes) > leave or self._writes[0].done()):
            written = self._writes.popleft()
            if (error := written.exception()) is not None:
                self._trouble = self._trouble or error
            else:
                self._done += written.result()

    def _settle(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is held afterwards but a claim that another engine is to look at."""
        if error or self._trouble or self._limits.stopping():
            self._ahead.give_back()
            self._loading.clear()
        cause = error or self._trouble
        # After its own error everything that the engine held is suspect; before a loader's it had answered all.
        blamed = [one for one in self._open if (one.taken if error else one is self._to_blame)]
        for batch in self._open:
            if batch in blamed and cause is not None:
                send_back(batch.claim, cause, self._station, self._serving.measure, alone=len(blamed) == 1)
            else:
                return_unused(batch.claim, self._station)
        self._collect(leave=0)
