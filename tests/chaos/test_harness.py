"""The harness itself: a seed is a plan, the checks see what is wrong, and one run of each goes through."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import make_url

from gistline.flows.inspect_frames import inspect_frames
from gistline.simulator.messages_api import Recorded
from tests.chaos.cameras import Journal, Sent
from tests.chaos.checks import Connection, Found, check_all
from tests.chaos.clock import build_library
from tests.chaos.detector import ChaosDetector
from tests.chaos.plan import Kind, make_plan
from tests.chaos.run import run
from tests.chaos.system import default_slot
from tests.support.fleet import Fleet, fleet, fleet_settings
from tests.support.twin_detector import Order

ORDERS = (Order.DEFECT, Order.CLEAN, Order.RAISE, Order.DEFECT)


def test_a_seed_is_a_plan_and_every_kind_has_its_seeds() -> None:
    assert make_plan(7) == make_plan(7)
    assert make_plan(7) != make_plan(8)
    plans = [make_plan(seed) for seed in range(len(Kind))]
    assert {kind for plan in plans for kind in plan.kinds} == set(Kind)
    for plan in plans:
        numbers = [number for request in plan.requests for _, number in request.frames]
        assert len(numbers) == len(set(numbers)) == 200


@pytest.fixture
def line(database_url: str, tmp_path: Path) -> Iterator[Fleet]:
    """Four inspected frames and their journal."""
    with fleet(fleet_settings(database_url, "redis://127.0.0.1:1/0", tmp_path)) as made:
        yield made


@pytest.fixture
def connection(line: Fleet, database_url: str) -> Iterator[Connection]:
    plain = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as made:
        yield made


@pytest.fixture
def journal(line: Fleet) -> Journal:
    ids = line.submit(ORDERS)
    station = line.station(ChaosDetector())
    for _ in range(10):
        try:
            inspect_frames((), station)
        except RuntimeError:
            continue
    station.close()
    keys = {row.id: row.idempotency_key for row in line.frames().values()}
    made = Journal()
    for place, frame_id in enumerate(ids):
        key = keys[frame_id]
        made.acknowledged[key] = frame_id
        made.sent[key] = Sent(key, "cam-1", ORDERS[place], place + 1)
    return made


def check(connection: Connection, journal: Journal, requests: tuple[Recorded, ...] = ()) -> Found:
    return check_all(connection, journal, requests, max_attempts=2, deadline=False)


def test_of_a_run_without_fault_only_its_window_is_complained_of(connection: Connection, journal: Journal) -> None:
    """No report worker ran, so the window is one that was given up."""
    close = (
        "INSERT INTO report_windows (id, line, starts_at, ends_at, state)"
        " VALUES (%s, 'line-1', now(), now() + interval '1s', 'failed')"
    )
    window = uuid4()
    connection.execute(close, [window])
    connection.execute("UPDATE frames SET report_window_id = %s", [window])
    found = check(connection, journal)
    assert found.complaints == [f"1 windows were given up: {window}"]
    assert (found.count("inspected"), found.count("failed"), found.collateral) == (3, 1, 0)


def _forget(connection: Connection, journal: Journal) -> str:
    journal.acknowledged["never stored"] = uuid4()
    journal.sent["never stored"] = Sent("never stored", "cam-1", Order.CLEAN, 99)
    return "acknowledged frames are not in the database"


def _double(connection: Connection, journal: Journal) -> str:
    connection.execute("UPDATE findings SET x = x + 1")
    return "has too many"


def _drop(connection: Connection, journal: Journal) -> str:
    connection.execute("DELETE FROM findings WHERE id = (SELECT min(id) FROM findings)")
    return "lacks findings"


def _unjudge(connection: Connection, journal: Journal) -> str:
    connection.execute("DELETE FROM verdicts WHERE kind = 'ok'")
    return "final frames have no verdict"


def _whitewash(connection: Connection, journal: Journal) -> str:
    connection.execute("UPDATE verdicts SET kind = 'ok'")
    return "verdict ok, expected reinspect"


def _invent(connection: Connection, journal: Journal) -> str:
    key = next(iter(journal.acknowledged))
    del journal.acknowledged[key]
    return "nobody was told of"


def _spend(connection: Connection, journal: Journal) -> str:
    return "requests arrived that no ledger row names"


@pytest.mark.parametrize("harm", [_forget, _double, _drop, _unjudge, _whitewash, _invent, _spend])
def test_what_is_wrong_is_seen(
    line: Fleet, connection: Connection, journal: Journal, harm: Callable[[Connection, Journal], str]
) -> None:
    line.sound = False
    expected = harm(connection, journal)
    paid = Recorded("/v1/messages", {}, {"system": "s", "messages": [{"role": "user", "content": "c"}]})
    found = check(connection, journal, (paid,) if harm is _spend else ())
    assert any(expected in complaint for complaint in found.complaints), found.complaints


@pytest.mark.long
def test_one_seed_runs_through(chaos_folder: Path, template: Path) -> None:
    kinds = (Kind.KILL_DETECT, Kind.KILL_BACKEND, Kind.FLUSH, Kind.CLOCK_PROCESS)
    folder = chaos_folder / f"short-{os.getpid()}"
    result = run(
        make_plan(1, kinds=kinds, frames=80), folder, template, build_library(chaos_folder), slot=default_slot()
    )
    assert result.complaints == []
    assert result.accepted == 83
    assert result.inspected + result.failed + result.expired == 83
