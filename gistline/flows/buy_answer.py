"""Buy one answer of the LLM for a window: hold, ledger row, request, what it came to; never twice.

A window needs one call or several (its report; parts and what joins them; a repair). Each is found again by its name:
a paid answer is handed out for ever after, whoever asks. The ledger row is committed before a byte leaves, and what
the attempt came to is committed before anything reads the answer. With the row, the dearest price that the attempt can
come to is held of every budget that applies; the hold ends when the attempt's end is known, and not before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from sqlalchemy.orm import Session

from gistline.costs.ceiling import dearest
from gistline.costs.pricing import Processing, price_usage, price_vector
from gistline.errors import AnswerPending, BudgetExhausted, LeaseLost, SpendLimitReached
from gistline.flows.buying_stops import refuse_while_stopped, stop, stopped
from gistline.flows.cache_prompt import with_cache
from gistline.flows.report_tools import ReportTools
from gistline.reports.answer import Attempt
from gistline.reports.request import Request
from gistline.reports.tokens import ceiling, schema_ceiling
from gistline.reports.writer import message_params
from gistline.storage import budgets, ledger, llm_batches, windows
from gistline.storage.session import transaction
from gistline.storage.tables import AttemptState, LlmAttempt
from gistline.telemetry import tracing

MOST_BATCHES = 2
"""A call that came back from so many batches without an answer is made at once."""


@dataclass(frozen=True, slots=True)
class Call:
    """One answer that a window needs; ``name`` (``report``, ``part-1``, ``join``, ``repair``) finds it again.

    An ``exact`` call takes a stored answer only when it belongs to these very bytes: right for a part whose cut may
    change. Others take the window's last answer of that name, since a report of the same findings packed a little
    differently is not worth paying for twice. ``further`` calls of the window with the same fixed part follow it.
    """

    window: windows.ClaimedWindow
    name: str
    request: Request
    exact: bool = False
    further: int = 0


def buy_answer(call: Call, tools: ReportTools) -> str:
    """The raw response body: the stored one, or a new one by a single HTTP attempt. Extends the window's lease.

    Raises:
        LeaseLost: another worker has the window by now; nothing was sent.
        BuyingStopped: a limit of spending is reached at the provider.
        BudgetExhausted: a budget has too little left; nothing was sent. ``runs_at`` says when it may run.
        AnswerPending: the window is not urgent, and its answer comes with a batch.
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
        ledger.wait_for_bookings(session, call.window.window_id, call.name)
        # Before the answer is looked for: a batch that is collected between the two is seen with its answer then, and
        # not as one that came back without.
        stand = _stand(session, call, tools, at)
        stored = ledger.paid_answer(
            session, call.window.window_id, call.name, body_sha256=call.request.sha256 if call.exact else None
        )
        if stored is not None:
            return stored
        refuse_while_stopped(session, tools)
        sent = None
        if _goes_by_batch(session, call, tools, at, stand):
            ledger.open_attempt(session, _attempt(session, call, tools, at, by_batch=True))
        else:
            sent = _open(session, call, tools, at)
    if sent is None:
        raise _pending(call)
    attempt_id, request = sent

    told = {"gen_ai.request.model": tools.writer.model, "gistline.call": call.name, "gistline.attempt": attempt_id}
    with tracing.span(f"chat {tools.writer.model}", told) as span:

        def book(attempt: Attempt) -> None:
            with transaction(tools.sessions) as session:
                ledger.settle_attempt(session, attempt_id, settlement(attempt, tools.writer.model, at))
            span.note(_facts(attempt))

        try:
            return tools.writer.write(request, book=book)
        except SpendLimitReached as error:
            with transaction(tools.sessions) as session:
                now = stop(session, error, tools)
            raise stopped(now) from error


def _open(session: Session, call: Call, tools: ReportTools, at: datetime) -> tuple[int, Request]:
    """Hold and book a call that is to be made now; its key, and the request as it is to be sent.

    A cache write may come dearer than plain input. No report is refused for that: then it goes without.
    """
    request = with_cache(session, call.request, tools, at, further=call.further)
    if request.cache is not None:
        marked = _attempt(session, replace(call, request=request), tools, at, by_batch=False)
        try:
            with session.begin_nested():
                return ledger.open_attempt(session, marked), request
        except BudgetExhausted:
            pass
    return ledger.open_attempt(session, _attempt(session, call, tools, at, by_batch=False)), call.request


