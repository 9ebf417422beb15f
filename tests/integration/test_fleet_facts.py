"""What the database's metrics say of report windows and of reviews."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update
from uuid_utils.compat import uuid7

from gistline.domain_accuracy import ReviewKind
from gistline.findings.accuracy import unknown
from gistline.flows.expose_fleet import expose_fleet
from gistline.settings_observability import MetricsSettings
from gistline.storage.accuracy_reviews import save_reviews
from gistline.storage.fleet_facts import queue_facts
from gistline.storage.session import Sessions, transaction
from gistline.storage.tables import AccuracyReviewRow, ReportWindow
from gistline.telemetry.listener import written
from tests.support.passports import add_engine


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


def test_the_last_review_does_not_become_new_again_by_being_very_old(sessions: Sessions) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=40)
    with transaction(sessions) as session:
        engine_id, passport_id = add_engine(session)
        told = unknown(ReviewKind.LABELLED, "as planned", measure="mAP50-95")
        save_reviews(session, [told], engine_id=engine_id, passport_id=passport_id, machine="here")
        session.execute(update(AccuracyReviewRow).values(reviewed_at=long_ago))
    exposed = expose_fleet(sessions, MetricsSettings(), model="claude-haiku-5-5")
    [age] = re.findall(r'review_age_seconds{kind="labelled"} (\S+)', written(exposed.registry))
    assert float(age) == pytest.approx(40 * 86_400, abs=60)
