"""Hand over what may wait in batches, look after them, and collect what they brought; no worker waits for one.

Safe in several processes at once, and wherever one dies: a batch is in the database before it is handed over. One that
may have been taken in although its submission failed keeps its attempts held. It is looked for in the provider's list,
and known by the names of its requests once it has ended; where the list does not have it, its attempts go again.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gistline.errors import SpendLimitReached, WriterFailed
from gistline.flows.buy_answer import settlement
from gistline.flows.buying_stops import stop
from gistline.flows.report_tools import ROUND_TRIP_S, ReportTools
from gistline.reports.answer import Attempt, Outcome
from gistline.reports.batches import BatchItem, BatchProvider, BatchSeen
from gistline.storage import buying_stops, ledger, llm_batches
from gistline.storage.session import transaction
from gistline.storage.tables import AttemptState, BatchState, LlmAttempt, LlmBatch

log = logging.getLogger(__name__)

CLOCKS_APART = timedelta(minutes=10)
"""A lost batch is looked for among those that the provider's clock says to be this much older."""

LISTED_AFTER = timedelta(minutes=15)
"""A batch that the provider does not list so long after its submission was never taken in."""

LEAST_PAUSE_S = 10.0


@dataclass(frozen=True, slots=True)
class Tended:
    """What one round did: batches handed over, and those collected."""

    submitted: int = 0
    collected: int = 0


def tend_batches(tools: ReportTools) -> Tended:
    """One round. Errors of the provider are noted on the batch, and the next round tries again.

    Raises:
        StorageUnavailable: the database does not answer.

    """
    if tools.batches is None:
        return Tended()
    submitted = _submit(tools, tools.batches)
    with transaction(tools.sessions) as session:
        due = llm_batches.to_look_at(
            session, poll_s=tools.settings.batch_poll_s, submit_s=tools.settings.timeout_s + ROUND_TRIP_S
        )
    collected = sum(_look_after(tools, tools.batches, batch) for batch in due)
    return Tended(submitted, collected)


def _submit(tools: ReportTools, provider: BatchProvider) -> int:
    with transaction(tools.sessions) as session:
        llm_batches.drop_needless(session)
        if buying_stops.stop_in_force(session) is not None:
            return 0
        batch = llm_batches.gather(session, gather_s=tools.settings.batch_gather_s)
    if batch is None:
        return 0
    try:
        seen = provider.submit([BatchItem(item.key, item.params) for item in batch.items])
    except WriterFailed as error:
        log.warning("batch %s was not handed over: %s", batch.batch_id, error)
        with transaction(tools.sessions) as session:
            if error.unknown:
                llm_batches.lost(session, batch.batch_id, str(error))
            elif isinstance(error, SpendLimitReached):
                stop(session, error, tools)
                llm_batches.turned_down(session, batch.batch_id, str(error), again_in_s=0.0)
            else:
                pause = max(error.retry_after_s or 0.0, LEAST_PAUSE_S) if error.retryable else None
                llm_batches.turned_down(session, batch.batch_id, str(error), again_in_s=pause)
        return 0
    with transaction(tools.sessions) as session:
        llm_batches.taken_in(session, batch.batch_id, seen.api_id, seen.expires_at)
    return 1


def _look_after(tools: ReportTools, provider: BatchProvider, batch: LlmBatch) -> bool:
    """Look at one batch; whether it was collected."""
    try:
        if batch.state is BatchState.LOST:
            seen = _find(tools, provider, batch)
        else:
            seen = provider.look(batch.api_id or "")
            if not seen.ended and _is_late(tools, batch):
                seen = provider.cancel(seen.api_id)
                with transaction(tools.sessions) as session:
                    llm_batches.cancel_asked(session, batch.id)
        if seen is None or not seen.ended:
            return _overdue(tools, batch)
        _collect(tools, batch, dict(provider.results(seen.api_id)))
    except WriterFailed as error:
        log.warning("batch %s (%s): %s", batch.id, batch.api_id, error)
        return _overdue(tools, batch)
    return True


def _is_late(tools: ReportTools, batch: LlmBatch) -> bool:
    """Whether the first deadline is so near that what is left must be asked for at once."""
    left = batch.deadline_at - datetime.now(UTC)
    return batch.cancel_asked_at is None and left <= timedelta(seconds=tools.settings.batch_cancel_s)


def _find(tools: ReportTools, provider: BatchProvider, batch: LlmBatch) -> BatchSeen | None:
    """The provider's batch that is this lost one; None where it is not known yet, or will never be."""
    with transaction(tools.sessions) as session:
        known = llm_batches.known_ids(session)
        mine = set(llm_batches.attempts_in(session, batch.id))
    listed = provider.since(batch.created_at - CLOCKS_APART)
    maybe = [seen for seen in listed if seen.api_id not in known and seen.requests == batch.requests]
    unsure = False
    for seen in maybe:
        names = {key for key, _ in provider.results(seen.api_id)} if seen.ended else set()
        unsure |= not names  # still at work, or with none of its results listed: it may be this one
        if names and names <= mine:
            with transaction(tools.sessions) as session:
                return seen if llm_batches.taken_in(session, batch.id, seen.api_id, seen.expires_at) else None
    if not unsure and datetime.now(UTC) > batch.created_at + LISTED_AFTER:
        with transaction(tools.sessions) as session:
            llm_batches.turned_down(session, batch.id, "the provider does not list it", again_in_s=0.0)
    return None


def _collect(tools: ReportTools, batch: LlmBatch, results: dict[str, Attempt]) -> None:
    """Book what each attempt came to, one transaction each, then let their windows go on."""
    with transaction(tools.sessions) as session:
        attempts = llm_batches.attempts_in(session, batch.id)
    missing = Attempt(Outcome.UNKNOWN, error="the batch has no result for it")
    for key, row in attempts.items():
        if row.state in {AttemptState.SENT, AttemptState.UNKNOWN}:
            _book(tools, row, results.get(key, missing))
    with transaction(tools.sessions) as session:
        llm_batches.collected(session, batch.id)


def _book(tools: ReportTools, row: LlmAttempt, came_to: Attempt) -> None:
    settled = settlement(came_to, row.model, row.sent_at, processing="batch")
    with transaction(tools.sessions) as session:
        ledger.settle_attempt(session, row.id, settled)


def _overdue(tools: ReportTools, batch: LlmBatch) -> bool:
    """A batch of which nothing is to be learned a day after it expired: its attempts are for people to clear up."""
    expires_at = batch.expires_at or batch.created_at + timedelta(days=1)
    if datetime.now(UTC) > expires_at + timedelta(days=1):
        _collect(tools, batch, {})
    return False
