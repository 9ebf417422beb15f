"""Periodic duties, safe in any number of processes at once.

Every worker keeps watch over the fleet beside its own work, so that no single process is needed for it: leases come
back, lost bells are rung and, on a detect worker, frames are inspected even while Redis is away. ``beat`` rings the
same duties on a schedule, and those that only it does (pruning).
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Event, Thread
from typing import Any, ClassVar, Final, Protocol

from celery.beat import Scheduler, Service

from gistline.dispatch import QUEUE_OF, TaskName, sender_app, waiting
from gistline.errors import StorageUnavailable
from gistline.flows.close_windows import close_windows
from gistline.flows.deliver_alarms import deliver_alarms
from gistline.flows.evaluate_alarms import evaluate_alarms
from gistline.flows.keep_partitions import make_partitions
from gistline.flows.measure_passport import MeasuringTools
from gistline.flows.review_accuracy import review_accuracy
from gistline.flows.sweep import sweep
from gistline.flows.tend_batches import tend_batches
from gistline.settings import Settings
from gistline.storage.drains import forget_drain, is_asked_to_leave
from gistline.storage.heartbeats import Beat, remove_beat, save_beat
from gistline.storage.session import Sessions, transaction
from gistline.telemetry import metrics
from gistline.telemetry.listener import Exposed, Health, listening
from gistline.telemetry.places import Place
from workers.app import Fleet, is_stopping, leave, worker_name
from workers.retries import Reactions, settled
from workers.runtime import DetectRuntime, ReportRuntime

log = logging.getLogger(__name__)

CLOSE_WINDOWS_S: Final = 5.0
BATCHES_S: Final = 10.0
REVIEWS_S: Final = 60.0
"""How often a report worker asks whether a review is due."""
REVIEW_AGAIN_S: Final = 1_800.0
"""A review that failed, which may have measured for minutes before it did, is not begun anew before this."""
PRUNE_S: Final = 3_600.0
PARTITIONS_S: Final = 3_600.0
ORPHANS_S: Final = 86_400.0
FIRST_S: Final = 600.0
"""A rare duty is rung so long after beat's start, or where beat starts anew each day it would never be."""
STILL_S: Final = 120.0
"""A watch that did not come round for this long stands still; a database that is away delays it by less."""
ENOUGH_WAITING: Final = 8
"""With this many duties waiting, nobody is doing them: beat adds none."""


@dataclass(frozen=True, slots=True)
class Duty:
    """Something to do every so many seconds, or again at once when ``do`` returns true."""

    every_s: float
    do: Callable[[], bool | None]


class Watch(Thread):
    """Does each duty when it is due; an error is settled like a task's and does not keep the others from being done."""

    def __init__(self, duties: Sequence[Duty], reactions: Reactions) -> None:
        super().__init__(name="watch", daemon=True)
        self._due = dict.fromkeys(duties, 0.0)
        self._reactions = reactions
        self._left = Event()
        self.turned_at = time.monotonic()
        """When it last looked for something to do, by the monotonic clock."""

    def run(self) -> None:
        """Until :meth:`leave`."""
        while not self._left.wait(max(0.0, min(self._due.values()) - time.monotonic())):
            self.turned_at = time.monotonic()
            for duty, due in self._due.items():
                if due <= time.monotonic():
                    self._due[duty] = time.monotonic() + self._do(duty)

    def turns(self) -> bool:
        """Whether it still comes round; asked from other threads."""
        return time.monotonic() - self.turned_at < STILL_S

    def leave(self) -> None:
        """Finish what is being done and end."""
        self._left.set()
        self.join()

    def _do(self, duty: Duty) -> float:
        """Seconds until it is due again."""
        with settled(self._reactions):
            if duty.do():
                return 0.0
        return duty.every_s


class Alive(Protocol):
    """What a heartbeat asks of a runtime."""

    sessions: Sessions

    def ready(self) -> bool:
        """Whether it takes work."""
        ...

    def detail(self) -> dict[str, Any]:
        """Facts about it."""
        ...


