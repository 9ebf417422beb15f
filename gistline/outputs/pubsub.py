"""Redis pub/sub: told to whoever listens at that moment, kept for nobody, and never waited for."""

from __future__ import annotations

import logging
import time
from collections import deque
from threading import Condition, Thread
from typing import Final

from redis import Redis
from redis.exceptions import RedisError

from gistline.settings import RedisSettings

log = logging.getLogger(__name__)

MAX_WAITING: Final = 1_000
PAUSE_S: Final = 1.0
"""A Redis that failed is left alone for this long."""


class RedisChannel:
    """Publishes from a thread of its own; what Redis does not take is dropped and counted."""

    def __init__(self, settings: RedisSettings) -> None:
        self._redis = Redis.from_url(
            settings.url.get_secret_value(),
            socket_timeout=settings.send_timeout_s,
            socket_connect_timeout=settings.connect_timeout_s,
        )
        self._wake = Condition()
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._closed = False
        self.dropped = 0
        self._rests_until = 0.0
        self._thread = Thread(target=self._run, name="pubsub", daemon=True)
        self._thread.start()

    def publish(self, channel: str, payload: bytes) -> None:
        """Hand over; returns at once."""
        with self._wake:
            if len(self._waiting) >= MAX_WAITING:
                self.dropped += 1
                return
            self._waiting.append((channel, payload))
            self._wake.notify()

    def close(self, flush_s: float = 1.0) -> None:
        """Send what waits, for at most this long."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join(flush_s)
        self._redis.close()

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: bool(self._waiting) or self._closed)
                if not self._waiting:
                    return
                channel, payload = self._waiting.popleft()
            self._send(channel, payload)

    def _send(self, channel: str, payload: bytes) -> None:
        if time.monotonic() < self._rests_until:
            self.dropped += 1
            return
        try:
            self._redis.publish(channel, payload)
        except (RedisError, OSError) as error:
            self.dropped += 1
            self._rests_until = time.monotonic() + PAUSE_S
            log.warning("Redis took no verdict, none is sent there for %.0f s: %s", PAUSE_S, error)
