"""Deleting bytes: only under the lock, whatever stands still or breaks off half-way, and nothing is left for ever."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Lock
from uuid import UUID

import pytest
from sqlalchemy import text

from gistline.errors import StorageUnavailable
from gistline.flows import drop_bytes as flow
from gistline.flows.drop_bytes import DELETERS, drop_bytes
from gistline.flows.prune_frames import prune_orphans
from gistline.frames.local import LocalFrames
from gistline.storage.session import transaction
from tests.support.fleet import Fleet, fleet, fleet_settings
from tests.support.twin_detector import Order

COUNT = 2 * DELETERS + 3
HOLDERS = """
SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@pytest.fixture
def line(database_url: str, tmp_path: Path) -> Iterator[Fleet]:
    with fleet(fleet_settings(database_url, "redis://127.0.0.1:9/0", tmp_path)) as made:
        yield made


class Meddled(LocalFrames):
    """A folder; ``meddle`` is called once, with the first digest that is to be deleted."""

    def __init__(self, root: Path, meddle: Callable[[str], None]) -> None:
        super().__init__(root, fsync=False)
        self._meddle = meddle
        self._first = Lock()

    def delete(self, sha256: str) -> None:
        if self._first.acquire(blocking=False):
            self._meddle(sha256)
        super().delete(sha256)


def kept(line: Fleet) -> tuple[int, int]:
    """Rows that claim their bytes, and objects."""
    objects = [path for path in (line.settings.data_dir / "frames").rglob("*") if path.is_file()]
    return sum(row.bytes_stored for row in line.frames().values()), len(objects)


def submitted(line: Fleet) -> list[tuple[UUID, str]]:
    ids = line.submit([Order.CLEAN] * COUNT)
    rows = line.frames()
    return [(one, rows[one].sha256) for one in ids]


def test_a_process_that_lost_the_lock_deletes_no_further(line: Fleet) -> None:
    """What a freeze does: the database ends the silent transaction, and the bytes may be a new frame's by now."""
    frames = submitted(line)

    def lose_the_lock(_digest: str) -> None:
        with transaction(line.sessions) as session:
            session.execute(text(HOLDERS))

    drop_bytes(frames, line.sessions, Meddled(line.settings.data_dir / "frames", lose_the_lock))
    assert kept(line) == (COUNT, COUNT - DELETERS)


def test_a_process_that_stood_still_begins_no_deletion(line: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "SURE_S", -1.0)
    drop_bytes(submitted(line), line.sessions, line.store)
    assert kept(line) == (COUNT, COUNT)


def test_what_a_store_leaves_half_way_is_found_as_nobody_s(line: Fleet) -> None:
    frames = submitted(line)

    def fail(digest: str) -> None:
        raise StorageUnavailable(f"{digest} stays")

    drop_bytes(frames, line.sessions, Meddled(line.settings.data_dir / "frames", fail))
    assert kept(line) == (0, COUNT - DELETERS + 1), "the rows let go; the rest is nobody's"
    for path in (line.settings.data_dir / "frames").rglob("*"):
        if path.is_file():
            os.utime(path, (1, 1))
    assert prune_orphans(line.sessions, line.store) == COUNT - DELETERS + 1
    assert kept(line) == (0, 0)


def test_a_store_that_is_away_changes_nothing(line: Fleet) -> None:
    class Away(LocalFrames):
        def delete(self, sha256: str) -> None:
            raise StorageUnavailable(f"no answer about {sha256}")

    drop_bytes(submitted(line), line.sessions, Away(line.settings.data_dir / "frames", fsync=False))
    assert kept(line) == (COUNT, COUNT)
