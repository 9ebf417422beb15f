"""Windows between the bell and the committed result (6, 8, 12, 13, 14), each hit on purpose with real processes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from gistline.dispatch import CelerySender
from gistline.domain import FrameState
from gistline.storage.frames import Lease, claim_fresh
from gistline.storage.session import transaction
from tests.chaos.servers import RedisProcess
from tests.chaos.system import System, default_slot, free_ports
from tests.support.fleet import Fleet, fleet, fleet_settings
from tests.support.processes import family, wait_until
from tests.support.twin_detector import Order

UNACKED = "unacked.detect"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisProcess]:
    """A Redis that keeps its data over a kill, as the embedded one does."""
    (tmp_path / "logs").mkdir()
    made = RedisProcess(tmp_path / "redis", free_ports(default_slot())[0], persistent=True)
    made.start()
    yield made
    made.close()


@pytest.fixture
def line(database_url: str, server: RedisProcess, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Fleet]:
    """A fleet; ``@pytest.mark.parametrize("line", [{...}], indirect=True)`` changes its settings."""
    url = f"redis://127.0.0.1:{server.port}/0"
    with fleet(fleet_settings(database_url, url, tmp_path, **getattr(request, "param", {}))) as made:
        yield made


@pytest.fixture
def sender(line: Fleet) -> Iterator[CelerySender]:
    made = CelerySender(line.settings.redis, line.settings.fleet)
    yield made
    made.close()


def ask(server: RedisProcess, command: str, *arguments: str) -> Any:
    with server.client() as client:
        return client.execute_command(command, *arguments)


def listeners(server: RedisProcess) -> int:
    """Workers that wait in BRPOP at this moment."""
    with server.client() as client:
        return sum(one["cmd"] == "brpop" and "b" in one["flags"] for one in client.client_list())


def held(server: RedisProcess) -> tuple[int, int]:
    """Messages that wait, and those that were taken and not acknowledged."""
    return int(ask(server, "LLEN", "detect")), int(ask(server, "HLEN", UNACKED))


@pytest.mark.long
def test_window_6_a_message_is_lost_between_pop_and_unacked(
    line: Fleet, server: RedisProcess, sender: CelerySender
) -> None:
    worker = line.start_worker()
    worker.wait_until_ready()
    ids: list[UUID] = []
    for bells in range(1, 21):
        wait_until(lambda: listeners(server) == 1, "the worker waits for a message")
        worker.suspend()
        ids += line.submit([Order.DEFECT] * 6, sender)
        wait_until(lambda bells=bells: sender.count.sent == bells, "the bell is sent")  # type: ignore[misc]
        if held(server) == (0, 0):
            break  # Redis has handed it to the stopped worker: it is in no list any more, only in a socket.
        worker.resume()  # it had just ceased to wait; the next message may meet it better
        line.wait_until_finished(ids)
    worker.kill()
    assert held(server) == (0, 0)
    assert line.in_state(FrameState.PENDING) == set(ids[-6:])
    line.start_worker()
    line.wait_until_finished(ids)
    line.assert_inspected_once(ids)


@pytest.mark.long
@pytest.mark.parametrize(
    "line", [{"detect_visibility_s": 5, "drain_s": 10.0, "lease_s": 60.0, "ring_again_s": 30.0}], indirect=True
)
def test_window_8_redis_dies_between_commit_and_acknowledgement(
    line: Fleet, server: RedisProcess, sender: CelerySender
) -> None:
    # The append-only file may lag by seconds on a busy disk, and a lost list is another window.
    ask(server, "CONFIG", "SET", "appendfsync", "always")
    worker = line.start_worker()
    worker.wait_until_ready()
    line.hold()
    ids = line.submit([Order.DEFECT] * 16, sender)
    # Nobody else rings or sweeps them up: what runs is this message's.
    wait_until(lambda: bool(line.in_state(FrameState.RUNNING)), "the batch runs")
    server.pause()
    line.let_go()
    line.wait_until_finished(ids)
    server.kill()
    os.kill(worker.process.pid, signal.SIGSTOP)  # it comes back sooner than this looks
    server.start()
    assert held(server)[1] > 0, "the message was acknowledged: the test proves nothing"
    os.kill(worker.process.pid, signal.SIGCONT)
    wait_until(lambda: held(server) == (0, 0), "the message came again and was acknowledged", within_s=40)
    line.assert_inspected_once(ids)
    assert {row.attempts for row in line.frames().values()} == {1}


@pytest.mark.long
def test_window_12_a_detect_worker_has_no_child_that_could_be_killed_for_it(line: Fleet) -> None:
    worker = line.start_worker()
    worker.wait_until_ready()
    line.wait_until_finished(line.submit([Order.DEFECT] * 4))
    assert family(worker.process.pid) == []


@pytest.mark.long
@pytest.mark.parametrize("line", [{"batch_size": 4, "drain_s": 0.5, "max_attempts": 20}], indirect=True)
def test_window_13_a_soak_of_outages_leaves_two_workers_alive_and_hearing(
    line: Fleet, server: RedisProcess, sender: CelerySender
) -> None:
    workers = [line.start_worker() for _ in range(2)]
    for worker in workers:
        worker.wait_until_ready()
    ids: list[UUID] = []
    for outage in range(4):
        line.hold()
        ids += line.submit([Order.DEFECT] * 24, sender)
        wait_until(lambda: bool(line.in_state(FrameState.RUNNING)), "a batch runs")
        server.kill()
        line.let_go()
        time.sleep(0.2 * outage)
        if outage % 2:
            server.wipe()
        server.start()
        assert [worker.process.poll() for worker in workers] == [None, None], "a worker died of the outage"
    line.wait_until_finished(ids, within_s=60)
    line.assert_inspected_once(ids)
    # Both wait for messages again, not only one, and not only their watches.
    wait_until(lambda: listeners(server) == 2, "both workers wait for messages again")


@pytest.mark.long
def test_window_14_any_worker_sweeps_while_beat_and_detect_workers_are_gone(system: System) -> None:
    """A report worker alone returns the frames of a dead worker; the alert's query shows that they wait."""
    lost = abandoned_frame(system)
    oldest = "SELECT extract(epoch FROM now() - min(accepted_at)) FROM frames WHERE state = 'pending'"
    with system.postgres.connect() as connection:
        time.sleep(0.3)
        state = "SELECT state::text, attempts FROM frames WHERE id = %s"
        assert connection.execute(state, [lost]).fetchone() == ("running", 1), "somebody swept although nobody runs"
        system.start(("report",))
        wait_until(lambda: connection.execute(state, [lost]).fetchone() == ("pending", 1), "the lease is returned")
        waits = connection.execute(oldest).fetchone()
        assert waits is not None
        assert waits[0] > 0


def abandoned_frame(system: System) -> UUID:
    """A frame that a worker claimed before it died; its lease has run out."""
    keys = system.add_cameras()
    assert keys
    frame_id = uuid4()
    with transaction(system.sessions) as session:
        session.execute(
            text(
                "INSERT INTO frames (id, camera_id, line, idempotency_key, sha256, media_type, byte_count,"
                " width, height, captured_at)"
                " SELECT :id, id, line, 'k', repeat('0', 64), 'image/png', 1, 32, 32, now() FROM cameras LIMIT 1"
            ),
            {"id": frame_id},
        )
    with transaction(system.sessions) as session:
        assert claim_fresh(session, Lease(uuid4(), 0.1), limit=1)
    return frame_id
