"""Buy one answer of the LLM for a window: ledger row, request, what it came to; never twice.

A window needs one call or several (its report; parts and what joins them; a repair). Each is found again by its name:
a paid answer is handed out for ever after, whoever asks. The ledger row is committed before a byte leaves, and what
the attempt came to is committed before anything reads the answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from gistline.costs.pricing import price_usage, price_vector
from gistline.errors import LeaseLost
from gistline.flows.report_tools import ReportTools
from gistline.reports.answer import Attempt
from gistline.reports.request import Request
from gistline.storage import ledger, windows
from gistline.storage.session import transaction
from gistline.storage.tables import AttemptState


@dataclass(frozen=True, slots=True)
class Call:
    """One answer that a window needs; ``name`` (``report``, ``part-1``, ``join``, ``repair``) finds it again.

    An ``exact`` call takes a stored answer only when it belongs to these very bytes: right for a part whose cut may
    change. Others take the window's last answer of that name, since a report of the same findings packed a little
    differently is not worth paying for twice.
    """

    window: windows.ClaimedWindow
    name: str
    request: Request
    exact: bool = False


def buy_answer(call: Call, tools: ReportTools) -> str:
    """The raw response body: the stored one, or a new one by a single HTTP attempt. Extends the window's lease.

    Raises:
        LeaseLost: another worker has the window by now; nothing was sent.
        WriterFailed: no message came back; the ledger says what the attempt came to. ``retryable`` and
            ``retry_after_s`` say whether and when the window should be put back for another.
        SettingsError: the model has no price; nothing was sent.

    """
    writer, at = tools.writer, datetime.now(UTC)
    prices = price_vector(writer.model, at=at)  # refuse before the money is gone, not after
    with transaction(tools.sessions) as session:
        if not windows.renew_lease(session, call.window, lease_s=tools.lease_s):
            raise LeaseLost("Another worker has this window.", window_id=call.window.window_id)
        body_sha256 = call.request.sha256
        stored = ledger.paid_answer(
            session, call.window.window_id, call.name, body_sha256=body_sha256 if call.exact else None
        )
        if stored is not None:
            return stored
        new = ledger.NewAttempt(
            window_id=call.window.window_id,
            call=call.name,
            writer=writer.name,
            model=writer.model,
            simulated=writer.simulated,
            body_sha256=body_sha256,
            price=prices,
        )
        attempt_id = ledger.open_attempt(session, new)

    def book(attempt: Attempt) -> None:
        with transaction(tools.sessions) as session:
            ledger.settle_attempt(session, attempt_id, _settlement(attempt, writer.model, at))

    return writer.write(call.request, book=book)


def _settlement(attempt: Attempt, model: str, at: datetime) -> ledger.Settlement:
    """Priced as of the sending, so that it is the price list of the attempt's row."""
    return ledger.Settlement(
        state=AttemptState(attempt.outcome.value),
        http_status=attempt.http_status,
        request_id=attempt.request_id,
        usage=attempt.usage,
        usd=price_usage(attempt.usage, model, at=at).usd if attempt.usage is not None else None,
        answer=attempt.answer,
        error=attempt.error,
        latency_s=attempt.latency_s,
    )
