"""Requests that may wait: handed over in one batch at half the price, and collected when they are done."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from gistline.reports.answer import Attempt, Outcome, read_usage


@dataclass(frozen=True, slots=True)
class BatchItem:
    """One request of a batch: ``custom_id`` names it in the results, ``params`` is the body of a single call."""

    custom_id: str
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BatchSeen:
    """A batch as the provider shows it; results can be read once it has ``ended``."""

    api_id: str
    ended: bool
    requests: int
    created_at: datetime
    expires_at: datetime


class BatchProvider(Protocol):
    """The part of the provider that takes batches."""

    def submit(self, items: Sequence[BatchItem]) -> BatchSeen:
        """Hand a batch over, by one HTTP attempt.

        Raises:
            WriterFailed: it was not taken in, or with ``unknown`` it may have been.

        """

    def look(self, api_id: str) -> BatchSeen:
        """A batch as it stands; raises :class:`WriterFailed`."""

    def cancel(self, api_id: str) -> BatchSeen:
        """Ask for no more work on a batch, which ends soon after; raises :class:`WriterFailed`."""

    def since(self, moment: datetime) -> Sequence[BatchSeen]:
        """Every batch that was created at ``moment`` or later; raises :class:`WriterFailed`."""

    def results(self, api_id: str) -> Iterator[tuple[str, Attempt]]:
        """What each request came to, by ``custom_id``, in no particular order; raises :class:`WriterFailed`."""


class AnthropicBatches:
    """Message Batches through the SDK. ``failing`` turns the SDK's errors into ours."""

    def __init__(self, client: Any, failing: Callable[[], AbstractContextManager[None]]) -> None:
        self._batches = client.messages.batches
        self._failing = failing

    def submit(self, items: Sequence[BatchItem]) -> BatchSeen:
        """See :class:`BatchProvider`."""
        requests = [{"custom_id": item.custom_id, "params": dict(item.params)} for item in items]
        with self._failing():
            return _seen(self._batches.create(requests=requests))

    def look(self, api_id: str) -> BatchSeen:
        """See :class:`BatchProvider`."""
        with self._failing():
            return _seen(self._batches.retrieve(api_id))

    def cancel(self, api_id: str) -> BatchSeen:
        """See :class:`BatchProvider`."""
        with self._failing():
            return _seen(self._batches.cancel(api_id))

    def since(self, moment: datetime) -> Sequence[BatchSeen]:
        """See :class:`BatchProvider`."""
        found: list[BatchSeen] = []
        with self._failing():
            for batch in self._batches.list(limit=100):  # newest first
                if batch.created_at < moment:
                    break
                found.append(_seen(batch))
        return found

    def results(self, api_id: str) -> Iterator[tuple[str, Attempt]]:
        """See :class:`BatchProvider`."""
        with self._failing():
            for line in self._batches.results(api_id):
                row = line.to_dict(mode="json")
                yield row["custom_id"], _came_to(row["result"])


def _came_to(result: Mapping[str, Any]) -> Attempt:
    """Only what succeeded is billed."""
    if result["type"] != "succeeded":
        said = json.dumps(result.get("error")) if result.get("error") else ""
        return Attempt(Outcome.REFUSED, error=f"batch: {result['type']} {said[:500]}".strip())
    answer = json.dumps(result["message"], ensure_ascii=False)
    usage = read_usage(answer)
    if usage is None:
        return Attempt(Outcome.UNKNOWN, error=f"batch: succeeded without usage: {answer[:500]}")
    return Attempt(Outcome.PAID, http_status=200, usage=usage, answer=answer)


def _seen(batch: Any) -> BatchSeen:
    counts = batch.request_counts
    return BatchSeen(
        api_id=batch.id,
        ended=batch.processing_status == "ended",
        requests=counts.processing + counts.succeeded + counts.errored + counts.canceled + counts.expired,
        created_at=batch.created_at,
        expires_at=batch.expires_at,
    )
