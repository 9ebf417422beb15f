"""The Messages API as a schedule plays it: it bills or not, answers or not, and its books are the truth.

Single calls and batches, each for one actor with draws of its own; all share :class:`Books`. Every point at which a
worker may die beside it (after its commit and before the request, after the bill and before the answer) is a gate.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from gistline.costs.pricing import Processing, price_usage
from gistline.domain import TokenUsage
from gistline.errors import WriterFailed, WriterRefused
from gistline.flows.buy_answer import most_input_tokens
from gistline.reports.answer import Attempt, Outcome
from gistline.reports.batches import BatchItem, BatchSeen
from gistline.reports.request import Request
from gistline.storage.windows import ClaimedWindow
from tests.support.gates import gate

MODEL = "claude-haiku-5-5"
MAX_TOKENS = 200
NOTHING = Decimal(0)


@dataclass
class Books:
    """What was billed for each question, by its digest, and what the provider has of batches.

    ``asked`` knows every question by its text, ``asker`` who asks it; ``claims`` has the last claim of each window.
    ``in_flight`` are the digests of calls, and the names of requests in
    submissions, whose worker is still about to send them or waits for the answer.
    """

    bills: dict[str, Decimal] = field(default_factory=dict)
    asked: dict[str, Request] = field(default_factory=dict)
    asker: dict[str, ClaimedWindow] = field(default_factory=dict)
    claims: dict[UUID, UUID] = field(default_factory=dict)
    in_flight: set[str] = field(default_factory=set)
    batches: dict[str, PlayedBatch] = field(default_factory=dict)
    closing: bool = False

    def ask(self, request: Request, window: ClaimedWindow) -> None:
        """Get to know a question that is about to be asked for a window."""
        self.asked[request.user], self.asker[request.user] = request, window
        self.in_flight.add(request.sha256)

    def check_turn(self, request: Request) -> None:
        """A worker whose window was taken over before it sent must not send."""
        window = self.asker[request.user]
        assert self.claims[window.window_id] == window.token, "sent although the window was taken over before"

    def bill(self, request: Request, usage: TokenUsage, *, processing: Processing = "standard") -> None:
        """Charge for an answer; twice for one question is twice the money."""
        usd = price_usage(usage, MODEL, at=datetime.now(UTC), processing=processing).usd
        self.bills[request.sha256] = self.bills.get(request.sha256, NOTHING) + usd


@dataclass
class PlayedBatch:
    """A batch that was taken in; ``came_to`` has what is done of it, ``kept_back`` what its results do not show."""

    seen: BatchSeen
    items: dict[str, Request]
    came_to: dict[str, Attempt] = field(default_factory=dict)
    kept_back: str = ""


def draw_usage(chance: random.Random, request: Request) -> TokenUsage:
    """Anything up to what the hold bounds, the bound itself now and then."""
    most = most_input_tokens(request)
    if chance.random() < 0.2:
        return TokenUsage(most, MAX_TOKENS)
    return TokenUsage(chance.randint(1, most), chance.randint(1, MAX_TOKENS))


@dataclass
class Calls:
    """Single calls of one worker."""

    books: Books
    random: random.Random
    name: str = "anthropic"
    model: str = MODEL
    simulated: bool = False

    def write(self, request: Request, *, book: Callable[[Attempt], None]) -> str:
        """One HTTP attempt."""
        self.books.check_turn(request)
        gate()  # dead after the commit, before the request
        fate = self.random.random()
        if fate < 0.15:
            book(Attempt(Outcome.REFUSED, http_status=429, error="scripted"))
            raise WriterFailed("refused")
        usage = draw_usage(self.random, request)
        lost = fate < 0.45
        if not lost or fate < 0.35:
            self.books.bill(request, usage)
        gate()  # dead after the bill, before the answer
        if lost:
            book(Attempt(Outcome.UNKNOWN, error="scripted"))
            raise WriterFailed("nobody knows")
        book(Attempt(Outcome.PAID, http_status=200, usage=usage, answer="{}"))
        return "{}"

    def count(self, request: Request, *, timeout_s: float) -> int | None:
        """Nobody asks."""

    def close(self) -> None:
        """Nothing to let go of."""


@dataclass
class Batches:
    """Message Batches for one worker; all workers see the same ones."""

    books: Books
    random: random.Random

    def submit(self, items: Sequence[BatchItem]) -> BatchSeen:
        """Taken in, turned down for now or for good, or neither is known."""
        names = {item.custom_id for item in items}
        self.books.in_flight |= names
        try:
            return self._submit(items)
        finally:
            self.books.in_flight -= names

    def _submit(self, items: Sequence[BatchItem]) -> BatchSeen:
        gate()  # dead after the commit, before the request
        fate = 1.0 if self.books.closing else self.random.random()
        if fate < 0.1:
            raise WriterFailed("turned down for now")
        if fate < 0.15:
            raise WriterRefused("turned down for good")
        if fate < 0.25:
            raise WriterFailed("never arrived", unknown=True)
        taken = self._take_in(items)
        gate()  # dead after it was taken in, before the answer
        if fate < 0.4:
            raise WriterFailed("no answer", unknown=True)
        return taken.seen

    def _take_in(self, items: Sequence[BatchItem]) -> PlayedBatch:
        now = datetime.now(UTC)
        name = f"batch-{len(self.books.batches) + 1}"
        seen = BatchSeen(name, False, len(items), now, now + timedelta(days=1))
        asked = {item.custom_id: self.books.asked[item.params["messages"][0]["content"]] for item in items}
        self.books.batches[name] = PlayedBatch(seen, asked)
        return self.books.batches[name]

    def look(self, api_id: str) -> BatchSeen:
        """Some more of it is done whenever somebody looks."""
        self._stumble()
        return self._go_on(self.books.batches[api_id]).seen

    def cancel(self, api_id: str) -> BatchSeen:
        """What is not done by now never is."""
        self._stumble()
        batch = self._go_on(self.books.batches[api_id])
        for name in batch.items:
            batch.came_to.setdefault(name, Attempt(Outcome.REFUSED, error="batch: canceled"))
        return self._end(batch).seen

    def since(self, moment: datetime) -> Sequence[BatchSeen]:
        """The list."""
        self._stumble()
        found = [self._go_on(batch).seen for batch in self.books.batches.values()]
        return [seen for seen in reversed(found) if seen.created_at >= moment]

    def results(self, api_id: str) -> Iterator[tuple[str, Attempt]]:
        """In any order; now and then they break off, and now and then one is never shown."""
        batch = self.books.batches[api_id]
        shown = [pair for pair in batch.came_to.items() if pair[0] != batch.kept_back]
        self.random.shuffle(shown)
        for place, pair in enumerate(shown):
            if place:
                self._stumble()
            yield pair

    def finish(self) -> None:
        """All that was taken in is done, whether anybody looks or not."""
        self.books.closing = True
        for batch in self.books.batches.values():
            self._go_on(batch)

    def _go_on(self, batch: PlayedBatch) -> PlayedBatch:
        for name, request in batch.items.items():
            if name not in batch.came_to and (self.books.closing or self.random.random() < 0.6):
                batch.came_to[name] = self._fate(request)
        return self._end(batch) if len(batch.came_to) == len(batch.items) else batch

    def _fate(self, request: Request) -> Attempt:
        fate = self.random.random()
        if fate < 0.3:
            return Attempt(Outcome.REFUSED, error="batch: errored" if fate < 0.15 else "batch: expired")
        usage = draw_usage(self.random, request)
        self.books.bill(request, usage, processing="batch")
        return Attempt(Outcome.PAID, http_status=200, usage=usage, answer="{}")

    def _end(self, batch: PlayedBatch) -> PlayedBatch:
        if not batch.seen.ended:
            seen = batch.seen
            batch.seen = BatchSeen(seen.api_id, True, seen.requests, seen.created_at, seen.expires_at)
            if len(batch.items) > 1 and self.random.random() < 0.1:
                batch.kept_back = self.random.choice(sorted(batch.items))
        return batch

    def _stumble(self) -> None:
        gate()
        if not self.books.closing and self.random.random() < 0.1:
            raise WriterFailed("overloaded")
