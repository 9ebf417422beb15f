"""Every finding of a reported window has one place, whatever is tried; findings that wait are told of once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from pydantic import SecretStr
from sqlalchemy import select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from gistline.dispatch import NullDispatcher
from gistline.domain import Placement
from gistline.domain_money import BudgetPeriod, BudgetScope
from gistline.flows.budgets import set_budget
from gistline.flows.close_windows import close_windows
from gistline.flows.report_tools import ReportTools
from gistline.flows.write_report import ReportOutcome, write_report
from gistline.settings import DatabaseSettings, ReportSettings
from gistline.simulator.messages_api import MessagesServer
from gistline.storage import reports
from gistline.storage.budget_book import BudgetKey
from gistline.storage.dashboards import cost_rows, total_costs
from gistline.storage.session import Sessions, close_database, open_database
from gistline.storage.tables import ReportFinding, ReportRow, ReportWindow, WindowState
from tests.support.writing import tools_at, window_of

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
WAITING = {"defer_below": 3, "defer_windows": 4}


@pytest.fixture
def sessions(database_url: str, clean_settings: object) -> Iterator[Sessions]:
    made = open_database(DatabaseSettings(url=SecretStr(database_url)))
    yield made
    close_database(made)


@pytest.fixture
def offline(sessions: Sessions) -> Iterator[ReportTools]:
    """Nobody is asked; windows with fewer than three light findings wait."""
    with MessagesServer() as server, tools_at(sessions, server, key="", **WAITING) as tools:
        yield tools


def write(window_id: UUID, tools: ReportTools) -> ReportRow:
    outcome: ReportOutcome = write_report(window_id, tools)
    assert outcome.state is WindowState.WRITTEN, outcome.error
    with tools.sessions() as session:
        return session.get_one(ReportRow, outcome.report_id)


def places(session: Session) -> Counter[tuple[UUID, Placement]]:
    return Counter((row.report_id, row.placement) for row in session.scalars(select(ReportFinding)))


def test_few_light_findings_wait_and_are_counted_in_one_report(sessions: Sessions, offline: ReportTools) -> None:
    first = write(window_of(sessions, {"cam-1": ("spur",)}), offline)
    assert first.writer == "none"
    assert first.body == (
        "Waiting for the next report of line `line-1`: 1 finding. That is fewer than 3, and none is of severity 3."
    )
    assert (first.totals["findings"], first.totals["deferred"], first.image_tokens) == (0, 1, 0)
    with sessions() as session:
        assert places(session) == {(first.id, Placement.DEFERRED): 1}
    second = write(window_of(sessions, {"cam-1": ("spur",), "cam-2": ("spur",)}), offline)
    with sessions() as session:
        assert places(session) == {(second.id, Placement.ROW): 3}
        assert second.totals["findings"] == second.findings == 3
        assert second.image_tokens == 3 * 529
        assert "3 frames were inspected" in second.body
        total = total_costs(cost_rows(session, since=LONG_AGO))
        assert (total.findings, total.frames, total.image_tokens) == (3, 3, 3 * 529)
        waited, told = session.scalars(select(ReportWindow).order_by(ReportWindow.starts_at))
        assert (waited.deferred, waited.told_with, told.deferred) == (True, told.id, False)


def test_a_grave_finding_waits_for_nothing(sessions: Sessions, offline: ReportTools) -> None:
    assert write(window_of(sessions, {"cam-1": ("open",)}), offline).writer == "offline"


def test_a_quiet_window_lets_them_wait_on_and_a_grave_one_takes_all(sessions: Sessions, offline: ReportTools) -> None:
    write(window_of(sessions, {"cam-1": ("spur",)}), offline)
    quiet = write(window_of(sessions, {"cam-1": ()}), offline)
    assert quiet.body.startswith("No findings on line")
    again = write(window_of(sessions, {"cam-2": ("spur",)}), offline)
    assert again.totals["deferred"] == 1
    last = write(window_of(sessions, {"cam-1": ("open",)}), offline)
    with sessions() as session:
        assert places(session) == {(last.id, Placement.ROW): 3}
    assert last.totals["frames"]["inspected"] == 3  # the quiet window's frame is in its own report


def test_they_wait_for_their_own_line_only_and_not_for_ever(sessions: Sessions, offline: ReportTools) -> None:
    write(window_of(sessions, {"cam-1": ("spur",)}), offline)
    other = write(window_of(sessions, {"cam-9": ("open",)}, line="line-9"), offline)
    assert other.findings == 1
    settings = ReportSettings(window_minutes=1, grace_s=0, **WAITING)
    bell = NullDispatcher()
    with sessions.begin() as session:
        just_now = ReportWindow.ends_at - timedelta(seconds=20)
        session.execute(update(ReportWindow).values(starts_at=just_now))
    assert close_windows(sessions, bell, settings).closed == ()
    with sessions.begin() as session:  # five minutes later nothing new has come
        earlier = timedelta(minutes=10)
        moved = {"starts_at": ReportWindow.starts_at - earlier, "ends_at": ReportWindow.ends_at - earlier}
        session.execute(update(ReportWindow).values(moved))
    (opened,) = close_windows(sessions, bell, settings).closed
    assert close_windows(sessions, bell, settings).closed == ()
    impatient = replace(offline, settings=offline.settings.model_copy(update={"window_minutes": 1}))
    told = write(opened, impatient)
    assert (told.findings, told.writer) == (1, "offline")
    with sessions() as session:
        assert (told.id, Placement.ROW) in places(session)


def test_a_window_that_fails_lets_go_of_what_it_took(sessions: Sessions, offline: ReportTools) -> None:
    write(window_of(sessions, {"cam-1": ("spur",)}), offline)
    grave = window_of(sessions, {"cam-2": ("open",)})
    hopeless = replace(offline, settings=offline.settings.model_copy(update={"token_budget": 200}))
    assert write_report(grave, hopeless).state is WindowState.FAILED
    assert write(window_of(sessions, {"cam-3": ("open",)}), offline).findings == 2


def test_a_report_that_leaves_a_finding_out_is_not_committed(
    sessions: Sessions, offline: ReportTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    window_id = window_of(sessions, {"cam-1": ("open", "open", "spur")})
    place = reports._place

    def lose_one(session: Session, window: UUID, report: UUID, placements: dict[int, Placement]) -> None:
        place(session, window, report, dict(list(placements.items())[1:]))

    monkeypatch.setattr(reports, "_place", lose_one)
    with pytest.raises(IntegrityError, match="2 places, 2 of them for the 3 findings of its windows"):
        write_report(window_id, offline)
    with sessions() as session:
        assert session.scalars(select(ReportRow)).all() == []


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DELETE FROM report_findings", "has its place in report"),
        ("UPDATE report_findings SET placement = 'totals'", "has its place in report"),
        ("UPDATE report_findings SET placement = 'deferred'", "has its place in report"),
        (
            "INSERT INTO report_findings SELECT f.frame_id, f.id, r.id, 'row' FROM findings f, reports r"
            " WHERE f.id NOT IN (SELECT finding_id FROM report_findings)",
            "has all its findings already",
        ),
        (
            "INSERT INTO report_findings SELECT frame_id, finding_id, report_id, 'row' FROM report_findings",
            "duplicate key",
        ),
    ],
    ids=["deleted", "moved", "deferred", "added", "doubled"],
)
def test_a_place_is_for_good(statement: str, said: str, sessions: Sessions, offline: ReportTools) -> None:
    write(window_of(sessions, {"cam-1": ("open",)}), offline)
    window_of(sessions, {"cam-2": ("open",)})  # not reported
    with pytest.raises(IntegrityError, match=said), sessions.begin() as session:
        session.execute(text(statement))


def test_a_deferred_finding_goes_to_no_report_that_has_all_its_own(sessions: Sessions, offline: ReportTools) -> None:
    whole = write(window_of(sessions, {"cam-1": ("open",)}), offline)
    write(window_of(sessions, {"cam-1": ("spur",)}), offline)
    with pytest.raises(IntegrityError, match="has all its findings already"), sessions.begin() as session:
        session.execute(
            update(ReportFinding)
            .where(ReportFinding.placement == Placement.DEFERRED)
            .values(report_id=whole.id, placement=Placement.ROW)
        )


def test_what_a_budget_refuses_is_told_of_by_the_next_report_that_there_is_money_for(sessions: Sessions) -> None:
    with MessagesServer() as server, tools_at(sessions, server, over_budget="defer") as tools:
        key = BudgetKey(BudgetScope.SITE, "", BudgetPeriod.DAY)
        set_budget(sessions, key, Decimal("0.000001"))
        first = write(window_of(sessions, {"cam-1": ("open",)}), tools)
        second = write(window_of(sessions, {"cam-1": ("open", "spur")}), tools)
        assert "The money did not reach for a report." in first.body
        assert server.requests == []
        quiet = write(window_of(sessions, {"cam-1": ()}), tools)
        assert quiet.body.startswith("No findings") or quiet.totals["findings"] == 0
        set_budget(sessions, key, Decimal(1))
        told = write(window_of(sessions, {"cam-2": ("open",)}), tools)
    with sessions() as session:
        assert places(session) == {(told.id, Placement.ROW): 4}
        assert {first.id, second.id, quiet.id}.isdisjoint({report for report, _ in places(session)})
    assert len(server.requests) == 1
    assert told.totals["findings"] == 4
