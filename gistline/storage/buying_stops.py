"""Times in which nothing is bought, because the provider says that a limit of spending is reached there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from gistline.storage.tables import BuyingStop

_LOCK = 7_161_234_018


@dataclass(frozen=True, slots=True)
class Stop:
    """One that is in force: the provider's ``code`` and words, since when, and when buying is tried again."""

    code: str
    said: str
    began_at: datetime
    until: datetime


def stop_buying(session: Session, code: str, said: str, *, pause_s: float) -> Stop:
    """Buy nothing for ``pause_s``. Where several workers hear it at once, the first one's time holds."""
    session.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    now = stop_in_force(session)
    if now is not None:
        return now
    until = func.now() + timedelta(seconds=pause_s)
    session.execute(insert(BuyingStop).values(code=code, said=said, until=until))
    made = stop_in_force(session)
    assert made is not None  # noqa: S101 (pause_s is above 0)
    return made


def stop_in_force(session: Session) -> Stop | None:
    """The stop that is in force, None when buying goes on."""
    row = session.scalars(
        select(BuyingStop)
        .where(BuyingStop.ended_at.is_(None), BuyingStop.until > func.now())
        .order_by(BuyingStop.until.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else Stop(row.code, row.said, row.began_at, row.until)


def end_stop(session: Session, *, by: str) -> int:
    """Buy again from now on; returns how many stops this ended."""
    ended = session.execute(
        update(BuyingStop)
        .where(BuyingStop.ended_at.is_(None), BuyingStop.until > func.now())
        .values(ended_at=func.now(), ended_by=by)
        .returning(BuyingStop.id)
        .execution_options(synchronize_session=False)
    )
    return len(ended.all())
