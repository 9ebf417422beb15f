"""A worker that is asked to leave: it finishes what it holds, gives back the rest, and is not started again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gistline.dispatch import CelerySender
from gistline.domain import FrameState
from gistline.embedded.processes import Program
from gistline.embedded.supervisor import Patience, Supervisor
from gistline.errors import NotFound
from gistline.flows.drain_workers import drain_workers, still_alive
from gistline.storage.health import live_names
from gistline.storage.session import transaction
from tests.support.fleet import Fleet, fleet, fleet_settings
from tests.support.processes import wait_until
from tests.support.redis_server import own_redis
from tests.support.twin_detector import Order


@pytest.fixture
def line(database_url: str, tmp_path: Path) -> Iterator[Fleet]:
    with (
        own_redis(tmp_path) as server,
        fleet(fleet_settings(database_url, server.url, tmp_path, batch_size=4, drain_s=10.0, lease_s=60.0)) as made,
    ):
        yield made


@pytest.mark.long
def test_a_drained_worker_finishes_gives_back_and_leaves_and_another_joins_by_starting(line: Fleet) -> None:
    worker = line.start_worker(frame_ms=50)
    sender = CelerySender(line.settings.redis, line.settings.fleet)
    ids = line.submit([Order.DEFECT] * 120, sender)
    wait_until(lambda: len(line.in_state(FrameState.INSPECTED)) >= 4, "a batch is done")
    (name,) = drain_workers(line.sessions, (), by="test")
    assert str(worker.process.pid) in name
    assert worker.process.wait(20) == 0
    done = line.in_state(FrameState.INSPECTED)
    assert 4 <= len(done) < 120, "it went on to the end: the test proves nothing"
    rows = line.frames()
    left = set(ids) - done
    assert {(rows[one].state, rows[one].attempts) for one in left} == {(FrameState.PENDING, 0)}
    assert still_alive(line.sessions, [name]) == []
    line.start_worker()
    line.wait_until_finished(ids)
    line.assert_inspected_once(ids)
    sender.close()


def test_a_name_that_nobody_has_is_refused(line: Fleet) -> None:
    with pytest.raises(NotFound, match="detect-0@nowhere"):
        drain_workers(line.sessions, ["detect-0@nowhere"], by="test")
    with transaction(line.sessions) as session:
        assert live_names(session) == set()
    assert drain_workers(line.sessions, (), by="test") == []


@pytest.mark.parametrize(("code", "restarted"), [(0, False), (3, True)])
def test_a_supervisor_leaves_a_drained_program_ended_unless_it_failed(
    tmp_path: Path, *, code: int, restarted: bool
) -> None:
    asked: list[tuple[str, int]] = []

    def retired(name: str, pid: int) -> bool:
        asked.append((name, pid))
        return True

    events: list[str] = []
    program = Program("leaver", (sys.executable, "-c", f"raise SystemExit({code})"), tmp_path / "log")
    patience = Patience(grace_s=1.0, backoff_s=0.05, longest_backoff_s=0.2)
    with Supervisor(patience, on_event=events.append, retired=retired) as supervisor:
        supervisor.start(program)
        wait_until(lambda: bool(events), "it has ended")
        if restarted:
            wait_until(lambda: supervisor.restarts()["leaver"] > 0, "it was started again")
        assert ("has left" in events[0]) is not restarted
        assert supervisor.pids() == {} or restarted
    assert [name for name, _ in asked] == ([] if restarted else ["leaver"])
    assert supervisor.restarts()["leaver"] == 0 or restarted
