"""The bell: task names, who may ring them, and the sender. A message is a hint, never the truth; the row is.

So a message that cannot be sent is counted and forgotten: the sweep finds the row and rings again.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from threading import Condition, Thread
from types import MappingProxyType
from typing import Any, Final, Protocol
from uuid import UUID

from celery import Celery
from kombu.exceptions import KombuError, OperationalError
from redis.exceptions import RedisError
from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction

from gistline.errors import SettingsError
from gistline.settings import FleetSettings, RedisSettings

log = logging.getLogger(__name__)


class TaskName(StrEnum):
    """Every message there is. The first two carry ids, the others nothing."""

    DETECT_FRAMES = "gistline.detect_frames"
    WRITE_REPORT = "gistline.write_report"
    SWEEP = "gistline.sweep"
    CLOSE_WINDOWS = "gistline.close_windows"
    PRUNE_FRAMES = "gistline.prune_frames"
    PRUNE_ORPHANS = "gistline.prune_orphans"


class QueueName(StrEnum):
    """The lists in Redis."""

    DETECT = "detect"
    REPORT = "report"
    UPKEEP = "upkeep"


QUEUE_OF: Final[Mapping[TaskName, QueueName]] = MappingProxyType(
    {
        TaskName.DETECT_FRAMES: QueueName.DETECT,
        TaskName.WRITE_REPORT: QueueName.REPORT,
        TaskName.SWEEP: QueueName.UPKEEP,
        TaskName.CLOSE_WINDOWS: QueueName.UPKEEP,
        TaskName.PRUNE_FRAMES: QueueName.UPKEEP,
        TaskName.PRUNE_ORPHANS: QueueName.UPKEEP,
    }
)

MAX_WAITING: Final = 10_000
"""Calls that a sender remembers while Redis is slow; more are dropped and counted."""
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 5.0
"""A sender leaves a Redis that failed alone for this long, doubling from the first to the longest."""
COUNT_AGAIN_S: Final = 0.1
"""A queue's waiting messages are counted no more often than this; until then a sender only adds its own."""
BELL_EXPIRES_S: Final = 300
"""A worker that finds an older message throws it away: the sweep has rung many times since."""


class Dispatcher(Protocol):
    """Rings the workers; neither method waits for Redis or raises for its sake."""

    def ring_detect(self, frame_ids: Sequence[UUID]) -> None:
        """Tell a detect worker that these frames are pending; no ids: that some are."""
        ...

    def ring_report(self, window_ids: Sequence[UUID]) -> None:
        """Tell a report worker that these windows are due."""
        ...


class NullDispatcher:
    """Sends nothing and keeps the ids, for a program that calls the flows itself and runs no workers beside them.

    The product's own processes always have a :class:`CelerySender`.
    """

    def __init__(self) -> None:
        self.frames: list[UUID] = []
        self.windows: list[UUID] = []

    def ring_detect(self, frame_ids: Sequence[UUID]) -> None:
        """Remember the ids."""
        self.frames.extend(frame_ids)

    def ring_report(self, window_ids: Sequence[UUID]) -> None:
        """Remember the ids."""
        self.windows.extend(window_ids)


