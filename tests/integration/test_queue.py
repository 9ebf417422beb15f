"""The queue in the rows: claims, batches that go wrong, deadlines, sweeps and bytes, on a real PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import func, text, update

from gistline.dispatch import NullDispatcher
from gistline.domain import Detection, FrameState, VerdictKind
from gistline.errors import EngineUnavailable, StorageUnavailable
from gistline.flows.batch_end import wait_for_tidying
from gistline.flows.inspect_frames import inspect_frames
from gistline.flows.prune_frames import prune_frames, prune_orphans
from gistline.flows.station import Station
from gistline.flows.sweep import Swept, sweep
from gistline.frames.local import LocalFrames
from gistline.settings_frames import Keep
from gistline.storage.findings import Measure
from gistline.storage.frame_sweep import sweep_alone
from gistline.storage.frames import Lease, Outcome, claim_fresh, finish
from gistline.storage.session import transaction
from gistline.storage.tables import FrameRow
from tests.support.fleet import Fleet, fleet, fleet_settings
from tests.support.twin_detector import Order, TwinDetector

Images = Iterable[NDArray[np.uint8]]
Answers = Generator[list[Detection], None, None]
NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def line(database_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Fleet]:
    with fleet(fleet_settings(database_url, NOWHERE, tmp_path, **getattr(request, "param", {}))) as made:
        yield made


@pytest.fixture
def station(line: Fleet) -> Iterator[Station]:
    made = line.station(TwinDetector())
    yield made
    made.close()


def with_keep(station: Station, keep: Keep) -> None:
    frames = station.settings.frames.model_copy(update={"keep": keep})
    station.settings = station.settings.model_copy(update={"frames": frames})


def claim_all(line: Fleet, *, lease_s: float = 60.0) -> UUID:
    token = uuid4()
    with transaction(line.sessions) as session:
        assert claim_fresh(session, Lease(token, lease_s), limit=256)
    return token


def change(line: Fleet, ids: list[UUID], **values: object) -> None:
    with transaction(line.sessions) as session:
        session.execute(update(FrameRow).where(FrameRow.id.in_(ids)).values(**values))


def drain(station: Station, expected: type[Exception]) -> None:
    """Inspect until nothing is pending; a message may end with the expected error."""
    for _ in range(20):
        with suppress(expected):
            if not inspect_frames((), station).batches:
                return
    raise AssertionError("the queue does not get empty")


def has_bytes(line: Fleet, frame_id: UUID) -> bool:
    row = line.frames()[frame_id]
    digest = row.sha256
    there = (line.settings.data_dir / "frames" / digest[:2] / digest).exists()
    assert there >= row.bytes_stored, "the row promises bytes that are gone"
    return there


def test_a_message_for_frames_that_are_done_does_nothing(line: Fleet, station: Station) -> None:
    ids = line.submit([Order.DEFECT] * 20)
    assert inspect_frames(ids[:3], station).frames == 20
    before = {one: row.finished_at for one, row in line.frames().items()}
    for _ in range(3):
        assert inspect_frames(ids, station).frames == 0
    assert {one: row.finished_at for one, row in line.frames().items()} == before
    assert line.findings() == dict.fromkeys(ids, 1)


def test_urgent_frames_come_first_then_old_ones(line: Fleet, station: Station) -> None:
    orders = [Order.CLEAN] * 20 + [Order.DEFECT] * 2
    ids = line.submit(orders)
    change(line, ids[20:], priority=1)
    with transaction(line.sessions) as session:
        claimed = claim_fresh(session, Lease(uuid4(), 60), limit=5, ids=[ids[19]])
    assert [frame.id for frame in claimed] == [ids[19], *ids[20:], *ids[:2]]


def test_claims_of_two_workers_never_overlap(line: Fleet) -> None:
    ids = line.submit([Order.CLEAN] * 12)
    with transaction(line.sessions) as one, transaction(line.sessions) as other:
        first = claim_fresh(one, Lease(uuid4(), 60), limit=8)
        second = claim_fresh(other, Lease(uuid4(), 60), limit=8)
    assert {frame.id for frame in first}.isdisjoint({frame.id for frame in second})
    assert {frame.id for frame in (*first, *second)} == set(ids)


def test_an_exception_on_one_frame_costs_the_others_one_attempt(line: Fleet, station: Station) -> None:
    ids = line.submit([Order.DEFECT] * 4 + [Order.RAISE] + [Order.DEFECT] * 4)
    with pytest.raises(RuntimeError):
        inspect_frames(ids, station)
    assert line.in_state(FrameState.PENDING) == set(ids)
    drain(station, RuntimeError)
    assert line.in_state(FrameState.FAILED) == {ids[4]}
    assert line.in_state(FrameState.INSPECTED) == set(ids) - {ids[4]}
    assert line.findings() == dict.fromkeys(set(ids) - {ids[4]}, 1)
    assert line.verdicts()[ids[4]] is VerdictKind.REINSPECT
    assert "told to raise" in (line.frames()[ids[4]].error or "")


@pytest.mark.parametrize("line", [{"retry_backoff_s": 60.0}], indirect=True)
def test_a_frame_that_went_wrong_waits_for_its_back_off(line: Fleet, station: Station) -> None:
    ids = line.submit([Order.RAISE])
    with pytest.raises(RuntimeError):
        inspect_frames(ids, station)
    row = line.frames()[ids[0]]
    assert row.attempts == 1
    assert row.available_at - row.accepted_at > timedelta(seconds=59)
    assert inspect_frames(ids, station).frames == 0


def test_fresh_frames_do_not_starve_behind_suspects_nor_share_a_batch(line: Fleet, station: Station) -> None:
    suspects = line.submit([Order.DEFECT] * 3)
    change(line, suspects, attempts=1, error="its worker died")
    line.submit([Order.CLEAN] * 40)
    done = inspect_frames((), station)
    assert done.frames == 43
    assert isinstance(station.serving.detector, TwinDetector)
    seen = "".join("D" if order == Order.DEFECT else "." for order in station.serving.detector.seen)
    assert seen == "D" + "." * 16 + "D" + "." * 16 + "D" + "." * 8
    assert done.batches == 6


def test_frames_that_cannot_be_looked_at_fail_closed_and_stop_no_other(line: Fleet, station: Station) -> None:
    with_keep(station, Keep.NOTHING)
    ids = line.submit([Order.CLEAN, Order.DEFECT, Order.CLEAN, Order.CLEAN])
    rows = line.frames()
    line.store.delete(rows[ids[0]].sha256)
    digest = rows[ids[2]].sha256
    path = line.settings.data_dir / "frames" / digest[:2] / digest
    data = path.read_bytes()[:50]
    path.unlink()  # the file is shared with the other images of its request
    path.write_bytes(data)
    done = inspect_frames(ids, station)
    assert (done.frames, done.failed) == (4, 2)
    assert line.in_state(FrameState.FAILED) == {ids[0], ids[2]}
    assert line.verdicts() == {
        ids[0]: VerdictKind.REINSPECT,
        ids[1]: VerdictKind.NG,
        ids[2]: VerdictKind.REINSPECT,
        ids[3]: VerdictKind.OK,
    }
    assert "frame missing" in (line.frames()[ids[0]].error or "")
    assert "frame damaged" in (line.frames()[ids[2]].error or "")
    assert has_bytes(line, ids[2]), "what failed is kept for whoever looks into it"


def test_a_broken_engine_gives_its_batch_back_uncounted_until_a_frame_is_alone(line: Fleet, station: Station) -> None:
    ids = line.submit([Order.CLEAN, Order.CLEAN, Order.BREAK])
    with pytest.raises(EngineUnavailable):
        inspect_frames(ids, station)
    assert {(row.state, row.attempts) for row in line.frames().values()} == {(FrameState.PENDING, 0)}
    assert line.verdicts() == {}
    drain(station, EngineUnavailable)
    assert line.in_state(FrameState.FAILED) == {ids[2]}
    assert line.in_state(FrameState.INSPECTED) == set(ids[:2])
    assert line.verdicts()[ids[2]] is VerdictKind.REINSPECT


def test_a_detector_that_answers_too_little_is_not_believed(line: Fleet, station: Station) -> None:
    class Forgetful(TwinDetector):
        def detect_each(self, images: Images, min_confidence: float | None = None) -> Answers:
            for number, seen in enumerate(super().detect_each(images)):
                if number:
                    yield seen

    station.change_over(replace(station.serving, detector=Forgetful()))
    ids = line.submit([Order.CLEAN] * 3)
    with pytest.raises(EngineUnavailable):
        inspect_frames(ids, station)
    assert line.verdicts() == {}


def test_a_store_that_is_away_costs_no_attempt(line: Fleet, station: Station) -> None:
    class Away(LocalFrames):
        def get(self, sha256: str) -> bytes:
            raise StorageUnavailable("The frame store does not answer.")

    ids = line.submit([Order.DEFECT] * 3)
    station.store = Away(line.settings.data_dir / "frames", fsync=False)
    with pytest.raises(StorageUnavailable):
        inspect_frames(ids, station)
    assert {(row.state, row.attempts, row.error) for row in line.frames().values()} == {(FrameState.PENDING, 0, None)}
    station.store = line.store
    assert inspect_frames(ids, station).frames == 3


def test_the_first_writer_wins(line: Fleet) -> None:
    ids = line.submit([Order.CLEAN] * 3)
    slow, quick = uuid4(), claim_all(line)
    measure = Measure(None, 0.25, 0.5)
    with transaction(line.sessions) as session:
        assert finish(session, [Outcome.failed(ids[0], "quick")], token=quick, measure=measure) == {ids[0]}
    with transaction(line.sessions) as session:
        late = [Outcome.failed(one, "slow") for one in ids]
        assert finish(session, late, token=slow, measure=measure) == set(ids[1:])
    assert {one: row.error for one, row in line.frames().items()} == {ids[0]: "quick", ids[1]: "slow", ids[2]: "slow"}


def test_a_lease_that_ran_out_returns_the_frame_until_it_was_tried_enough(line: Fleet) -> None:
    ids = line.submit([Order.CLEAN] * 2)
    for attempt in (1, 2):
        change(line, ids, state=FrameState.RUNNING, attempts=attempt, lease_until=func.now() - timedelta(seconds=1))
        swept = sweep(line.sessions, NullDispatcher(), line.settings)
        assert (swept.returned, swept.failed) == ((2, 0) if attempt == 1 else (0, 2))
    assert line.in_state(FrameState.FAILED) == set(ids)
    assert line.verdicts() == dict.fromkeys(ids, VerdictKind.REINSPECT)


def test_a_lease_that_still_holds_is_left_alone(line: Fleet) -> None:
    line.submit([Order.CLEAN] * 2)
    claim_all(line)
    assert sweep(line.sessions, NullDispatcher(), line.settings) == Swept()


def test_the_sweep_rings_for_the_head_of_the_queue_and_not_twice(line: Fleet) -> None:
    ids = line.submit([Order.CLEAN] * 30)
    bells = NullDispatcher()
    assert sweep(line.sessions, bells, line.settings).rung == 0, "they were rung when they were accepted"
    change(line, ids, sent_at=func.now() - timedelta(seconds=60))
    assert sweep(line.sessions, bells, line.settings).rung == 30
    assert sweep(line.sessions, bells, line.settings).rung == 0
    assert set(bells.frames) == set(ids)


def test_one_sweeper_at_a_time_works(line: Fleet) -> None:
    ids = line.submit([Order.CLEAN])
    change(line, ids, sent_at=func.now() - timedelta(seconds=60))
    with transaction(line.sessions) as other:
        assert sweep_alone(other)
        assert sweep(line.sessions, NullDispatcher(), line.settings) == Swept()
    assert sweep(line.sessions, NullDispatcher(), line.settings).rung == 1


def test_a_frame_past_its_deadline_expires_and_is_never_claimed(line: Fleet, station: Station) -> None:
    ids = line.submit([Order.CLEAN] * 2)
    change(line, ids[:1], expires_at=func.now() - timedelta(seconds=1))
    assert inspect_frames(ids, station).frames == 1
    assert sweep(line.sessions, NullDispatcher(), line.settings).expired == 1
    assert line.in_state(FrameState.EXPIRED) == {ids[0]}
    assert line.verdicts() == {ids[0]: VerdictKind.REINSPECT, ids[1]: VerdictKind.OK}


@pytest.mark.parametrize(
    ("keep", "kept"), [(Keep.ALL, {0, 1, 2}), (Keep.FINDINGS, {1, 2}), (Keep.NOTHING, {2})], ids=str
)
def test_bytes_are_kept_as_the_settings_say(line: Fleet, station: Station, keep: Keep, kept: set[int]) -> None:
    with_keep(station, keep)
    ids = line.submit([Order.CLEAN, Order.DEFECT, Order.RAISE])
    change(line, ids[2:], attempts=1)
    with pytest.raises(RuntimeError):
        inspect_frames(ids, station)
    inspect_frames(ids, station)
    wait_for_tidying(station, leave=0)
    assert {number for number, one in enumerate(ids) if has_bytes(line, one)} == kept
    assert {number for number, one in enumerate(ids) if line.frames()[one].bytes_stored} == kept


def test_equal_images_keep_their_bytes_until_the_last_is_done(line: Fleet, station: Station) -> None:
    with_keep(station, Keep.FINDINGS)
    ids = [line.submit([Order.CLEAN])[0]]
    line.numbers -= 1
    ids += line.submit([Order.CLEAN])
    change(line, ids[1:], available_at=func.now() + timedelta(hours=1))
    inspect_frames((), station)
    wait_for_tidying(station, leave=0)
    assert line.in_state(FrameState.INSPECTED) == {ids[0]}
    assert has_bytes(line, ids[1])
    change(line, ids[1:], available_at=func.now())
    inspect_frames((), station)
    wait_for_tidying(station, leave=0)
    assert line.in_state(FrameState.INSPECTED) == set(ids)
    assert not has_bytes(line, ids[1])


def test_kept_bytes_are_pruned_when_their_days_are_over_and_orphans_after_one(line: Fleet, station: Station) -> None:
    ids = line.submit([Order.DEFECT] * 3)
    inspect_frames(ids, station)
    waiting = line.submit([Order.DEFECT])
    days = line.settings.frames.keep_days
    change(line, ids[:1], finished_at=func.now() - timedelta(days=days + 1))
    assert prune_frames(line.sessions, line.store, line.settings.frames) == 1
    assert [has_bytes(line, one) for one in (*ids, *waiting)] == [False, True, True, True]
    with transaction(line.sessions) as session:
        session.execute(text("UPDATE frames SET bytes_stored = false WHERE id = :id"), {"id": ids[1]})
    assert prune_orphans(line.sessions, line.store) == 0, "young bytes may belong to a request under way"
    age_files(line.settings.data_dir / "frames")
    assert prune_orphans(line.sessions, line.store) == 1
    assert [has_bytes(line, one) for one in (*ids, *waiting)] == [False, False, True, True]


def age_files(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            os.utime(path, (1, 1))


def test_a_slow_engine_gets_batches_that_end_before_their_lease(line: Fleet, station: Station) -> None:
    assert station.limit() == line.settings.fleet.batch_size
    station.frame_s = 0.1
    assert station.limit() == 5, "2 s of lease: a quarter holds five frames of 0.1 s"
    station.frame_s = 99.0
    assert station.limit() == 1


def test_a_worker_that_is_asked_to_leave_claims_no_more(line: Fleet, station: Station) -> None:
    ids = line.submit([Order.CLEAN] * 100)
    done = inspect_frames(ids[:4], station, stopping=lambda: True)
    assert done.frames == 16
    assert len(line.in_state(FrameState.PENDING)) == 84
