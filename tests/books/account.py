"""The ledger held against the provider's books, attempt by attempt."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from gistline.simulator.messages_api import Entry, Recorded
from gistline.simulator.messages_api.books import body_digest
from gistline.storage import ledger
from gistline.storage.tables import AttemptState, LlmAttempt

NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class Pair:
    """A row of the ledger and what the provider has of it; no ``entry``: it never arrived."""

    attempt: LlmAttempt
    entry: Entry | None


@dataclass(slots=True)
class Account:
    """All pairs, and entries of the provider that no row of the ledger explains."""

    pairs: list[Pair] = field(default_factory=list)
    unexplained: list[Entry] = field(default_factory=list)

    @property
    def unknown(self) -> list[Pair]:
        """Attempts of which the ledger does not know whether they were billed."""
        return [pair for pair in self.pairs if pair.attempt.state is AttemptState.UNKNOWN]

    def complaints(self) -> list[str]:
        """Where the two disagree about what the ledger claims to know."""
        found = [f"billed ${entry.usd} for {entry.request_id} unknown to the ledger" for entry in self.unexplained]
        for pair in self.pairs:
            row, entry = pair.attempt, pair.entry
            billed = entry.usd if entry is not None else NOTHING
            if row.state is AttemptState.PAID and row.usd != billed:
                found.append(f"attempt {row.id} is booked at ${row.usd}, billed ${billed}")
            if row.state is AttemptState.REFUSED and billed:
                found.append(f"attempt {row.id} counts as refused, billed ${billed}")
            if row.state in {AttemptState.QUEUED, AttemptState.SENT}:
                found.append(f"attempt {row.id} was never settled")
        return found


def match(session: Session, entries: Sequence[Entry], requests: Iterable[Recorded]) -> Account:
    """Pair rows and entries: by the request's id where an answer brought it, a batch's item by its name.

    What is left on both sides was asked and not heard of: it is paired by the question, in the order of the attempts.
    """
    questions = {
        body_digest(request.body): _question(request.body) for request in requests if "messages" in request.body
    }
    by_id = {entry.request_id: entry for entry in entries if entry.custom_id is None}
    items: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.custom_id is not None:
            items[entry.custom_id].append(entry)
    rows = session.scalars(select(LlmAttempt).where(~LlmAttempt.simulated).order_by(LlmAttempt.id)).all()
    known = {row.id: by_id.pop(row.request_id) for row in rows if row.request_id in by_id}
    for row in rows:
        mine = items[ledger.provider_key(row.window_id, row.call, row.attempt)]
        if mine:
            known[row.id] = mine.pop(0)
    unheard: dict[str, list[Entry]] = defaultdict(list)
    for entry in by_id.values():
        unheard[questions[entry.body_sha256]].append(entry)
    account = Account()
    for row in rows:
        waiting = unheard[row.body_sha256] if row.state is AttemptState.UNKNOWN else []
        account.pairs.append(Pair(row, known.get(row.id) or (waiting.pop(0) if waiting else None)))
    account.unexplained = [entry for left in (*unheard.values(), *items.values()) for entry in left if entry.billed]
    return account


def _question(body: Mapping[str, Any]) -> str:
    """The digest by which the ledger knows what was asked."""
    schema = (body.get("output_config") or {}).get("format", {}).get("schema")
    parts = [_text(body.get("system", "")), *(_text(message["content"]) for message in body["messages"])]
    if schema is not None:
        parts.append(json.dumps(schema, sort_keys=True, ensure_ascii=False))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _text(content: str | list[Mapping[str, Any]]) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)
