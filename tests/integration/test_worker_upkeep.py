"""Real report and beat processes, and a detect worker that cannot start."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from gistline.domain import FrameState
from gistline.flows.inspect_frames import inspect_frames
from gistline.settings import DetectionSettings, ReportSettings
from gistline.storage.session import transaction
from gistline.storage.tables import FrameRow, ReportRow, ReportWindow, WindowState
from tests.support.fleet import Fleet, fleet, fleet_settings
from tests.support.processes import wait_until
from tests.support.redis_server import RedisServer, own_redis
from tests.support.twin_detector import Order, TwinDetector
from tests.support.workers import process
from workers.upkeep import ENOUGH_WAITING


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with own_redis(tmp_path) as made:
        yield made


@pytest.fixture
def line(database_url: str, server: RedisServer, tmp_path: Path) -> Iterator[Fleet]:
    settings = fleet_settings(database_url, server.url, tmp_path)
    reports = ReportSettings(window_minutes=1, grace_s=0, writer="offline", ring_again_s=1)
    with fleet(settings.model_copy(update={"reports": reports})) as made:
        yield made


@pytest.mark.long
def test_beat_rings_no_more_than_is_heard_survives_redis_and_leaves_no_file(
    line: Fleet, server: RedisServer, tmp_path: Path
) -> None:
    with process("beat", line.settings, tmp_path / "beat") as beat:
        wait_until(lambda: server.length("upkeep") >= ENOUGH_WAITING, "it rings until enough wait")
        server.kill()
        server.start()
        wait_until(lambda: server.length("upkeep") >= ENOUGH_WAITING, "it rings again")
        assert server.length("upkeep") == ENOUGH_WAITING
        beat.send_signal(signal.SIGTERM)
        assert beat.wait(10) == 0
    assert list((tmp_path / "beat").iterdir()) == []


def test_a_report_worker_closes_windows_writes_them_and_hears_beat(
    line: Fleet, server: RedisServer, tmp_path: Path
) -> None:
    inspect_into_the_past(line)
    line.submit([Order.CLEAN])
    with transaction(line.sessions) as session:
        session.execute(update(FrameRow).where(FrameRow.state == FrameState.PENDING).values(expires_at=func.now()))
    with process("report", line.settings, tmp_path / "report") as report:
        wait_until(lambda: windows(line) == [WindowState.WRITTEN], "the report is written")
        wait_until(lambda: len(line.in_state(FrameState.EXPIRED)) == 1, "it sweeps")
        with process("beat", line.settings, tmp_path / "beat"):
            wait_until(lambda: taken(server) > 0, "it takes beat's messages")
        wait_until(lambda: server.length("upkeep") == 0, "every duty was done")
        report.send_signal(signal.SIGTERM)
        assert report.wait(20) == 0
    with transaction(line.sessions) as session:
        assert session.scalar(select(func.count()).select_from(ReportRow)) == 1


def inspect_into_the_past(line: Fleet) -> None:
    station = line.station(TwinDetector())
    inspect_frames(line.submit([Order.DEFECT] * 3), station)
    station.close()
    with transaction(line.sessions) as session:
        session.execute(update(FrameRow).values(finished_at=func.now() - timedelta(minutes=5)))


def windows(line: Fleet) -> list[WindowState]:
    with transaction(line.sessions) as session:
        return list(session.scalars(select(ReportWindow.state)))


def taken(server: RedisServer) -> int:
    """Pops of a message from a list so far."""
    with server.client() as client:
        stats = client.info("commandstats")
    return int(stats.get("cmdstat_hset", {}).get("calls", 0))


def test_a_worker_whose_detector_does_not_load_takes_nothing_and_says_why(line: Fleet, tmp_path: Path) -> None:
    ids = line.submit([Order.CLEAN])
    broken = line.settings.model_copy(update={"detection": DetectionSettings(model=str(tmp_path / "absent.onnx"))})
    with process("detect", broken, tmp_path / "detect") as detect:
        assert detect.wait(60) == 1
    said = (tmp_path / "detect.log").read_text()
    assert "absent.onnx" in said
    assert "Traceback" not in said
    assert line.in_state(FrameState.PENDING) == set(ids)


def test_a_worker_without_a_database_says_which_setting_cures_it(line: Fleet, tmp_path: Path) -> None:
    empty = line.settings.database.model_copy(update={"url": type(line.settings.database.url)("")})
    with process("report", line.settings.model_copy(update={"database": empty}), tmp_path / "report") as report:
        assert report.wait(60) == 1
    assert "GISTLINE_DATABASE__URL" in (tmp_path / "report.log").read_text()
