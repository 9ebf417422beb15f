"""The twin's own books: one entry for every call that arrived, billed or not, with its exact price.

They are the provider's side of the account. What a client believes to have paid can be held against them, also for
answers that never reached it.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from gistline.domain import TokenUsage


@dataclass(frozen=True, slots=True)
class Entry:
    """One call. ``usd`` is 0 and ``usage`` empty where it was not billed.

    ``status`` is the HTTP status that was to be sent, ``fault`` the name of what went wrong, if anything did.
    ``batch_id`` and ``custom_id`` are those of a batch's item. ``body_sha256`` is the digest of the request's compact
    JSON with sorted keys; ``user_id`` (of its ``metadata``) and ``idempotency_key`` are what the client calls it.
    """

    at: datetime
    request_id: str
    model: str
    billed: bool
    status: int
    usage: TokenUsage
    usd: Decimal
    fault: str = ""
    batch_id: str | None = None
    custom_id: str | None = None
    message_id: str | None = None
    body_sha256: str = ""
    user_id: str | None = None
    idempotency_key: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain types; the amount as decimal text, the moment as ISO 8601."""
        return {**asdict(self), "at": self.at.isoformat(), "usd": f"{self.usd:f}"}


class Books:
    """All entries in order; with a ``file``, each is appended to it as a line of JSON when it is made."""

    def __init__(self, file: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._entries: list[Entry] = []
        self._file: TextIO | None = file.open("a", encoding="utf-8") if file else None

    def add(self, entry: Entry) -> None:
        """Book a call."""
        with self._lock:
            self._entries.append(entry)
            if self._file is not None and not self._file.closed:
                self._file.write(json.dumps(entry.as_json()) + "\n")
                self._file.flush()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Everything that was booked so far."""
        with self._lock:
            return tuple(self._entries)

    @property
    def billed(self) -> tuple[Entry, ...]:
        """The calls that cost something."""
        return tuple(entry for entry in self.entries if entry.billed)

    @property
    def usd(self) -> Decimal:
        """Everything that was billed, exactly."""
        return sum((entry.usd for entry in self.billed), Decimal(0))

    def as_json(self) -> dict[str, Any]:
        """Total and entries."""
        entries = self.entries
        billed = [entry for entry in entries if entry.billed]
        total = sum((entry.usd for entry in billed), Decimal(0))
        return {
            "usd": f"{total:f}",
            "calls": len(entries),
            "billed": len(billed),
            "entries": [entry.as_json() for entry in entries],
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()


def user_id(body: Mapping[str, Any]) -> str | None:
    """What a request's ``metadata`` calls its user."""
    return (body.get("metadata") or {}).get("user_id")


def body_digest(body: Mapping[str, Any]) -> str:
    """By which an entry names the body of its request."""
    plain = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(plain.encode()).hexdigest()