def _stand(session: Session, call: Call, tools: ReportTools, at: datetime) -> ledger.Batched | None:
    """How a call stands with batches, None where it has nothing to do with them."""
    deadline = call.window.deadline_at
    if deadline is None or tools.batches is None:
        return None
    return ledger.batched(session, call.window.window_id, call.name, settled=at >= deadline)


def _goes_by_batch(
    session: Session, call: Call, tools: ReportTools, at: datetime, stand: ledger.Batched | None
) -> bool:
    """Whether a call is to be queued for a batch; False: it is to be made now.

    At the deadline it is made whether its batch has ended or not: a queued attempt is taken back, one that the
    provider works on stays held, and both are booked if both are billed.

    Raises:
        AnswerPending: it is queued or in a batch, and may be.

    """
    deadline = call.window.deadline_at
    if deadline is None or stand is None:
        return False
    if stand.attempt is not None:
        if at < deadline:
            raise _pending(call)
        llm_batches.give_up(
            session,
            (LlmAttempt.id == stand.attempt.id) & (LlmAttempt.state == AttemptState.QUEUED),
            "the deadline came before the batch",
        )
        return False
    leaves = deadline - timedelta(seconds=tools.settings.batch_cancel_s + tools.settings.batch_gather_s)
    return at < leaves and stand.before < MOST_BATCHES


def _pending(call: Call) -> AnswerPending:
    until = call.window.deadline_at or datetime.now(UTC)
    return AnswerPending(
        f"The answer '{call.name}' comes by batch, at half the price, or at {until:%Y-%m-%d %H:%M} UTC by a call.",
        until=until,
    )


def most_usd(request: Request, model: str, at: datetime, *, processing: Processing = "standard") -> Decimal:
    """The dearest that a request can come to, by its bytes and its limit of output. A cache may be written."""
    return dearest(
        model,
        input_tokens=most_input_tokens(request),
        output_tokens=request.max_tokens,
        at=at,
        cache_write=0 if request.cache is None else most_input_tokens(replace(request, user="")),
        processing=processing,
    )


def most_input_tokens(request: Request) -> int:
    """The most input tokens that a request can count, by its bytes: what was learned or counted bounds no money."""
    return (ceiling if request.schema is None else schema_ceiling)(request.text)


def _attempt(session: Session, call: Call, tools: ReportTools, at: datetime, *, by_batch: bool) -> ledger.NewAttempt:
    """What nobody is billed for is not held against any budget."""
    writer, purchase = tools.writer, None
    processing: Processing = "batch" if by_batch else "standard"
    if not writer.simulated:
        cameras = windows.findings_by_camera(session, call.window.window_id)
        usd = most_usd(call.request, writer.model, at, processing=processing)
        purchase = budgets.Purchase(call.window.line, cameras, usd)
    return ledger.NewAttempt(
        window_id=call.window.window_id,
        call=call.name,
        writer=writer.name,
        model=writer.model,
        simulated=writer.simulated,
        body_sha256=call.request.sha256,
        fixed_sha256=call.request.fixed_sha256,
        price=price_vector(writer.model, at=at, processing=processing),
        purchase=purchase,
        request=message_params(call.request, writer.model) if by_batch else None,
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


def settlement(attempt: Attempt, model: str, at: datetime, *, processing: Processing = "standard") -> ledger.Settlement:
    """What an attempt came to, priced as of ``at``, its sending, so that it is the price list of its row."""
    usd = None if attempt.usage is None else price_usage(attempt.usage, model, at=at, processing=processing).usd
    return ledger.Settlement(
        state=AttemptState(attempt.outcome.value),
        http_status=attempt.http_status,
        request_id=attempt.request_id,
        usage=attempt.usage,
        usd=usd,
        answer=attempt.answer,
        error=attempt.error,
        latency_s=attempt.latency_s,
    )
