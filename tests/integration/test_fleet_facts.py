"""What the database's metrics say of report windows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from uuid_utils.compat import uuid7

from gistline.storage.fleet_facts import queue_facts
from gistline.storage.session import Sessions, transaction
from gistline.storage.tables import ReportWindow


def add_window(sessions: Sessions, *, ended: timedelta, deadline: timedelta | None = None) -> None:
    """A window that ended so long ago, whose report may come within ``deadline`` of that."""
    ends_at = datetime.now(UTC) - ended
    with transaction(sessions) as session:
        session.add(
            ReportWindow(
                id=uuid7(),
                line="line-1",
                starts_at=ends_at - timedelta(minutes=15),
                ends_at=ends_at,
                deadline_at=None if deadline is None else ends_at + deadline,
            )
        )


def late_s(sessions: Sessions) -> float:
    with transaction(sessions) as session:
        return queue_facts(session).oldest_due_window_s


def test_a_report_that_may_wait_is_late_from_its_deadline_on(sessions: Sessions) -> None:
    add_window(sessions, ended=timedelta(hours=2), deadline=timedelta(hours=8))
    assert late_s(sessions) == 0
    add_window(sessions, ended=timedelta(minutes=40))
    assert late_s(sessions) == pytest.approx(2_400, abs=60)
    add_window(sessions, ended=timedelta(hours=9), deadline=timedelta(hours=8))
    assert late_s(sessions) == pytest.approx(3_600, abs=60)