class AfterCommit:
    """A dispatcher that holds its bells until the session's transaction has committed; a rollback drops them."""

    def __init__(self, session: Session, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._held: list[Callable[[], None]] = []
        event.listen(session, "after_commit", self._release)
        event.listen(session, "after_soft_rollback", self._drop)

    def ring_detect(self, frame_ids: Sequence[UUID]) -> None:
        """Ring at the commit."""
        ids = tuple(frame_ids)
        self._held.append(lambda: self._dispatcher.ring_detect(ids))

    def ring_report(self, window_ids: Sequence[UUID]) -> None:
        """Ring at the commit."""
        ids = tuple(window_ids)
        self._held.append(lambda: self._dispatcher.ring_report(ids))

    def _release(self, session: Session) -> None:
        if session.in_nested_transaction():  # a savepoint: nothing is committed yet
            return
        held, self._held = self._held, []
        for ring in held:
            ring()

    def _drop(self, _session: Session, ended: SessionTransaction) -> None:
        if not ended.nested:
            self._held = []


@dataclass(frozen=True, slots=True)
class Sent:
    """Messages of one sender so far: sent, refused by Redis or its breaker, not sent because enough were waiting."""

    sent: int = 0
    failed: int = 0
    surplus: int = 0


class CelerySender:
    """Sends by task and queue name from a thread of its own, so that no caller ever waits for Redis.

    Calls that come while one is being sent are merged into full messages of ``fleet.bell_frames`` ids.
    """

    def __init__(self, redis: RedisSettings, fleet: FleetSettings) -> None:
        self._app = sender_app(redis)
        self._fleet = fleet
        self._wake = Condition()
        self._waiting: deque[tuple[TaskName, Sequence[UUID]]] = deque()
        self._thread: Thread | None = None
        self._closed = False
        self._connection: Any = None
        self._channel: Any = None
        self._sleeps_until = 0.0
        self._pause_s = FIRST_PAUSE_S
        self._count = Sent()
        self._free: dict[QueueName, int] = {}
        """Messages that a queue takes yet, as it was counted last."""
        self._counted_at: dict[QueueName, float] = {}

    @property
    def count(self) -> Sent:
        """What became of the messages."""
        return self._count

    def counts(self) -> tuple[int, int, int]:
        """Messages sent, failed and surplus, for metrics."""
        return self._count.sent, self._count.failed, self._count.surplus

    def ring_detect(self, frame_ids: Sequence[UUID]) -> None:
        """Queue a message; returns at once."""
        self._put(TaskName.DETECT_FRAMES, frame_ids)

    def ring_report(self, window_ids: Sequence[UUID]) -> None:
        """Queue a message; returns at once."""
        self._put(TaskName.WRITE_REPORT, window_ids)

    def close(self, flush_s: float = 1.0) -> None:
        """Send what waits, for at most ``flush_s`` seconds; later calls are counted as failed."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join(flush_s)

    def _put(self, task: TaskName, ids: Sequence[UUID]) -> None:
        with self._wake:
            if self._closed or len(self._waiting) >= MAX_WAITING:
                self._count = replace(self._count, failed=self._count.failed + 1)
                return
            self._waiting.append((task, tuple(ids)))
            if self._thread is None or not self._thread.is_alive():
                self._thread = Thread(target=self._run, name="bells", daemon=True)
                self._thread.start()
            self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: bool(self._waiting) or self._closed)
                taken = list(self._waiting)
                self._waiting.clear()
            if not taken:
                break
            for task, ids in _merged(taken, self._fleet.bell_frames):
                self._send(task, ids)
        self._disconnect()

    def _send(self, task: TaskName, ids: Sequence[UUID]) -> None:
        if time.monotonic() < self._sleeps_until:
            self._count = replace(self._count, failed=self._count.failed + 1)
            return
        try:
            rung = self._ring(task, ids)
        except (KombuError, OperationalError, RedisError, OSError) as error:
            self._rest(error)
        else:
            self._pause_s = FIRST_PAUSE_S
            self._count = replace(self._count, sent=self._count.sent + rung, surplus=self._count.surplus + (not rung))

    def _ring(self, task: TaskName, ids: Sequence[UUID]) -> bool:
        channel = self._open_channel()
        queue = QUEUE_OF[task]
        if time.monotonic() >= self._counted_at.get(queue, float("-inf")) + COUNT_AGAIN_S or not self._free[queue]:
            self._free[queue] = max(0, self._fleet.max_bells - waiting(channel, queue))
            self._counted_at[queue] = time.monotonic()
        if not self._free[queue]:
            return False
        self._free[queue] -= 1
        self._app.send_task(
            task.value,
            args=([str(one) for one in ids],),
            queue=queue.value,
            producer=self._app.amqp.Producer(channel, auto_declare=False),
            expires=BELL_EXPIRES_S,
            ignore_result=True,
        )
        return True

    def _open_channel(self) -> Any:
        if self._channel is None:
            self._connection = self._app.connection_for_write()
            # Two tries without a pause; the breaker pauses. default_channel alone would try for ever.
            self._connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
            self._channel = self._connection.channel()
        return self._channel

    def _rest(self, error: Exception) -> None:
        self._count = replace(self._count, failed=self._count.failed + 1)
        self._sleeps_until = time.monotonic() + self._pause_s
        log.warning("Redis took no message, none is sent for %.1f s: %s", self._pause_s, error)
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        self._disconnect()

    def _disconnect(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            connection.collect(socket_timeout=0.1)


def waiting(channel: Any, queue: QueueName) -> int:
    """Messages that wait in a queue; what workers have taken but not acknowledged does not count."""
    return int(channel.queue_declare(queue=queue.value).message_count)


def _merged(calls: Iterable[tuple[TaskName, Sequence[UUID]]], most: int) -> Iterable[tuple[TaskName, Sequence[UUID]]]:
    """Messages of at most ``most`` frames, or of one window; calls without ids become one message without ids."""
    frames: dict[UUID, None] = {}
    empty = False
    for task, ids in calls:
        if task is TaskName.WRITE_REPORT:
            yield from ((task, (one,)) for one in ids)
        elif ids:
            frames.update(dict.fromkeys(ids))
        else:
            empty = True
    found = list(frames)
    for start in range(0, len(found), most):
        yield TaskName.DETECT_FRAMES, found[start : start + most]
    if empty and not found:
        yield TaskName.DETECT_FRAMES, ()


def message_settings(redis: RedisSettings) -> dict[str, Any]:
    """Celery settings that both ends of a queue must share.

    Raises:
        SettingsError: ``redis.url`` is empty, or neither ``redis://`` nor ``rediss://``.

    """
    url = redis.url.get_secret_value()
    if not url:
        raise SettingsError(
            "redis.url is empty.", cure="Set GISTLINE_REDIS__URL, or use 'gistline up' for the embedded server."
        )
    if not url.startswith(("redis://", "rediss://")):
        raise SettingsError(
            f"redis.url begins with {url.partition(':')[0]!r}; only redis and rediss (TLS) are served.",
            cure="Write redis://:password@host:6379/0, or rediss://...?ssl_cert_reqs=required.",
        )
    return {
        "broker_url": url,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_ignore_result": True,
        "task_publish_retry": False,
        "broker_connection_timeout": redis.connect_timeout_s,
    }


def transport_options(redis: RedisSettings, timeout_s: float) -> dict[str, Any]:
    """Options of kombu's Redis transport that both ends share; ``timeout_s`` bounds every command."""
    return {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": redis.connect_timeout_s,
        "socket_keepalive": True,
        "health_check_interval": 10,
        "priority_steps": [0],
    }


def sender_app(redis: RedisSettings) -> Celery:
    """A Celery application that only sends; it knows tasks and queues by name alone."""
    app = Celery("gistline-sender", set_as_current=False)
    app.conf.update(message_settings(redis), broker_transport_options=transport_options(redis, redis.send_timeout_s))
    return app
