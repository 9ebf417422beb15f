"""The twin's prompt cache: which tokens of a request are read from it, which are written to it, and for how long.

As published for the API: a breakpoint caches everything before it, in the order tools, system, messages; a request
reads the longest beginning that is still there (looking back at most 20 parts from each breakpoint) and writes what
follows up to its last breakpoint; a beginning shorter than the model's minimum is not cached; a read makes an entry
live on for its lifetime again. Keys do not share entries, and neither do models.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate

from gistline.simulator.messages_api.models import ModelCard
from gistline.simulator.messages_api.tokens import Block

LIFETIMES = {"5m": timedelta(minutes=5), "1h": timedelta(hours=1)}
LOOK_BACK = 20


@dataclass(frozen=True, slots=True)
class Split:
    """Where a request's input tokens go; the four add up to all of them."""

    uncached: int
    read: int = 0
    written_5m: int = 0
    written_1h: int = 0


@dataclass(slots=True)
class _Entry:
    ends_at: datetime
    lifetime: timedelta


class PromptCache:
    """Beginnings of prompts by digest. Not for several threads at once: the service holds its lock."""

    def __init__(self) -> None:
        self._entries: dict[bytes, _Entry] = {}

    def charge(self, key: str, card: ModelCard, parts: Sequence[Block], now: datetime) -> Split:
        """Split a request's input, and remember what it writes."""
        reach = list(accumulate(part.tokens for part in parts))
        marks = [place for place, part in enumerate(parts) if part.lifetime and reach[place] >= card.cache_minimum]
        if not marks:
            return Split(uncached=reach[-1] if reach else 0)
        names = self._names(f"{key}:{card.name}", parts)
        hit = self._longest(names, marks, now)
        read = reach[hit] if hit is not None else 0
        written, done = {"5m": 0, "1h": 0}, read
        for mark in marks:
            lifetime = parts[mark].lifetime or "5m"
            if hit is None or mark > hit:
                written[lifetime] += reach[mark] - done
                done = reach[mark]
            self._entries[names[mark]] = _Entry(now + LIFETIMES[lifetime], LIFETIMES[lifetime])
        return Split(reach[-1] - done, read, written["5m"], written["1h"])

    def _longest(self, names: Sequence[bytes], marks: Sequence[int], now: datetime) -> int | None:
        """Place up to which the longest living beginning reaches; it lives on from now."""
        for place in range(marks[-1], -1, -1):
            near = any(0 <= mark - place <= LOOK_BACK for mark in marks)
            entry = self._entries.get(names[place]) if near else None
            if entry is not None and entry.ends_at > now:
                entry.ends_at = now + entry.lifetime
                return place
        return None

    @staticmethod
    def _names(scope: str, parts: Sequence[Block]) -> list[bytes]:
        """Digest of each beginning."""
        running = hashlib.sha256(scope.encode())
        names = []
        for part in parts:
            running.update(part.digest)
            names.append(running.digest())
        return names
