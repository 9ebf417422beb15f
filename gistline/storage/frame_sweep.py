"""Frames that nobody works on any more: leases that ran out, deadlines that passed, bells that were never heard.

Any number of processes may sweep; one at a time does, the others find nothing to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from gistline.storage.findings import Measure
from gistline.storage.frames import DUE, PENDING, QUEUE_ORDER, RUNNING, Outcome, Trouble, finish, retry_or_fail
from gistline.storage.tables import FrameRow

SWEEP_LOCK: Final = 7_161_234_002
"""Advisory lock of the sweep; any number that no other program of the database uses."""
CHUNK: Final = 500
"""Frames that one sweep returns or expires at most, so that its transaction stays short."""
HEAD: Final = 256
"""How far into the queue the sweep looks for frames to ring for. A worker that wakes takes them in queue order."""

MOST_DOUBLINGS: Final = 16


def sweep_alone(session: Session) -> bool:
    """Whether this transaction may sweep: false while another one does."""
    return bool(session.scalar(select(func.pg_try_advisory_xact_lock(SWEEP_LOCK))))


def return_expired_leases(session: Session, trouble: Trouble, measure: Measure) -> tuple[int, set[UUID]]:
    """Put frames back whose worker died or was too slow; those that had it happen too often fail.

    Returns:
        How many went back, and the ids that failed.

    """
    lost = select(FrameRow.id).where(RUNNING, FrameRow.lease_until < func.now()).limit(CHUNK)
    ids = session.scalars(lost.with_for_update(skip_locked=True)).all()
    failed = retry_or_fail(session, ids, trouble, token=None, measure=measure) if ids else set()
    return len(ids) - len(failed), failed


def expire_overdue(session: Session, measure: Measure) -> set[UUID]:
    """End pending frames whose deadline passed; returns their ids."""
    late = select(FrameRow.id).where(PENDING, text("frames.expires_at <= now()")).limit(CHUNK)
    ids = session.scalars(late.with_for_update(skip_locked=True)).all()
    reason = "not inspected before its deadline"
    return finish(session, [Outcome.expired(one, reason) for one in ids], token=None, measure=measure)


def frames_to_ring(session: Session, *, ring_again_s: float, longest_s: float) -> Sequence[UUID]:
    """The frames at the head of the queue that nobody was rung for lately; marks them as rung.

    The pause after which a frame is rung for again doubles each time up to ``longest_s``: a queue that is merely long
    does not fill the broker with bells.
    """
    head = select(FrameRow.id, FrameRow.rings, func.coalesce(FrameRow.sent_at, FrameRow.accepted_at).label("rung_at"))
    head_rows = (
        head.where(PENDING, DUE).order_by(*QUEUE_ORDER).limit(HEAD).with_for_update(skip_locked=True).cte("head")
    )
    pause = func.least(longest_s, ring_again_s * func.power(2, func.least(head_rows.c.rings, MOST_DOUBLINGS)))
    quiet = select(head_rows.c.id).where(
        head_rows.c.rung_at <= func.now() - func.make_interval(0, 0, 0, 0, 0, 0, pause)
    )
    rung = {"sent_at": func.now(), "rings": FrameRow.rings + 1}
    ring = update(FrameRow).where(FrameRow.id.in_(quiet)).values(rung).returning(FrameRow.id)
    return session.scalars(ring.execution_options(synchronize_session=False)).all()
