"""What one worker process holds: opened before it takes its first message, closed at its end.

Both fleets run their tasks in the process itself (pools solo and threads), so nothing here crosses a fork.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from threading import Lock
from typing import Any
from uuid import UUID

from gistline.detection.detector import open_model
from gistline.dispatch import CelerySender, Dispatcher
from gistline.errors import EngineUnavailable
from gistline.flows.alarm_outputs import Outputs
from gistline.flows.inspect_frames import inspect_frames
from gistline.flows.measure_passport import MeasuringTools, OpenModel
from gistline.flows.report_tools import ReportTools, open_report_tools
from gistline.flows.station import Inspected, Station, open_station
from gistline.flows.tell_gates import GateTeller
from gistline.flows.verdict_out import VerdictOut
from gistline.frames.store import FrameStore, open_store
from gistline.settings import Settings
from gistline.storage.session import Sessions, close_database, open_database
from gistline.telemetry import metrics
from workers.app import Fleet, is_stopping, leave, worker_name
from workers.retries import Fate, Reactions
from workers.serving import Follower, first_serving

log = logging.getLogger(__name__)

BROKEN_ENGINE = 70
"""Exit code (EX_SOFTWARE) of a worker whose engine stopped answering."""
RING_PAUSE_S = 1.0
HANGING_LEASES = 5
"""An engine that is busy with one call for this many leases hangs; a call takes less than one."""


@dataclass(slots=True)
class DetectRuntime:
    """A detect worker's parts. Its messages and its watch share one engine, one batch at a time."""

    settings: Settings
    sessions: Sessions
    dispatcher: Dispatcher
    station: Station
    follower: Follower
    lock: Lock = field(default_factory=Lock)
    broken: str = ""
    """Why the engine does not answer any more; such a worker takes nothing."""
    busy_since: float | None = None
    rang_at: float = 0.0
    total: Inspected = field(default_factory=Inspected)
    metrics_address: str = ""
    """Where this process serves its metrics, ``host:port``."""

    def inspect(self, frame_ids: Sequence[UUID]) -> Inspected:
        """Inspect these frames and what else is pending.

        Raises:
            EngineUnavailable: the engine failed; the worker is not ready from now on.
            StorageUnavailable: the database or the frame store does not answer.

        """
        with self.lock:
            if self.broken or is_stopping():
                return Inspected()
            self.busy_since = time.monotonic()
            try:
                done = inspect_frames(frame_ids, self.station, stopping=is_stopping)
            except EngineUnavailable as error:
                self.broken = str(error)
                raise
            finally:
                self.busy_since = None
            self.total += done
            return done

    def note_when_idle(self) -> None:
        """Write where the last batches' time went, unless a commit is about to take that along."""
        if self.busy_since is None:
            self.station.write_notes()

    @property
    def reactions(self) -> Reactions:
        """What follows an error in a task."""
        return {Fate.LEAVE: lambda: leave(BROKEN_ENGINE), Fate.RING: self._ring}

    def _ring(self) -> None:
        """Not more often than a second: an error that every message meets must not make a storm of them."""
        if time.monotonic() - self.rang_at >= RING_PAUSE_S:
            self.rang_at = time.monotonic()
            self.dispatcher.ring_detect(())

    def ready(self) -> bool:
        """Whether it takes work: not while its engine is broken, or is stuck in a batch for longer than a lease."""
        since = self.busy_since
        stuck = since is not None and time.monotonic() - since > self.settings.fleet.lease_s
        return not (self.broken or stuck or is_stopping())

    def hangs(self) -> bool:
        """Whether its engine has not come back for so long that it never will."""
        since = self.busy_since
        return since is not None and time.monotonic() - since > HANGING_LEASES * self.settings.fleet.lease_s

    def detail(self) -> dict[str, Any]:
        """Facts for the heartbeat: what runs, and the work so far."""
        serving = self.station.serving
        info = serving.passport.engine
        engine = {"model": info.model, "runtime": info.runtime, "device": info.device, "precision": info.precision}
        return {
            "engine": engine,
            "serving": serving.facts() | {"error": self.follower.error},
            "broken": self.broken,
            "work": asdict(self.total),
            "metrics": self.metrics_address,
        }


@dataclass(slots=True)
class ReportRuntime:
    """A report worker's parts; several threads use it at once."""

    settings: Settings
    sessions: Sessions
    dispatcher: Dispatcher
    store: FrameStore
    tools: ReportTools
    outputs: Outputs
    metrics_address: str = ""

    @property
    def reactions(self) -> Reactions:
        """What follows an error in a task: windows and upkeep come round again by themselves."""
        return {}

    def ready(self) -> bool:
        """Whether it takes work."""
        return not is_stopping()

    def detail(self) -> dict[str, Any]:
        """Facts for the heartbeat."""
        reports = self.settings.reports
        return {"writer": reports.writer, "model": reports.model, "metrics": self.metrics_address}

    def hangs(self) -> bool:
        """Never: every call of a report has a time-out."""
        return False


@contextmanager
def detect_runtime(
    settings: Settings, open_with: OpenModel = open_model, *, say_refused: Callable[[Sessions, str], None]
) -> Iterator[DetectRuntime]:
    """Open everything, the detector last, warmed up and proven.

    ``say_refused`` gets the reason, again and again, while there is no engine that may serve.

    Raises:
        EngineUnavailable: the detector cannot run.
        ModelRejected: its file is missing or does not fit.
        SettingsError: a URL is missing or wrong.
        StorageUnavailable: the database does not answer.

    """
    with ExitStack() as stack:
        sessions, dispatcher, store = _open_shared(settings, stack)
        tools = MeasuringTools(sessions, settings, open_with, is_stopping)
        serving = first_serving(tools, lambda reason: say_refused(sessions, reason))
        station = open_station(sessions, store, serving, settings, worker=worker_name(Fleet.DETECT))
        follower = Follower(tools, station)
        stack.callback(follower.close)
        _tell_gates(settings, station, stack)
        stack.callback(station.close)
        log.info("detector ready: %s, passport %s", serving.detector.info, serving.passport.id)
        yield DetectRuntime(settings, sessions, dispatcher, station, follower)


def _tell_gates(settings: Settings, station: Station, stack: ExitStack) -> None:
    if settings.verdicts.enabled:
        teller = GateTeller(station.sessions, VerdictOut(settings, name=Fleet.DETECT), settings.verdicts)
        teller.open()
        stack.callback(teller.close)
        station.tell, station.let_told_pass = teller.tell, teller.let_pass


@contextmanager
def report_runtime(settings: Settings) -> Iterator[ReportRuntime]:
    """Open everything.

    Raises:
        SettingsError: a URL is missing or wrong, the model has no price or the writer no key.

    """
    with ExitStack() as stack:
        sessions, dispatcher, store = _open_shared(settings, stack)
        tools = open_report_tools(settings, sessions)
        stack.callback(tools.writer.close)
        outputs = Outputs(settings)
        stack.callback(outputs.close)
        yield ReportRuntime(settings, sessions, dispatcher, store, tools, outputs)


def _open_shared(settings: Settings, stack: ExitStack) -> tuple[Sessions, Dispatcher, FrameStore]:
    sessions = open_database(settings.database)
    stack.callback(close_database, sessions)
    dispatcher = CelerySender(settings.redis, settings.fleet)
    stack.callback(dispatcher.close)
    metrics.BELLS.follow(dispatcher.counts)
    return sessions, dispatcher, open_store(settings)
