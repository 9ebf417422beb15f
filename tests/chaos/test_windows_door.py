"""Windows between a camera and the committed row (1, 2, 4) and below the commit (16), each hit on purpose."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest

from gistline.dispatch import NullDispatcher
from gistline.flows.submit_frames import Submitted, submit_frames
from gistline.frames.local import LocalFrames
from gistline.storage.cameras import find_camera
from gistline.storage.session import close_database, transaction
from tests.chaos.cameras import Cameras, Journal
from tests.chaos.plan import CAMERAS, Request
from tests.chaos.system import System
from tests.support.fleet import picture
from tests.support.processes import is_alive, wait_until
from tests.support.twin_detector import Order

WITHIN_S = 40.0


def request(first: int, count: int = 4, *, at_s: float = 0.0, camera: str = "cam-1") -> Request:
    return Request(camera, at_s, tuple((Order.DEFECT, first + place) for place in range(count)), None)


def rows(system: System) -> dict[str, UUID]:
    """Ids by key; no key may have two."""
    with system.postgres.connect() as connection:
        found = connection.execute("SELECT idempotency_key, id FROM frames").fetchall()
    assert len({key for key, _ in found}) == len(found)
    return {row[0]: row[1] for row in found}


def stored(system: System) -> int:
    """Images in the frame store."""
    return sum(len(path.name) == 64 for path in (system.folder / "frames").rglob("*") if path.is_file())


@contextmanager
def cameras_of(system: System) -> Iterator[tuple[Cameras, Journal]]:
    """The API alone, and cameras that talk to it."""
    journal = Journal()
    cameras = Cameras(system.url, system.add_cameras(), journal)
    system.start(("api",))
    system.wait_until_listening()
    try:
        yield cameras, journal
    finally:
        cameras.close()


@pytest.mark.long
def test_window_1_the_api_dies_between_bytes_and_row(system: System) -> None:
    with cameras_of(system) as (cameras, journal):
        with system.postgres.connect(autocommit=False) as blocker:
            # Reads pass and inserts wait, so the request gets as far as its bytes.
            blocker.execute("LOCK TABLE frames IN SHARE MODE")
            cameras.play([request(0)], time.monotonic())
            wait_until(lambda: stored(system) == 4, "the bytes are stored")
            killed = system.process("api")
            assert killed is not None
            killed.kill()
            wait_until(lambda: not is_alive(killed.pid), "the API is dead")
            assert journal.acknowledged == {}
            assert rows(system) == {}
        assert cameras.wait(WITHIN_S), journal.answers
        assert rows(system) == journal.acknowledged
        assert len(journal.new) == 4, "the first try made rows that the camera was not told of"
        assert (journal.oddities, stored(system)) == ([], 4)


@pytest.mark.long
def test_window_2_postgres_restarts_at_once_and_every_key_is_sent_again(system: System) -> None:
    with cameras_of(system) as (cameras, journal):
        load = [request(100 * place, 2, at_s=place * 0.02, camera=tuple(CAMERAS)[place % 3]) for place in range(90)]
        cameras.play(load, time.monotonic())
        for _ in range(2):
            time.sleep(0.4)
            system.postgres.end(signal.SIGQUIT)
            system.postgres.start()
        assert cameras.wait(WITHIN_S), journal.answers
        broken = {status for status in journal.answers if status != "202"}
        assert broken, "no request met the restart: the test proves nothing"
        told = dict(journal.acknowledged)
        cameras.play(load, time.monotonic() - 10)
        assert cameras.wait(WITHIN_S)
        assert journal.acknowledged == told
        assert rows(system) == told
        assert set(told) == set(journal.sent)
        assert journal.oddities == []


def test_window_4_cameras_do_not_wait_for_a_frozen_redis(system: System) -> None:
    with cameras_of(system) as (cameras, journal):
        cameras.send(request(0))
        stopped = system.redis.pause()
        try:
            for place in range(1, 31):
                cameras.send(request(100 * place))
            # Every answer came while nothing could be sent: Redis is woken only now.
            assert dict(journal.answers) == {"202": 31}
        finally:
            for one in stopped:
                one.resume()
        assert rows(system) == journal.acknowledged
        assert len(journal.new) == 31 * 4


def test_window_16_a_confirmed_commit_outlives_a_killed_server(system: System) -> None:
    system.add_cameras()
    with transaction(system.sessions) as session:
        camera = find_camera(session, "cam-1")
    store = LocalFrames(system.folder / "frames")
    for number in range(3):
        image = Submitted(picture(Order.DEFECT, number), frame_key=f"frame-{number}")
        (accepted,) = submit_frames(
            camera,
            [image],
            sessions=system.sessions,
            store=store,
            dispatcher=NullDispatcher(),
            settings=system.settings,
        )
        system.postgres.end(signal.SIGKILL)
        system.postgres.start()
        assert rows(system)[f"frame-{number}"] == accepted.id
        close_database(system.sessions)  # whoever writes in the very second of a restart is told to try again
