"""The twin's clock: starts at the real time, may run faster, and can be set forward."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta


class TwinClock:
    """``speed`` twin seconds pass in one real second; :meth:`advance` adds some at once. Never goes back."""

    def __init__(self, *, speed: float = 1.0) -> None:
        self._speed = speed
        self._start, self._started = datetime.now(UTC), time.monotonic()
        self._added = timedelta()
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Twin time, timezone-aware."""
        with self._lock:
            passed = (time.monotonic() - self._started) * self._speed
            return self._start + timedelta(seconds=passed) + self._added

    def advance(self, seconds: float) -> datetime:
        """Set the clock forward and return the new time."""
        with self._lock:
            self._added += timedelta(seconds=max(0.0, seconds))
        return self.now()
