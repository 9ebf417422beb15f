"""Message Batches: taken in at once, processed one item after the other over twin time, ended, cancelled or expired.

Nothing runs in the background: whatever should have happened by now happens, in its order and with its own moments,
when somebody looks. A batch's items are processed, and its results given, in an order that the seed draws and that is
not the order of the requests.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import uuid4

EXPIRES_AFTER = timedelta(hours=24)
KEPT = timedelta(days=29)
KINDS = ("processing", "succeeded", "errored", "canceled", "expired")


class Process(Protocol):
    """Works on one item of a batch and returns its result."""

    def __call__(self, batch: Batch, custom_id: str, params: Mapping[str, Any], *, at: datetime) -> dict[str, Any]:
        """Result in the API's shape."""


@dataclass(slots=True)
class Batch:
    """One batch; ``order`` are places of ``items`` as they are processed, ``results`` are kept by ``custom_id``.

    ``unlisted`` are those that its results never show.
    """

    id: str
    key: str
    created_at: datetime
    items: Sequence[tuple[str, Mapping[str, Any]]]
    order: Sequence[int]
    takes: timedelta | None
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    unlisted: set[str] = field(default_factory=set)
    cancelled_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def expires_at(self) -> datetime:
        """When unprocessed items are given up."""
        return self.created_at + EXPIRES_AFTER

    def archived(self, now: datetime) -> bool:
        """Whether the results are gone."""
        return now >= self.created_at + KEPT

    def as_json(self, base: str, now: datetime) -> dict[str, Any]:
        """The batch as the API shows it; ``base`` is the address that the client used."""
        ended = self.ended_at is not None
        counts = Counter(result["type"] for result in self.results.values()) if ended else Counter()
        counts["processing"] = 0 if ended else len(self.items)
        kept = ended and not self.archived(now)
        return {
            "id": self.id,
            "type": "message_batch",
            "processing_status": "ended" if ended else "canceling" if self.cancelled_at else "in_progress",
            "request_counts": {kind: counts[kind] for kind in KINDS},
            "created_at": _moment(self.created_at),
            "expires_at": _moment(self.expires_at),
            "ended_at": _moment(self.ended_at),
            "cancel_initiated_at": _moment(self.cancelled_at),
            "archived_at": _moment(self.created_at + KEPT) if self.archived(now) else None,
            "results_url": f"{base}/v1/messages/batches/{self.id}/results" if kept else None,
        }


class Batches:
    """All batches of a twin. Not for several threads at once: the service holds its lock."""

    def __init__(self, process: Process, *, seed: int, takes_s: float) -> None:
        self._process = process
        self._random = random.Random(f"{seed}:order")  # noqa: S311 - a repeatable order, no secret
        self._takes = timedelta(seconds=takes_s)
        self._batches: dict[str, Batch] = {}

    def create(self, items: Sequence[Mapping[str, Any]], *, key: str, now: datetime, stuck: bool) -> Batch:
        """Take a batch in."""
        batch = Batch(
            id=f"msgbatch_{uuid4().hex[:24]}",
            key=key,
            created_at=now,
            items=[(item["custom_id"], item["params"]) for item in items],
            order=self._order(len(items)),
            takes=None if stuck else self._takes,
        )
        self._batches[batch.id] = batch
        return batch

    def find(self, batch_id: str) -> Batch | None:
        """A batch by its id."""
        return self._batches.get(batch_id)

    def newest_first(self) -> list[Batch]:
        """All batches."""
        return list(reversed(self._batches.values()))

    def cancel(self, batch: Batch, now: datetime) -> None:
        """Process no further items; those that are processed stay, and stay billed."""
        if batch.ended_at is None and batch.cancelled_at is None:
            batch.cancelled_at = now

    def forget(self, batch: Batch) -> None:
        """Delete a batch that has ended."""
        del self._batches[batch.id]

    def settle(self, now: datetime) -> None:
        """Do what should have happened by ``now``."""
        for batch in self._batches.values():
            if batch.ended_at is None:
                self._settle(batch, now)

    def _settle(self, batch: Batch, now: datetime) -> None:
        stop = min(moment for moment in (now, batch.expires_at, batch.cancelled_at) if moment is not None)
        for place, due in self._due(batch):
            custom_id, params = batch.items[place]
            if due > stop:
                break
            if custom_id not in batch.results:
                batch.results[custom_id] = self._process(batch, custom_id, params, at=due)
            batch.ended_at = due if len(batch.results) == len(batch.items) else None
        if batch.ended_at is None and stop < now:
            kind = "canceled" if stop == batch.cancelled_at else "expired"
            for place in batch.order:
                batch.results.setdefault(batch.items[place][0], {"type": kind})
            batch.ended_at = stop

    @staticmethod
    def _due(batch: Batch) -> Iterator[tuple[int, datetime]]:
        """Places in the order of processing, each with its moment; none of a batch that is stuck."""
        if batch.takes is not None:
            for done, place in enumerate(batch.order, start=1):
                yield place, batch.created_at + batch.takes * done / len(batch.order)

    def _order(self, count: int) -> list[int]:
        order = list(range(count))
        self._random.shuffle(order)
        return order[::-1] if order == sorted(order) else order


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")
