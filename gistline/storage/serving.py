"""What the fleet serves: a history of promotions whose newest row is in force."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from gistline.errors import Conflict
from gistline.storage.tables import ServingAction, ServingRow

SERVING_LOCK: Final = 7_161_234_003
"""Advisory lock of promoting: two promotions at once would return to the same row."""


@dataclass(frozen=True, slots=True)
class Promotion:
    """A row of the history. ``model_sha256`` None hands the choice back to each worker's settings."""

    id: int
    model_sha256: str | None
    action: ServingAction
    returns_to: int | None
    passport_id: UUID | None
    forced: bool
    reason: str
    actor: str
    promoted_at: datetime


@dataclass(frozen=True, slots=True)
class Grounds:
    """Why a model is promoted: the passport that speaks for it, or a ``reason`` where it was forced; and by whom."""

    actor: str
    passport_id: UUID | None = None
    forced: bool = False
    reason: str = ""


def current(session: Session) -> Promotion | None:
    """The promotion in force; None while the settings decide because nothing was ever promoted."""
    return next(iter(history(session, limit=1)), None)


def history(session: Session, *, limit: int = 20) -> Sequence[Promotion]:
    """Promotions, newest first."""
    rows = session.scalars(select(ServingRow).order_by(ServingRow.id.desc()).limit(limit))
    return [_promotion(row) for row in rows]


def promote(session: Session, model_sha256: str, grounds: Grounds) -> Promotion:
    """Put a model in force; a rollback will return to what is in force now."""
    _alone(session)
    before = current(session)
    row = ServingRow(
        model_sha256=model_sha256,
        action=ServingAction.PROMOTE,
        returns_to=before.id if before else None,
        passport_id=grounds.passport_id,
        forced=grounds.forced,
        reason=grounds.reason,
        actor=grounds.actor,
    )
    return _add(session, row)


def roll_back(session: Session, grounds: Grounds) -> Promotion:
    """Put in force what the promotion in force had replaced; again, what that one had replaced.

    Raises:
        Conflict: nothing was replaced.

    """
    _alone(session)
    now = current(session)
    if now is None or (now.returns_to is None and now.model_sha256 is None):
        raise Conflict(
            "Nothing was promoted before, so there is nothing to return to.", cure="See 'gistline model list'."
        )
    target = session.get_one(ServingRow, now.returns_to) if now.returns_to is not None else None
    row = ServingRow(
        model_sha256=target.model_sha256 if target else None,
        action=ServingAction.ROLLBACK,
        returns_to=target.returns_to if target else None,
        passport_id=target.passport_id if target else None,
        reason=grounds.reason,
        actor=grounds.actor,
    )
    return _add(session, row)


def _alone(session: Session) -> None:
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": SERVING_LOCK})


def _add(session: Session, row: ServingRow) -> Promotion:
    session.add(row)
    session.flush()
    session.refresh(row)
    return _promotion(row)


def _promotion(row: ServingRow) -> Promotion:
    return Promotion(
        id=row.id,
        model_sha256=row.model_sha256,
        action=row.action,
        returns_to=row.returns_to,
        passport_id=row.passport_id,
        forced=row.forced,
        reason=row.reason,
        actor=row.actor,
        promoted_at=row.promoted_at,
    )
