"""Real detect worker processes over real PostgreSQL and Redis: each frame is inspected once, whatever dies."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gistline.dispatch import CelerySender
from gistline.domain import FINAL_STATES, FrameState, VerdictKind
from gistline.storage.health import workers
from gistline.storage.session import transaction
from tests.support.fleet import Fleet, fleet, fleet_settings
from tests.support.processes import wait_until
from tests.support.redis_server import RedisServer, own_redis
from tests.support.twin_detector import Order


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with own_redis(tmp_path) as made:
        yield made


@pytest.fixture
def line(database_url: str, server: RedisServer, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Fleet]:
    """A fleet; ``@pytest.mark.parametrize("line", [{...}], indirect=True)`` changes its settings."""
    with fleet(fleet_settings(database_url, server.url, tmp_path, **getattr(request, "param", {}))) as made:
        yield made


@pytest.fixture
def sender(line: Fleet) -> Iterator[CelerySender]:
    made = CelerySender(line.settings.redis, line.settings.fleet)
    yield made
    made.close()


def test_two_hundred_frames_are_each_inspected_once(line: Fleet, sender: CelerySender) -> None:
    line.start_worker()
    ids = [*line.submit([Order.CLEAN, Order.DEFECT] * 50, sender), *line.submit([Order.DEFECT] * 100, sender)]
    line.wait_until_finished(ids)
    assert line.in_state(FrameState.INSPECTED) == set(ids)
    defects = {frame_id for number, frame_id in enumerate(ids) if number % 2 or number >= 100}
    assert line.findings() == dict.fromkeys(defects, 1)
    assert line.verdicts() == {one: VerdictKind.NG if one in defects else VerdictKind.OK for one in ids}
    assert {row.attempts for row in line.frames().values()} == {1}


@pytest.mark.long
@pytest.mark.parametrize("line", [{"lease_s": 1.0}], indirect=True)
def test_frames_of_a_killed_worker_are_inspected_by_the_next_one(line: Fleet, sender: CelerySender) -> None:
    worker = line.start_worker(frame_ms=30)
    ids = line.submit([Order.DEFECT] * 40, sender)
    wait_until(lambda: len(line.in_state(FrameState.INSPECTED)) >= 16, "the first batch is done")
    wait_until(lambda: bool(line.in_state(FrameState.RUNNING)), "the second batch runs")
    worker.kill()
    assert line.in_state(FrameState.RUNNING), "nothing was being worked on: the test proves nothing"
    line.start_worker()
    line.wait_until_finished(ids)
    line.assert_inspected_once(ids)


@pytest.mark.long
@pytest.mark.parametrize("line", [{"lease_s": 1.0}], indirect=True)
def test_a_frame_that_kills_its_worker_dies_alone(line: Fleet, sender: CelerySender) -> None:
    ids = line.submit([*[Order.DEFECT] * 5, Order.KILL, *[Order.DEFECT] * 10], sender)
    poison = ids[5]
    for _ in range(line.settings.fleet.max_attempts):
        worker = line.start_worker()
        wait_until(lambda dead=worker: dead.process.poll() is not None, "the poison has killed its worker")  # type: ignore[misc]
    line.start_worker()
    line.wait_until_finished(ids)
    assert line.in_state(FrameState.FAILED) == {poison}
    assert line.in_state(FrameState.INSPECTED) == set(ids) - {poison}
    assert line.findings() == dict.fromkeys(set(ids) - {poison}, 1)
    assert line.verdicts()[poison] is VerdictKind.REINSPECT
    row = line.frames()[poison]
    assert row.attempts == 2
    assert "worker died" in (row.error or "")


def test_frames_whose_bells_were_lost_are_found(line: Fleet, server: RedisServer, sender: CelerySender) -> None:
    rung = line.submit([Order.DEFECT] * 20, sender)
    wait_until(lambda: server.length("detect") > 0, "bells wait")
    server.flush()
    never_rung = line.submit([Order.DEFECT] * 20)
    line.start_worker()
    line.wait_until_finished([*rung, *never_rung])
    line.assert_inspected_once([*rung, *never_rung])


@pytest.mark.long
def test_frames_are_inspected_while_redis_is_away(line: Fleet, server: RedisServer) -> None:
    line.start_worker().wait_until_ready()
    server.kill()
    ids = line.submit([Order.DEFECT] * 40)
    line.wait_until_finished(ids)
    line.assert_inspected_once(ids)


@pytest.mark.long
@pytest.mark.parametrize("line", [{"lease_s": 1.0, "batch_size": 1, "max_attempts": 20}], indirect=True)
def test_a_lease_shorter_than_the_engine_harms_nothing(line: Fleet, sender: CelerySender) -> None:
    # One frame and two idle workers: whoever does not have it takes it up while the other still infers.
    for worker in [line.start_worker(frame_ms=3000) for _ in range(2)]:
        worker.wait_until_ready()
    ids = line.submit([Order.DEFECT], sender)
    line.wait_until_finished(ids)
    line.assert_inspected_once(ids)
    assert max(row.attempts for row in line.frames().values()) > 1, "no lease ran out: the test proves nothing"


@pytest.mark.long
@pytest.mark.parametrize("line", [{"batch_size": 4, "drain_s": 0.5}], indirect=True)
def test_a_worker_survives_outages_of_redis(line: Fleet, server: RedisServer, sender: CelerySender) -> None:
    worker = line.start_worker(frame_ms=20)
    worker.wait_until_ready()
    ids = []
    for outage_s in (0.0, 0.3, 0.8):
        ids += line.submit([Order.DEFECT] * 24, sender)
        wait_until(lambda: bool(line.in_state(FrameState.RUNNING)), "a batch runs")
        server.kill()
        time.sleep(outage_s)
        server.start()
        line.wait_until_finished(ids)
        assert worker.process.poll() is None, worker.log.read_text()
    # The bell reaches it again, so it is not only its own watch that works.
    wait_until(lambda: rings(sender, server), "a bell is sent and heard")
    line.assert_inspected_once(ids)


def rings(sender: CelerySender, server: RedisServer) -> bool:
    before = sender.count.sent
    sender.ring_detect(())
    time.sleep(0.2)
    return sender.count.sent > before and server.length("detect") == 0


def test_sigterm_ends_a_busy_worker_without_losing_a_frame(line: Fleet, sender: CelerySender) -> None:
    assert alive_and_ready(line) == (0, 0)
    worker = line.start_worker(frame_ms=20)
    ids = line.submit([Order.DEFECT] * 120, sender)
    wait_until(lambda: bool(line.in_state(FrameState.INSPECTED)), "it works")
    wait_until(lambda: alive_and_ready(line) == (1, 1), "it beats")
    assert worker.terminate() == 0
    left = line.in_state(FrameState.PENDING)
    assert left, "everything was done: the test proves nothing"
    assert line.in_state(*FINAL_STATES) == set(ids) - left, "a frame is still claimed"
    assert {row.attempts for row in line.frames().values()} <= {0, 1}
    assert alive_and_ready(line) == (0, 0), "it said goodbye"


def alive_and_ready(line: Fleet) -> tuple[int, int]:
    with transaction(line.sessions) as session:
        found = workers(session).get("detect")
    return (found.alive, found.ready) if found else (0, 0)


def test_a_broken_engine_reports_nothing_as_clean(line: Fleet, sender: CelerySender) -> None:
    worker = line.start_worker()
    worker.wait_until_ready()
    ids = line.submit([Order.CLEAN] * 3 + [Order.BREAK], sender)
    assert worker.process.wait(20) == 70, worker.log.read_text()
    assert line.in_state(FrameState.PENDING) == set(ids)
    assert {row.attempts for row in line.frames().values()} == {0}
    assert line.verdicts() == {}
