"""Buy one answer of the LLM for a window: hold, ledger row, request, what it came to; never twice.

A window needs one call or several (its report; parts and what joins them; a repair). Each is found again by its name:
a paid answer is handed out for ever after, whoever asks. The ledger row is committed before a byte leaves, and what
the attempt came to is committed before anything reads the answer. With the row, the dearest price that the attempt can
come to is held of every budget that applies; the hold ends when the attempt's end is known, and not before.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from sqlalchemy.orm import Session

from gistline.costs.ceiling import dearest
from gistline.costs.pricing import price_usage, price_vector
from gistline.errors import LeaseLost
from gistline.flows.report_tools import ReportTools
from gistline.reports.answer import Attempt
from gistline.reports.request import Request
from gistline.reports.tokens import ceiling, schema_ceiling
from gistline.storage import budgets, ledger, windows
from gistline.storage.session import transaction
from gistline.storage.tables import AttemptState
from gistline.telemetry import tracing


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
        BudgetExhausted: a budget has too little left; nothing was sent. ``runs_at`` says when it may run.
        WriterFailed: no message came back; the ledger says what the attempt came to. ``retryable`` and
            ``retry_after_s`` say whether and when the window should be put back for another.
        SettingsError: the model has no price; nothing was sent.

    """
    at = datetime.now(UTC)
    price_vector(tools.writer.model, at=at)  # refuse before the money is gone, not after
    with transaction(tools.sessions) as session:
        budgets.enter(session)
        if not windows.renew_lease(session, call.window, lease_s=tools.lease_s):
            raise LeaseLost("Another worker has this window.", window_id=call.window.window_id)
        stored = ledger.paid_answer(
            session, call.window.window_id, call.name, body_sha256=call.request.sha256 if call.exact else None
        )
        if stored is not None:
            return stored
        attempt_id = ledger.open_attempt(session, _attempt(session, call, tools, at))

    told = {"gen_ai.request.model": tools.writer.model, "gistline.call": call.name, "gistline.attempt": attempt_id}
    with tracing.span(f"chat {tools.writer.model}", told) as span:

        def book(attempt: Attempt) -> None:
            with transaction(tools.sessions) as session:
                ledger.settle_attempt(session, attempt_id, _settlement(attempt, tools.writer.model, at))
            span.note(_facts(attempt))

        return tools.writer.write(call.request, book=book)


def most_usd(request: Request, model: str, at: datetime) -> Decimal:
    """The dearest that a request can come to, by its bytes and its limit of output."""
    return dearest(model, input_tokens=most_input_tokens(request), output_tokens=request.max_tokens, at=at)


def most_input_tokens(request: Request) -> int:
    """The most input tokens that a request can count, by its bytes: what was learned or counted bounds no money."""
    return (ceiling if request.schema is None else schema_ceiling)(request.text)


def _attempt(session: Session, call: Call, tools: ReportTools, at: datetime) -> ledger.NewAttempt:
    """What nobody is billed for is not held against any budget."""
    writer, purchase = tools.writer, None
    if not writer.simulated:
        cameras = windows.findings_by_camera(session, call.window.window_id)
        purchase = budgets.Purchase(call.window.line, cameras, most_usd(call.request, writer.model, at))
    return ledger.NewAttempt(
        window_id=call.window.window_id,
        call=call.name,
        writer=writer.name,
        model=writer.model,
        simulated=writer.simulated,
        body_sha256=call.request.sha256,
        price=price_vector(writer.model, at=at),
        purchase=purchase,
    )


def _facts(attempt: Attempt) -> tracing.Attributes:
    """What a trace says of an attempt."""
    usage = attempt.usage
    return {
        "gistline.outcome": attempt.outcome,
        "http.response.status_code": attempt.http_status,
        "gen_ai.usage.input_tokens": usage and usage.total_input_tokens,
        "gen_ai.usage.output_tokens": usage and usage.output_tokens,
    }


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
