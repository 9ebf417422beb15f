"""Batches as one stream: what overlaps, what is committed after trouble, and what goes back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import func, select

from gistline.domain import Detection, FrameState
from gistline.errors import StorageUnavailable
from gistline.flows.inspect_frames import inspect_frames
from gistline.frames.local import LocalFrames
from gistline.storage.session import transaction
from gistline.storage.tables import FrameRow
from tests.support.fleet import Fleet, fleet, fleet_settings
from tests.support.processes import wait_until
from tests.support.twin_detector import Order, TwinDetector

NOWHERE = "redis://127.0.0.1:1/0"
Images = Iterable[NDArray[np.uint8]]


@pytest.fixture
def line(database_url: str, tmp_path: Path) -> Iterator[Fleet]:
    with fleet(fleet_settings(database_url, NOWHERE, tmp_path, batch_size=4)) as made:
        yield made


def finished(line: Fleet) -> int:
    with transaction(line.sessions) as session:
        return session.scalar(select(func.count()).where(FrameRow.finished_at.is_not(None))) or 0


class Counting(TwinDetector):
    """Counts its streams."""

    def __init__(self, line: Fleet) -> None:
        super().__init__()
        self.line = line
        self.streams = 0

    def detect_each(
        self, images: Images, min_confidence: float | None = None
    ) -> Generator[list[Detection], None, None]:
        self.streams += 1
        yield from super().detect_each(images)


class Watching(Counting):
    """Before it looks at its sixth frame it waits until the first batch of four has been committed."""

    def _look(self, image: NDArray[np.uint8]) -> list[Detection]:
        if len(self.seen) == 5:
            wait_until(lambda: finished(self.line) == 4, "the first batch is committed while the second is looked at")
        return super()._look(image)


def test_a_batch_is_committed_while_the_engine_looks_at_the_next(line: Fleet) -> None:
    detector = Watching(line)
    station = line.station(detector)
    ids = line.submit([Order.DEFECT] * 24)
    done = inspect_frames(ids[:4], station)
    assert (done.batches, done.frames, detector.streams) == (6, 24, 1)
    line.assert_inspected_once(ids)
    station.close()


def test_a_batch_that_raises_costs_no_other_batch_anything(line: Fleet) -> None:
    station = line.station(TwinDetector())
    ids = line.submit([Order.DEFECT] * 5 + [Order.RAISE] + [Order.DEFECT] * 6)
    with pytest.raises(RuntimeError, match="told to raise"):
        inspect_frames((), station)
    rows = line.frames()
    assert line.in_state(FrameState.INSPECTED) == set(ids[:4])
    assert [rows[one].attempts for one in ids[4:]] == [1] * 4 + [0] * 4
    assert {rows[one].state for one in ids[4:]} == {FrameState.PENDING}
    station.close()


def test_a_store_that_goes_away_keeps_what_was_looked_at_before(line: Fleet) -> None:
    ids = line.submit([Order.DEFECT] * 12)
    lost = line.frames()[ids[6]].sha256

    class GoesAway(LocalFrames):
        def get(self, sha256: str) -> bytes:
            if sha256 == lost:
                raise StorageUnavailable("The frame store does not answer.")
            return super().get(sha256)

    station = line.station(TwinDetector())
    station.store = GoesAway(line.settings.data_dir / "frames", fsync=False)
    with pytest.raises(StorageUnavailable):
        inspect_frames((), station)
    rows = line.frames()
    assert line.in_state(FrameState.INSPECTED) == set(ids[:4])
    assert {(rows[one].state, rows[one].attempts, rows[one].error) for one in ids[4:]} == {
        (FrameState.PENDING, 0, None)
    }
    station.close()


def test_a_worker_asked_to_leave_ends_its_batch_and_gives_back_what_it_had_not_begun(line: Fleet) -> None:
    leaving = threading.Event()

    class Leaves(TwinDetector):
        def _look(self, image: NDArray[np.uint8]) -> list[Detection]:
            if len(self.seen) == 1:
                wait_until(lambda: len(line.in_state(FrameState.RUNNING)) == 8, "the next batch is claimed")
                leaving.set()
            return super()._look(image)

    station = line.station(Leaves())
    ids = line.submit([Order.DEFECT] * 20)
    assert inspect_frames((), station, stopping=leaving.is_set).frames == 4
    rows = line.frames()
    assert line.in_state(FrameState.INSPECTED) == set(ids[:4])
    assert {(rows[one].state, rows[one].attempts) for one in ids[4:]} == {(FrameState.PENDING, 0)}
    station.close()


class Interrupted(Counting):
    """While it looks at its first frame another one is accepted, and ``then`` happens."""

    def __init__(self, line: Fleet, then: Callable[[], None] = lambda: None) -> None:
        super().__init__(line)
        self.then = then

    def _look(self, image: NDArray[np.uint8]) -> list[Detection]:
        if not self.seen:
            self.line.submit([Order.DEFECT])
            self.then()
        return super()._look(image)


def test_a_frame_that_comes_while_the_engine_is_busy_is_claimed_before_it_is_done(line: Fleet) -> None:
    def claimed() -> None:
        wait_until(lambda: len(line.in_state(FrameState.RUNNING)) == 2, "the frame that came is claimed ahead")

    detector = Interrupted(line, claimed)
    station = line.station(detector)
    station.frame_s = 0.3  # the engine is expected to be busy for so long
    assert inspect_frames(line.submit([Order.DEFECT]), station).batches == 2
    assert detector.streams == 1
    line.assert_inspected_once(list(line.frames()))
    station.close()


def test_a_frame_that_comes_after_the_claim_ahead_is_looked_at_at_once(line: Fleet) -> None:
    detector = Interrupted(line, lambda: time.sleep(0.2))  # nothing is expected of a claim that found nothing
    station = line.station(detector)
    assert inspect_frames(line.submit([Order.DEFECT]), station).batches == 2
    assert detector.streams == 1, "nobody waited for the first one's commit"
    station.close()


def test_a_batch_is_not_committed_before_its_verdicts_went(line: Fleet) -> None:
    station = line.station(TwinDetector())
    committed: list[int] = []
    station.let_told_pass = lambda: committed.append(finished(line))
    assert inspect_frames(line.submit([Order.DEFECT] * 3), station).frames == 3
    assert committed == [0]
    station.close()
