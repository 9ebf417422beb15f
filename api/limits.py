"""How often one caller may ask: a token bucket for each, in this process.

Kept in memory, so that a request costs no second trip to the database. Several API processes each allow the whole rate:
a limit here keeps one caller from starving the others, it is no quota.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from math import ceil
from typing import Final

from gistline.errors import TooManyRequests

MOST_BUCKETS: Final = 10_000
"""Beyond, the full ones are forgotten, which changes nothing for their callers."""


class Buckets:
    """Token buckets of one rate: each holds ``rate * burst_s`` requests and is refilled at ``rate`` a second."""

    def __init__(self, rate: float, burst_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._size = max(1.0, rate * burst_s)
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def take(self, caller: str) -> None:
        """Take one request out of the caller's bucket.

        Raises:
            TooManyRequests: it is empty; says in how many seconds it holds one again.

        """
        with self._lock:
            now = self._clock()
            left, since = self._left.get(caller, (self._size, now))
            left = min(self._size, left + (now - since) * self._rate)
            if left >= 1:
                self._left[caller] = (left - 1, now)
                if len(self._left) > MOST_BUCKETS:
                    self._forget_full(now)
                return
            self._left[caller] = (left, now)
        raise TooManyRequests(
            f"More than {self._rate:g} requests a second for long.",
            cure="Ask less often, or send several frames in one request.",
            retry_after_s=max(1, ceil((1 - left) / self._rate)),
        )

    def _forget_full(self, now: float) -> None:
        full = [who for who, (left, since) in self._left.items() if left + (now - since) * self._rate >= self._size]
        for who in full:
            del self._left[who]