class Stuckable(Protocol):
    """What its own health asks of a runtime."""

    def ready(self) -> bool:
        """Whether it takes work."""
        ...

    def hangs(self) -> bool:
        """Whether it will never do anything again."""
        ...


def beat(runtime: Alive, fleet: Fleet) -> None:
    """Say that this process is alive and whether it is ready; see whether it is asked to leave."""
    with transaction(runtime.sessions) as session:
        save_beat(session, Beat(worker_name(fleet), fleet, runtime.ready(), runtime.detail()))
        asked = is_asked_to_leave(session, worker_name(fleet))
    if asked and not is_stopping():
        log.info("drained: this worker finishes what it holds and leaves")
        leave(0)


def watch_over(health: Health, runtime: Stuckable, watch: Watch) -> None:
    """Let a process's health say what its runtime and its ``watch`` say, the one that gives signs of life.

    A process whose watch stands still, or whose engine hangs for several leases, is not alive: only a restart helps.
    """
    health.ready = runtime.ready
    health.alive = lambda: watch.turns() and not runtime.hangs()


def join_fleet(sessions: Sessions, fleet: Fleet) -> None:
    """A worker joins by starting, even where an earlier process of the same name was drained."""
    with transaction(sessions) as session:
        forget_drain(session, worker_name(fleet))


def say_goodbye(runtime: Alive, fleet: Fleet) -> None:
    """Remove this process's heartbeat."""
    try:
        with transaction(runtime.sessions) as session:
            remove_beat(session, worker_name(fleet))
    except StorageUnavailable:
        log.warning("the heartbeat of %s stays until it is forgotten", worker_name(fleet))


def say_refused(sessions: Sessions, reason: str) -> None:
    """Say that this process is alive and takes no work, because no engine may serve in it."""
    with transaction(sessions) as session:
        save_beat(session, Beat(worker_name(Fleet.DETECT), Fleet.DETECT, ready=False, detail={"refused": reason}))


def serving_duties(runtime: DetectRuntime) -> list[Duty]:
    """Following promotions; apart from the others, since a new engine may take a while to open and prove."""
    return [Duty(runtime.settings.fleet.heartbeat_s, runtime.follower.follow)]


def life_duties(runtime: DetectRuntime) -> list[Duty]:
    """Heartbeat, drains and notes; apart from the others, since inspection waits for the batch under way."""
    every_s = runtime.settings.fleet.heartbeat_s
    return [Duty(every_s, lambda: beat(runtime, Fleet.DETECT)), Duty(every_s, runtime.note_when_idle)]


def detect_duties(runtime: DetectRuntime) -> list[Duty]:
    """Sweep and, for frames whose bells nobody heard, inspection without one."""
    fleet = runtime.settings.fleet
    more = [False]

    def sweep_and_inspect() -> bool:
        swept = sweep(runtime.sessions, runtime.dispatcher, runtime.settings)
        if swept.rung or more[0]:
            more[0] = runtime.inspect(()).frames > 0
        return more[0]

    return [Duty(fleet.sweep_interval_s, sweep_and_inspect), _partitions(runtime.sessions, runtime.settings)]


def report_duties(runtime: ReportRuntime) -> list[Duty]:
    """Heartbeat, sweep and the closing of windows."""
    fleet = runtime.settings.fleet

    def sweep_frames() -> None:
        sweep(runtime.sessions, runtime.dispatcher, runtime.settings)

    def close() -> None:
        close_windows(runtime.sessions, runtime.dispatcher, runtime.settings.reports)

    return [
        Duty(fleet.heartbeat_s, lambda: beat(runtime, Fleet.REPORT)),
        Duty(fleet.sweep_interval_s, sweep_frames),
        Duty(2 * CLOSE_WINDOWS_S, close),
        _partitions(runtime.sessions, runtime.settings),
    ]


def batch_duties(runtime: ReportRuntime) -> list[Duty]:
    """Requests that may wait; apart from the others, since the provider may take its time."""

    def tend() -> None:
        tend_batches(runtime.tools)

    return [Duty(BATCHES_S, tend)]


