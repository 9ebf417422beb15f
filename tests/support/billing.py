"""Windows to write reports on, and what the ledger says of them afterwards."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from gistline.dispatch import NullDispatcher
from gistline.domain import FrameState
from gistline.flows.close_windows import close_now
from gistline.flows.report_tools import ReportTools
from gistline.settings import ReportSettings
from gistline.storage.session import Sessions
from gistline.storage.tables import LlmAttempt
from tests.support.reporting import add_frame

OpenTools = Callable[..., ReportTools]
"""Opens a report worker's tools against the twin: ``open_tools(key="", over_budget="offline")``."""


def filled_window(sessions: Sessions, *, frames: int = 4, labels: tuple[str, ...] = ("open", "pin-hole")) -> UUID:
    """Close one window over inspected frames, every other with findings, and one failed frame."""
    moment = datetime.now(UTC) - timedelta(seconds=30)
    with sessions.begin() as session:
        for place in range(frames):
            add_frame(session, finished_at=moment, labels=labels if place % 2 else ())
        add_frame(session, finished_at=moment, state=FrameState.FAILED)
    closed = close_now(sessions, NullDispatcher(), ReportSettings(window_minutes=1440), "line-1")
    return closed.closed[-1]


def attempts(session: Session) -> list[LlmAttempt]:
    return list(session.scalars(select(LlmAttempt).order_by(LlmAttempt.id)))


def expire_lease(sessions: Sessions) -> None:
    with sessions.begin() as session:
        session.execute(text("UPDATE report_windows SET lease_until = now() - interval '1 s' WHERE state = 'running'"))
