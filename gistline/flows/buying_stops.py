"""A limit of spending that is reached at the provider: nothing is bought for a while, and nothing is lost."""

from __future__ import annotations

import logging

from sqlalchemy.orm import Session

from gistline.errors import BuyingStopped, SpendLimitReached
from gistline.flows.report_tools import ReportTools
from gistline.storage import audit, buying_stops, windows
from gistline.storage.budgets import NOTHING
from gistline.storage.buying_stops import Stop
from gistline.storage.session import Sessions, transaction
from gistline.storage.tables import WaitsFor

log = logging.getLogger(__name__)


def refuse_while_stopped(session: Session, tools: ReportTools) -> None:
    """Let nothing be bought while a stop is in force; what nobody is billed for may.

    Raises:
        BuyingStopped: one is.

    """
    stop_now = None if tools.writer.simulated else buying_stops.stop_in_force(session)
    if stop_now is not None:
        raise stopped(stop_now)


def stop(session: Session, error: SpendLimitReached, tools: ReportTools) -> Stop:
    """Buy nothing more, for as long as the settings or the provider say, whichever is longer."""
    pause_s = max(error.retry_after_s or 0.0, tools.settings.spend_limit_pause_s)
    made = buying_stops.stop_buying(session, error.code, error.message, pause_s=pause_s)
    log.warning("nothing is bought until %s: %s", made.until, error)
    return made


def stopped(now: Stop) -> BuyingStopped:
    """What a report that is to be bought now is told."""
    return BuyingStopped(
        f"A limit of spending is reached at the provider ({now.code}): {now.said}",
        cure=f"It is asked again at {now.until:%Y-%m-%d %H:%M} UTC; if the limit is raised, 'gistline costs resume'.",
        room_usd=NOTHING,
        runs_at=now.until,
    )


def resume_buying(sessions: Sessions, *, by: str) -> int:
    """End every stop and let what waited for the provider try again; returns how many stops there were."""
    with transaction(sessions) as session:
        ended = buying_stops.end_stop(session, by=by)
        if ended:
            audit.record(session, actor=by, action="buying.resume", subject="provider")
        windows.wake_waiting(session, WaitsFor.PROVIDER)
        return ended
