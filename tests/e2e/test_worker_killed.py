"""The whole system, with its detect worker killed while it works."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import func, select

from gistline.cli.demo_feed import CAMERAS, Shot, simulated, submit
from gistline.cli.stack import running
from gistline.domain import FrameState
from gistline.flows.add_camera import add_camera
from gistline.settings import load_settings
from gistline.storage.run_totals import frame_totals
from gistline.storage.session import Sessions, close_database, open_database, transaction
from gistline.storage.tables import FindingRow, FrameRow, VerdictRow

FRAMES = 60
KILLS = 2


def finished(sessions: Sessions) -> int:
    with transaction(sessions) as session:
        return frame_totals(session).finished


def wait_until(sessions: Sessions, count: int, *, seconds: float = 80.0) -> None:
    deadline = time.monotonic() + seconds
    while finished(sessions) < count:
        assert time.monotonic() < deadline, f"{finished(sessions)} of {count} frames finished"
        time.sleep(0.02)


@pytest.mark.longest
def test_sigkill_in_mid_run_loses_and_doubles_nothing(tmp_path: Path) -> None:
    settings = load_settings(
        data_dir=tmp_path / "data",
        api={"port": 0},
        # A dead worker's frames come back soon, and being killed twice by this test is not the frames' fault.
        fleet={"lease_s": 2.0, "max_attempts": 10, "retry_backoff_s": 0.1},
        passport={"required": False},  # measuring takes as long as all else here, and is tested elsewhere
    )
    shots = {camera: list(frames) for camera, frames in simulated(FRAMES, seed=7).items()}
    with running(settings, say=lambda _: None, on_event=lambda _: None) as stack:
        sessions = open_database(stack.settings.database)
        try:
            keys = {camera: add_camera(sessions, camera, "line")[1] for camera in CAMERAS}
            outcome = submit(stack.url, keys, dict[str, list[Shot]](shots), on_sent=lambda _: None)
            assert outcome.accepted == FRAMES
            for kill in range(1, KILLS + 1):
                wait_until(sessions, kill * FRAMES // (KILLS + 2))
                os.kill(stack.supervisor.pids()["detect-1"], signal.SIGKILL)
                while stack.supervisor.restarts()["detect-1"] < kill:
                    time.sleep(0.05)
            wait_until(sessions, FRAMES)
            _nothing_lost_or_doubled(sessions, {shot.frame_key for camera in shots.values() for shot in camera})
        finally:
            close_database(sessions)


def _nothing_lost_or_doubled(sessions: Sessions, keys: set[str]) -> None:
    with transaction(sessions) as session:
        frames = session.execute(select(FrameRow.id, FrameRow.idempotency_key, FrameRow.state)).all()
        verdicts = list(session.scalars(select(VerdictRow.frame_id)))
        boxes = (FindingRow.frame_id, FindingRow.label, FindingRow.x, FindingRow.y, FindingRow.w, FindingRow.h)
        doubled = session.execute(select(*boxes).group_by(*boxes).having(func.count() > 1)).all()
        found: set[UUID] = set(session.scalars(select(FindingRow.frame_id)))
    assert {row[1] for row in frames} == keys
    assert {row[2] for row in frames} == {FrameState.INSPECTED}
    assert sorted(verdicts) == sorted(row[0] for row in frames)
    assert doubled == []
    assert found <= {row[0] for row in frames}
