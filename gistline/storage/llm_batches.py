"""Batches of requests at the provider, and the attempts in them.

An attempt by batch is `queued` with its hold and its body; it becomes `sent` in the transaction that makes the batch it
goes with, before the batch is handed over. So an attempt is in one batch at most, and a batch that may have been taken
in keeps its attempts held until it is found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from gistline.storage import budgets
from gistline.storage.ledger import provider_key
from gistline.storage.tables import (
    AttemptState,
    BatchState,
    LlmAttempt,
    LlmBatch,
    ReportWindow,
    WaitsFor,
    WindowState,
)

MOST_REQUESTS = 5_000
"""Far below what the provider takes (100,000 requests, 256 MB) for prompts of any size that a setting allows."""

TOGETHER = timedelta(hours=1)
"""Requests whose deadlines lie further apart do not share a batch: the first one's cancels it for all."""


@dataclass(frozen=True, slots=True)
class Queued:
    """An attempt that goes with a batch."""

    attempt_id: int
    key: str
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A batch that is about to be handed over."""

    batch_id: int
    items: tuple[Queued, ...]


def gather(session: Session, *, gather_s: float) -> NewBatch | None:
    """Make a batch of what is queued, once the oldest has waited for ``gather_s``; None when nothing is due.

    Several processes may gather at once: each takes other attempts. None gathers while the provider wants a pause.
    """
    if _paused(session):
        return None
    queued = (
        select(LlmAttempt.id, LlmAttempt.window_id, LlmAttempt.call, LlmAttempt.attempt, LlmAttempt.request)
        .add_columns(LlmAttempt.sent_at, ReportWindow.deadline_at, func.now())
        .join(ReportWindow, ReportWindow.id == LlmAttempt.window_id)
        .where(LlmAttempt.state == AttemptState.QUEUED)
        .order_by(ReportWindow.deadline_at, LlmAttempt.id)
        .limit(MOST_REQUESTS)
        .with_for_update(of=LlmAttempt, skip_locked=True)
    )
    rows = session.execute(queued).all()
    if not rows or rows[0][7] < min(row.sent_at for row in rows) + timedelta(seconds=gather_s):
        return None
    first = rows[0].deadline_at
    taken = [row for row in rows if row.deadline_at <= first + TOGETHER]
    batch = LlmBatch(state=BatchState.SUBMITTING, requests=len(taken), deadline_at=first)
    session.add(batch)
    session.flush()
    session.execute(
        update(LlmAttempt)
        .where(LlmAttempt.id.in_([row.id for row in taken]))
        .values(state=AttemptState.SENT, batch_id=batch.id)
        .execution_options(synchronize_session=False)
    )
    items = (Queued(row.id, provider_key(row.window_id, row.call, row.attempt), row.request) for row in taken)
    return NewBatch(batch.id, tuple(items))


def taken_in(session: Session, batch_id: int, api_id: str, expires_at: datetime) -> bool:
    """The provider has the batch; False where this says nothing new."""
    return _learn(session, batch_id, state=BatchState.RUNNING, api_id=api_id, expires_at=expires_at, error=None)


def lost(session: Session, batch_id: int, error: str) -> None:
    """Nobody knows whether the provider has the batch; it is looked for, unless somebody has found it by now."""
    _learn(session, batch_id, state=BatchState.LOST, error=error)


def turned_down(session: Session, batch_id: int, error: str, *, again_in_s: float | None) -> None:
    """The provider does not have the batch. Its attempts are queued again, or with None given up.

    Nothing changes where somebody else has learned by now what became of it.
    """
    retry_at = None if again_in_s is None else func.now() + timedelta(seconds=again_in_s)
    if not _learn(session, batch_id, state=BatchState.TURNED_DOWN, error=error, retry_at=retry_at):
        return
    if again_in_s is None:
        give_up(session, LlmAttempt.batch_id == batch_id, error)
        return
    session.execute(
        update(LlmAttempt)
        .where(LlmAttempt.batch_id == batch_id, LlmAttempt.state == AttemptState.SENT)
        .values(state=AttemptState.QUEUED, batch_id=None)
        .execution_options(synchronize_session=False)
    )


def give_up(session: Session, which: Any, error: str) -> None:
    """End attempts that nobody was billed for: their holds are given back, their windows due."""
    budgets.enter(session)
    ended = session.execute(
        update(LlmAttempt)
        .where(which, LlmAttempt.state.in_((AttemptState.QUEUED, AttemptState.SENT)))
        .values(state=AttemptState.REFUSED, error=error, settled_at=func.clock_timestamp(), request=None)
        .returning(LlmAttempt.id, LlmAttempt.window_id)
        .execution_options(synchronize_session=False)
    ).all()
    for attempt_id in sorted(row.id for row in ended):
        budgets.settle_holds(session, attempt_id, usd=None)
    wake(session, [row.window_id for row in ended])


def drop_needless(session: Session) -> None:
    """Give up queued attempts whose window does not wait for them any more."""
    waits = (
        select(ReportWindow.id)
        .where(
            ReportWindow.id == LlmAttempt.window_id, ReportWindow.state.in_((WindowState.PENDING, WindowState.RUNNING))
        )
        .exists()
    )
    give_up(session, (LlmAttempt.state == AttemptState.QUEUED) & ~waits, "the window does not need it any more")


def wake(session: Session, window_ids: Sequence[UUID]) -> None:
    """Make windows due that wait for a batch."""
    session.execute(
        update(ReportWindow)
        .where(ReportWindow.id.in_(window_ids), ReportWindow.waits_for == WaitsFor.BATCH)
        .values(available_at=func.now(), sent_at=None)
        .execution_options(synchronize_session=False)
    )


def to_look_at(session: Session, *, poll_s: float, submit_s: float) -> list[LlmBatch]:
    """Batches to be asked about now; this process has them to itself for ``poll_s``.

    One that is being handed over for longer than ``submit_s`` was lost with its worker.
    """
    session.execute(
        update(LlmBatch)
        .where(LlmBatch.state == BatchState.SUBMITTING, LlmBatch.created_at < func.now() - timedelta(seconds=submit_s))
        .values(state=BatchState.LOST, error="the worker ended while it handed the batch over")
        .execution_options(synchronize_session=False)
    )
    due = session.scalars(
        select(LlmBatch)
        .where(
            LlmBatch.state.in_((BatchState.RUNNING, BatchState.LOST)),
            or_(LlmBatch.looked_at.is_(None), LlmBatch.looked_at < func.now() - timedelta(seconds=poll_s)),
        )
        .order_by(LlmBatch.id)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    ).all()
    for batch in due:
        _change(session, batch.id, looked_at=func.now())
    return list(due)


def known_ids(session: Session) -> set[str]:
    """Every batch of ours that the provider has named."""
    return {one for one in session.scalars(select(LlmBatch.api_id)) if one is not None}


def attempts_in(session: Session, batch_id: int) -> dict[str, LlmAttempt]:
    """Attempts of a batch by the name that its results have for them."""
    rows = session.scalars(
        select(LlmAttempt).where(LlmAttempt.batch_id == batch_id).execution_options(populate_existing=True)
    )
    return {provider_key(row.window_id, row.call, row.attempt): row for row in rows}


def cancel_asked(session: Session, batch_id: int) -> None:
    """The provider was asked to stop."""
    _change(session, batch_id, cancel_asked_at=func.now())


def collected(session: Session, batch_id: int) -> None:
    """Everything in it is settled; what waits for it is due."""
    _change(session, batch_id, state=BatchState.COLLECTED, ended_at=func.now())
    session.execute(
        update(LlmAttempt)
        .where(LlmAttempt.batch_id == batch_id)
        .values(request=None)
        .execution_options(synchronize_session=False)
    )
    wake(session, list(session.scalars(select(LlmAttempt.window_id).where(LlmAttempt.batch_id == batch_id))))


def _paused(session: Session) -> bool:
    found = session.scalar(select(LlmBatch.id).where(LlmBatch.retry_at > func.now()).limit(1))
    return found is not None


def _learn(session: Session, batch_id: int, **values: Any) -> bool:
    """Change a batch of which nobody knew yet what became of its submission; a late word changes nothing more.

    A worker that was held up in its submission may come back when the batch has long been found and collected: to
    call it lost again would send its attempts a second time.
    """
    unsure = LlmBatch.state.in_((BatchState.SUBMITTING, BatchState.LOST))
    changed = session.execute(
        update(LlmBatch)
        .where(LlmBatch.id == batch_id, unsure)
        .values(values)
        .returning(LlmBatch.id)
        .execution_options(synchronize_session=False)
    )
    return changed.one_or_none() is not None


def _change(session: Session, batch_id: int, **values: Any) -> None:
    session.execute(
        update(LlmBatch).where(LlmBatch.id == batch_id).values(values).execution_options(synchronize_session=False)
    )
