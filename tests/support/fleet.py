"""A fleet for tests: real rows, real frame bytes, real worker processes with a twin for a detector."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from PIL import Image
from pydantic import SecretStr
from sqlalchemy import func, select

from gistline.dispatch import Dispatcher, NullDispatcher
from gistline.domain import FINAL_STATES, FrameState, VerdictKind
from gistline.flows.add_camera import add_camera
from gistline.flows.measure_passport import MeasuringTools, TriedDetector
from gistline.flows.serve_model import admit, unproven
from gistline.flows.station import Station, open_station
from gistline.flows.submit_frames import Submitted, submit_frames
from gistline.frames.local import LocalFrames
from gistline.settings import DatabaseSettings, FleetSettings, PassportSettings, RedisSettings, Settings
from gistline.settings_frames import FrameSettings, Keep
from gistline.settings_report import as_environment
from gistline.storage.cameras import CameraIdentity
from gistline.storage.frame_ledger import read_frame_ledger
from gistline.storage.session import Sessions, open_database, transaction
from gistline.storage.tables import FindingRow, FrameRow, VerdictRow
from tests.support.processes import ROOT, wait_until
from tests.support.twin_detector import FRAME_MS, GATE, Order

SCRIPT = ROOT / "tests" / "support" / "twin_detector.py"


def picture(order: Order, number: int) -> bytes:
    """A PNG of 32 x 32 grey pixels whose first one is the order; ``number`` makes its bytes unlike all others."""
    pixels = np.full((32, 32), int(order), np.uint8)
    pixels[1, :4] = np.frombuffer(number.to_bytes(4, "big"), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png", compress_level=1)
    return buffer.getvalue()


def fleet_settings(database_url: str, redis_url: str, folder: Path, **fleet: Any) -> Settings:
    """Settings of a fleet that does not make a test wait: leases of 2 s, sweeps every 0.2 s, no back-off."""
    quick: dict[str, Any] = {
        "batch_size": 16,
        "lease_s": 2.0,
        "sweep_interval_s": 0.2,
        "ring_again_s": 0.5,
        "retry_backoff_s": 0.0,
        "heartbeat_s": 0.2,
    }
    return Settings(
        data_dir=folder,
        database=DatabaseSettings(url=SecretStr(database_url), idle_timeout_s=3),
        redis=RedisSettings(url=SecretStr(redis_url)),
        frames=FrameSettings(store_url=(folder / "frames").as_uri(), keep=Keep.ALL, fsync=False),
        fleet=FleetSettings(**(quick | fleet)),
        passport=PassportSettings(required=False),  # a twin cannot be measured
    )


@dataclass(slots=True)
class Fleet:
    """The rows and bytes of one test, and what became of them."""

    settings: Settings
    sessions: Sessions
    store: LocalFrames
    camera: CameraIdentity
    numbers: int = 0
    workers: list[Worker] = field(default_factory=list)
    sound: bool = True
    """Whether the books must agree in the end; false for a test that plants a fault."""

    def submit(self, orders: Sequence[Order], dispatcher: Dispatcher | None = None) -> list[UUID]:
        """Accept one frame for each order; without a dispatcher no bell is rung."""
        images = []
        for order in orders:
            self.numbers += 1
            images.append(Submitted(picture(order, self.numbers)))
        accepted = submit_frames(
            self.camera,
            images,
            sessions=self.sessions,
            store=self.store,
            dispatcher=dispatcher or NullDispatcher(),
            settings=self.settings,
        )
        return [frame.id for frame in accepted]

    def frames(self) -> dict[UUID, FrameRow]:
        """Every row, by id."""
        with transaction(self.sessions) as session:
            return {row.id: row for row in session.scalars(select(FrameRow))}

    def station(self, detector: TriedDetector) -> Station:
        """A worker's parts around a detector that serves unproven."""
        tools = MeasuringTools(self.sessions, self.settings)
        passport = unproven(self.sessions, detector.info, self.settings)
        serving = admit(tools, detector, passport, None)
        return open_station(self.sessions, self.store, serving, self.settings)

    def in_state(self, *states: FrameState) -> set[UUID]:
        """Ids of the frames in one of these states."""
        return {frame_id for frame_id, row in self.frames().items() if row.state in states}

    def verdicts(self) -> dict[UUID, VerdictKind]:
        """Verdicts, by frame."""
        with transaction(self.sessions) as session:
            return {row.frame_id: row.kind for row in session.scalars(select(VerdictRow))}

    def findings(self) -> dict[UUID, int]:
        """Number of findings of each frame that has any."""
        with transaction(self.sessions) as session:
            counted = select(FindingRow.frame_id, func.count()).group_by(FindingRow.frame_id)
            return {row[0]: row[1] for row in session.execute(counted)}

    def assert_inspected_once(self, ids: Sequence[UUID]) -> None:
        """All of these and nothing else, with one verdict each; every one shows a defect and has one finding."""
        assert self.in_state(FrameState.INSPECTED) == set(ids)
        assert self.verdicts() == dict.fromkeys(ids, VerdictKind.NG)
        assert self.findings() == dict.fromkeys(ids, 1)

    def wait_until_finished(self, ids: Sequence[UUID], *, within_s: float = 30.0) -> None:
        """Wait until all of these have a final state."""
        wanted = set(ids)
        wait_until(lambda: wanted <= self.in_state(*FINAL_STATES), "every frame has ended", within_s=within_s)

    def hold(self) -> None:
        """Every worker stops at its next frame, which stays running, until :meth:`let_go`."""
        (self.settings.data_dir / "gate").touch()

    def let_go(self) -> None:
        """Workers go on."""
        (self.settings.data_dir / "gate").unlink()

    def start_worker(self, *, frame_ms: float = 0.0) -> Worker:
        """Start a detect worker process with the twin."""
        log = self.settings.data_dir / f"worker-{len(self.workers)}.log"
        worker = Worker(self.settings, log, frame_ms)
        self.workers.append(worker)
        return worker


class Worker:
    """A detect worker process; its output is in ``log``."""

    def __init__(self, settings: Settings, log: Path, frame_ms: float) -> None:
        self.log = log
        ours = {name: value for name, value in os.environ.items() if not name.upper().startswith("GISTLINE_")}
        environment = ours | as_environment(settings)
        environment |= {FRAME_MS: str(frame_ms), GATE: str(settings.data_dir / "gate")}
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.twin_detector"],
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def wait_until_ready(self) -> None:
        """Wait until it takes messages."""
        wait_until(lambda: " ready." in self.log.read_text() or self.process.poll() is not None, "the worker is ready")
        assert self.process.poll() is None, self.log.read_text()

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()

    def suspend(self) -> None:
        """SIGSTOP: it neither works nor dies."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT, after :meth:`suspend`."""
        self.process.send_signal(signal.SIGCONT)

    def terminate(self) -> int:
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


@contextmanager
def fleet(settings: Settings) -> Iterator[Fleet]:
    """A fleet with one camera and no worker yet; every worker is killed at the end."""
    sessions = open_database(settings.database)
    camera, _ = add_camera(sessions, "cam-1", "line-1")
    made = Fleet(settings, sessions, LocalFrames(settings.data_dir / "frames", fsync=False), camera)
    try:
        yield made
    finally:
        for worker in made.workers:
            worker.kill()
        if made.sound:
            with transaction(sessions) as session:
                assert read_frame_ledger(session).faults == {}
        sessions.kw["bind"].dispose()
