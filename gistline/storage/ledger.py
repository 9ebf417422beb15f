"""The ledger: every HTTP attempt at an LLM has a row before it is sent, and its price is stored with it for good."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from gistline.domain import PriceVector, TokenUsage, WindowId
from gistline.storage import budgets
from gistline.storage.tables import AttemptState, LlmAttempt, PriceUsed, Processing, ReportWindow, WindowState

_OPEN = (AttemptState.QUEUED, AttemptState.SENT, AttemptState.UNKNOWN)


@dataclass(frozen=True, slots=True)
class NewAttempt:
    """What is known of an attempt before it is sent; ``price`` is the list in force then.

    ``purchase`` bounds what it may come to, None where nobody is billed. ``request`` is the body of one that is queued
    for a batch, None for one that is about to be sent. Attempts of one ``fixed_sha256`` share what a cache may keep.
    """

    window_id: WindowId
    call: str
    writer: str
    model: str
    simulated: bool
    body_sha256: str
    price: PriceVector
    purchase: budgets.Purchase | None
    request: Mapping[str, Any] | None = None
    fixed_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Settlement:
    """What an attempt came to. A paid one has usage, its amount, and ``answer``, the raw response body."""

    state: AttemptState
    http_status: int | None = None
    request_id: str | None = None
    usage: TokenUsage | None = None
    usd: Decimal | None = None
    answer: str | None = None
    error: str | None = None
    latency_s: float | None = None


@dataclass(frozen=True, slots=True)
class Batched:
    """An attempt that is queued for a batch or in one, None when there is none; ``before`` have ended."""

    attempt: LlmAttempt | None
    before: int


@dataclass(frozen=True, slots=True)
class Spent:
    """Sums over all paid attempts of a window; input tokens include cached ones."""

    input_tokens: int
    output_tokens: int
    usd: Decimal


def open_attempt(session: Session, attempt: NewAttempt) -> int:
    """Hold what the attempt may cost and write its row; returns its key. Commit before sending.

    Attempts at a call are numbered from 1. The caller holds the window's row, or two might take the same number, which
    a unique key refuses, and has called :func:`gistline.storage.budgets.enter` before that.

    Raises:
        BudgetExhausted: a budget has not that much left; roll this transaction back.

    """
    purchase = attempt.purchase
    held = budgets.hold(session, purchase) if purchase else []
    made = func.coalesce(func.max(LlmAttempt.attempt), 0) + 1
    number = select(made).where(LlmAttempt.window_id == attempt.window_id, LlmAttempt.call == attempt.call)
    row = LlmAttempt(
        window_id=attempt.window_id,
        call=attempt.call,
        attempt=session.execute(number).scalar_one(),
        writer=attempt.writer,
        model=attempt.model,
        simulated=attempt.simulated,
        body_sha256=attempt.body_sha256,
        fixed_sha256=attempt.fixed_sha256,
        price_id=save_price(session, attempt.price),
        promised_usd=purchase and purchase.usd,
        cameras=purchase and dict(purchase.cameras),
        state=AttemptState.SENT if attempt.request is None else AttemptState.QUEUED,
        processing=Processing.STANDARD if attempt.request is None else Processing.BATCH,
        request=None if attempt.request is None else dict(attempt.request),
    )
    session.add(row)
    session.flush()
    budgets.keep_holds(session, row.id, held)
    return row.id


def settle_attempt(session: Session, attempt_id: int, settled: Settlement) -> None:
    """Say what an attempt came to, and let its holds follow: paid settles them, refused gives them back, unknown stays.

    One that was thought lost is put right, even after somebody settled it by hand; one that is settled stays as it is.
    """
    budgets.enter(session)
    usage, known = settled.usage, settled.state is not AttemptState.UNKNOWN
    by_hand = LlmAttempt.reconciled_at.is_not(None)
    changed = session.execute(
        update(LlmAttempt)
        .where(LlmAttempt.id == attempt_id, LlmAttempt.state.in_(_OPEN) | (by_hand & known))
        .values(
            state=settled.state,
            http_status=settled.http_status,
            request_id=settled.request_id,
            input_tokens=usage and usage.input_tokens,
            output_tokens=usage and usage.output_tokens,
            cache_read_tokens=usage and usage.cache_read_tokens,
            cache_write_5m_tokens=usage and usage.cache_write_5m_tokens,
            cache_write_1h_tokens=usage and usage.cache_write_1h_tokens,
            usd=settled.usd,
            answer=settled.answer,
            error=settled.error,
            latency_ms=None if settled.latency_s is None else round(settled.latency_s * 1000),
            settled_at=func.clock_timestamp(),
        )
        .returning(LlmAttempt.id)
        .execution_options(synchronize_session=False)
    )
    if changed.one_or_none() is not None and known:
        budgets.settle_holds(session, attempt_id, usd=settled.usd)


def abandon_attempts(session: Session, window_id: UUID) -> None:
    """Mark attempts of a window that were sent and never settled: whether they were billed is unknown.

    What they hold stays held until somebody knows.
    """
    _abandon(session, LlmAttempt.window_id == window_id)


def abandon_lost(session: Session) -> int:
    """The same for every window that no worker holds any more, such as one that was given up; returns how many."""
    orphaned = (
        select(ReportWindow.id)
        .where(
            ReportWindow.id == LlmAttempt.window_id,
            (ReportWindow.state != WindowState.RUNNING) | (ReportWindow.lease_until < func.now()),
        )
        .exists()
    )
    return _abandon(session, orphaned)


def paid_answer(session: Session, window_id: UUID, call: str, *, body_sha256: str | None = None) -> str | None:
    """The last answer that was paid for this call of the window, None when there is none.

    With ``body_sha256`` only an answer to that very request counts.
    """
    query = select(LlmAttempt.answer).where(
        LlmAttempt.window_id == window_id,
        LlmAttempt.call == call,
        LlmAttempt.state == AttemptState.PAID,
        LlmAttempt.answer.is_not(None),
    )
    if body_sha256 is not None:
        query = query.where(LlmAttempt.body_sha256 == body_sha256)
    return session.scalar(query.order_by(LlmAttempt.attempt.desc()).limit(1))


def wait_for_bookings(session: Session, window_id: UUID, call: str) -> None:
    """Wait for whoever is booking the end of a call's attempt just now, so that its answer is seen after this.

    One that is booked later waits for the end of this transaction. The caller holds the window's row; attempts in
    batches are left to :func:`batched`.
    """
    session.execute(
        select(LlmAttempt.id)
        .where(
            LlmAttempt.window_id == window_id,
            LlmAttempt.call == call,
            LlmAttempt.processing == Processing.STANDARD,
            LlmAttempt.state.in_(_OPEN),
        )
        .order_by(LlmAttempt.id)
        .with_for_update()
    ).all()


def batched(session: Session, window_id: UUID, call: str, *, settled: bool) -> Batched:
    """How a call stands with batches: the attempt that is on its way with one, and how many went before it.

    With ``settled``, an answer that is just being booked is waited for.
    """
    rows = session.scalars(
        (select(LlmAttempt).with_for_update() if settled else select(LlmAttempt))
        .where(
            LlmAttempt.window_id == window_id,
            LlmAttempt.call == call,
            LlmAttempt.processing == Processing.BATCH,
        )
        .order_by(LlmAttempt.attempt)
        .execution_options(populate_existing=True)
    ).all()
    on_its_way = [row for row in rows if row.state in {AttemptState.QUEUED, AttemptState.SENT}]
    return Batched(on_its_way[-1] if on_its_way else None, len(rows) - len(on_its_way))


def recent_calls(session: Session, model: str, fixed_sha256: str) -> tuple[int, int]:
    """Real calls with this model and fixed part that were sent in the last five minutes and in the last hour.

    What was refused never reached the model, and requests of a batch come at any time: neither counts.
    """
    since = {minutes: func.now() - timedelta(minutes=minutes) for minutes in (5, 60)}
    row = session.execute(
        select(func.count().filter(LlmAttempt.sent_at > since[5]), func.count()).where(
            LlmAttempt.sent_at > since[60],
            LlmAttempt.model == model,
            LlmAttempt.fixed_sha256 == fixed_sha256,
            LlmAttempt.state.in_((AttemptState.SENT, AttemptState.PAID)),
            LlmAttempt.processing == Processing.STANDARD,
            ~LlmAttempt.simulated,
        )
    ).one()
    return row[0], row[1]


def provider_key(window_id: UUID, call: str, attempt: int) -> str:
    """What an attempt is called at the provider; unique among all installations that share a key."""
    return f"{window_id.hex}-{call}-{attempt}"


def spent(session: Session, window_id: UUID) -> Spent:
    """What the window has cost so far."""
    inputs = (
        LlmAttempt.input_tokens
        + LlmAttempt.cache_read_tokens
        + LlmAttempt.cache_write_5m_tokens
        + LlmAttempt.cache_write_1h_tokens
    )
    row = session.execute(
        select(
            func.coalesce(func.sum(inputs), 0),
            func.coalesce(func.sum(LlmAttempt.output_tokens), 0),
            func.coalesce(func.sum(LlmAttempt.usd), 0),
        ).where(LlmAttempt.window_id == window_id, LlmAttempt.state == AttemptState.PAID)
    ).one()
    return Spent(int(row[0] or 0), int(row[1] or 0), Decimal(row[2] or 0))


def _abandon(session: Session, which: ColumnElement[bool]) -> int:
    lost = session.execute(
        update(LlmAttempt)
        .where(which, LlmAttempt.state == AttemptState.SENT, LlmAttempt.processing == Processing.STANDARD)
        .values(
            state=AttemptState.UNKNOWN,
            error="the worker ended before the answer was booked",
            settled_at=func.clock_timestamp(),
        )
        .returning(LlmAttempt.id)
        .execution_options(synchronize_session=False)
    )
    return len(lost.all())


def save_price(session: Session, price: PriceVector) -> int:
    """Key of a price list, written at its first use and never changed."""
    packed = json.dumps([price.model, price.source, price.source_version, price.rates], sort_keys=True)
    digest = hashlib.sha256(packed.encode()).hexdigest()
    session.execute(
        insert(PriceUsed)
        .values(
            model=price.model,
            source=price.source,
            source_version=price.source_version,
            vector=price.rates,
            vector_sha256=digest,
        )
        .on_conflict_do_nothing(index_elements=[PriceUsed.vector_sha256])
    )
    return session.scalars(select(PriceUsed.id).where(PriceUsed.vector_sha256 == digest)).one()