def _partitions(sessions: Sessions, settings: Settings) -> Duty:
    """Partitions for the time to come; every worker sees to it, so that no single process is needed."""

    def make() -> None:
        make_partitions(sessions, settings.frames)

    return Duty(PARTITIONS_S, make)


def alarm_duties(runtime: ReportRuntime) -> list[Duty]:
    """Rules, and their notices; apart from the others, since a receiver may be slow."""
    every_s = runtime.settings.alarms.evaluate_s

    def deliver() -> bool:
        return deliver_alarms(runtime.sessions, runtime.outputs, runtime.settings.alarms, stopping=is_stopping) > 0

    return [Duty(every_s, lambda: evaluate_alarms(runtime.sessions).more), Duty(every_s, deliver)]


def review_duties(runtime: ReportRuntime) -> list[Duty]:
    """Measuring engines again where that is due; apart from the others, since it takes its time.

    It runs on the CPU with one stream, whatever the fleet has, and in a thread of low priority: inspection on the same
    machine comes first.
    """
    settings = runtime.settings
    modest = settings.detection.model_copy(update={"runtime": "openvino", "streams": 1})
    tools = MeasuringTools(runtime.sessions, settings.model_copy(update={"detection": modest}), stopping=is_stopping)

    not_before = 0.0

    def look() -> None:
        nonlocal not_before
        if time.monotonic() >= not_before:
            not_before = time.monotonic() + REVIEW_AGAIN_S
            yield_to_others(settings.accuracy.nice)
            review_accuracy(tools, runtime.store)
            not_before = 0.0

    return [Duty(REVIEWS_S, look)]


def yield_to_others(nice: int) -> None:
    """Give this thread, and those that it will start, so low a priority, where threads have one of their own."""
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)


class BoundedScheduler(Scheduler):  # type: ignore[misc]
    """Celery's scheduler in memory, which rings no more while nobody listens."""

    ticked_at: ClassVar[float] = float("-inf")
    """When one last came round, by the monotonic clock."""

    def tick(self, *arguments: Any, **options: Any) -> Any:
        """Come round."""
        type(self).ticked_at = time.monotonic()
        return super().tick(*arguments, **options)

    def apply_async(self, entry: Any, producer: Any = None, advance: bool = True, **options: Any) -> Any:
        """Send, unless enough messages wait."""
        if producer is not None and waiting(producer.channel, QUEUE_OF[TaskName(entry.task)]) >= ENOUGH_WAITING:
            return None
        return super().apply_async(entry, producer=producer, advance=advance, **options)


def schedule(settings: Settings) -> dict[str, dict[str, Any]]:
    """Beat's duties; a message that waited for longer than the next one takes is thrown away by its worker."""
    now = datetime.now(UTC)
    every = {
        TaskName.SWEEP: settings.fleet.sweep_interval_s,
        TaskName.CLOSE_WINDOWS: CLOSE_WINDOWS_S,
        TaskName.PRUNE_FRAMES: PRUNE_S,
        TaskName.PRUNE_ORPHANS: ORPHANS_S,
    }
    return {
        task.value: {
            "task": task.value,
            "schedule": seconds,
            "last_run_at": now - timedelta(seconds=max(0.0, seconds - FIRST_S)),
            "options": {"queue": QUEUE_OF[task].value, "expires": max(2 * seconds, 10.0), "ignore_result": True},
        }
        for task, seconds in every.items()
    }


def run_beat(settings: Settings) -> None:
    """Ring the duties until SIGTERM or Ctrl-C; nothing is kept on disk.

    Raises:
        SettingsError: no Redis is named.

    """
    app = sender_app(settings.redis)
    app.conf.update(beat_schedule=schedule(settings), result_expires=None)
    health = Health(ready=lambda: time.monotonic() - BoundedScheduler.ticked_at < STILL_S)
    # Waiting for a Redis that is away is not a reason to be restarted.
    # Nothing is lost by leaving at once, and Celery would go on reconnecting to a Redis that is away.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with listening(settings.metrics, Place.BEAT, Exposed(metrics.REGISTRY, health)):
        Service(app, max_interval=1, scheduler_cls=BoundedScheduler).start()
