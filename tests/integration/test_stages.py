"""Where the time of batches went: noted beside other commits, summed up, shown."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from gistline.flows.inspect_frames import inspect_frames
from gistline.flows.prune_frames import prune_frames
from gistline.flows.station import Station
from gistline.storage.batches import stage_sums
from gistline.storage.drains import ask_to_leave, is_asked_to_leave
from gistline.storage.session import transaction
from gistline.storage.tables import BatchRow, DrainRow
from tests.support.fleet import Fleet, fleet, fleet_settings
from tests.support.twin_detector import Order, TwinDetector

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def line(database_url: str, tmp_path: Path) -> Iterator[Fleet]:
    with fleet(fleet_settings(database_url, NOWHERE, tmp_path, batch_size=4)) as made:
        yield made


@pytest.fixture
def station(line: Fleet) -> Iterator[Station]:
    made = line.station(TwinDetector(frame_ms=2.0))
    made.worker = "detect-1@here"
    yield made
    made.close()


def noted(line: Fleet) -> int:
    with transaction(line.sessions) as session:
        return session.scalar(select(func.count()).select_from(BatchRow)) or 0


def test_each_batch_is_noted_with_the_next_commit_or_when_nothing_is_left(line: Fleet, station: Station) -> None:
    line.submit([Order.DEFECT] * 12)
    inspect_frames((), station)
    assert noted(line) == 2, "the last one waits for another commit"
    for _ in range(2):
        station.write_notes()
    assert noted(line) == 3


def test_the_sums_hold_every_frame_and_every_stage(line: Fleet, station: Station) -> None:
    ids = line.submit([Order.DEFECT] * 9)
    line.store.delete(line.frames()[ids[8]].sha256)
    inspect_frames((), station)
    station.write_notes()
    with transaction(line.sessions) as session:
        (found,) = stage_sums(session, minutes=5)
        rows = list(session.scalars(select(BatchRow).order_by(BatchRow.claimed_at)))
        assert stage_sums(session, minutes=0) == []
    assert (found.worker, found.batches, found.frames, found.failed, found.cameras) == ("detect-1@here", 3, 9, 1, 1.0)
    assert [row.frames for row in rows] == [4, 4, 1]
    assert found.infer_ms * 9 >= 8 * 2.0, "the twin takes 2 ms for each of the eight that it sees"
    for row in rows:
        assert 0 <= row.queue_s <= row.queue_max_s
        assert 0 < row.commit_s < row.total_s
    assert min(found.fetch_ms, found.decode_ms, found.post_ms, found.commit_ms) > 0


def test_notes_that_cannot_be_written_stay_for_later_and_are_written_once(line: Fleet, station: Station) -> None:
    line.submit([Order.DEFECT] * 4)
    inspect_frames((), station)
    kept = list(station.notes)
    station.write_notes()
    station.notes.extend(kept)  # as after a commit whose answer was lost
    station.write_notes()
    assert (noted(line), station.notes) == (1, [])


def test_old_drains_are_pruned(line: Fleet) -> None:
    with transaction(line.sessions) as session:
        ask_to_leave(session, ["detect-1@here"], by="somebody")
    prune_frames(line.sessions, line.store, line.settings.frames)
    with transaction(line.sessions) as session:
        assert is_asked_to_leave(session, "detect-1@here")
        session.execute(update(DrainRow).values(asked_at=func.now() - timedelta(days=1, seconds=1)))
    prune_frames(line.sessions, line.store, line.settings.frames)
    with transaction(line.sessions) as session:
        assert not is_asked_to_leave(session, "detect-1@here")
