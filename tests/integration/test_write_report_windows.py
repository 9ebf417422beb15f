"""Closing windows on the real database: every frame in exactly one, late ones in the next, bells that are not lost."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from threading import Thread
from uuid import UUID

import pytest
from pydantic import SecretStr
from sqlalchemy import select, text

from gistline.cli.main import run
from gistline.dispatch import NullDispatcher
from gistline.domain import FrameState
from gistline.flows.close_windows import aligned, close_now, close_windows
from gistline.flows.report_tools import open_report_tools
from gistline.flows.write_report import write_report
from gistline.settings import DatabaseSettings, ReportSettings, Settings
from gistline.storage.session import Sessions, close_database, open_database
from gistline.storage.tables import FrameRow, ReportWindow, WindowState
from tests.support.reporting import add_frame

QUARTER = ReportSettings(window_minutes=15, grace_s=0)
NOW = datetime.now(UTC)
"""One moment for all tests, so that none of them straddles the end of a window."""


@pytest.fixture
def sessions(database_url: str) -> Iterator[Sessions]:
    made = open_database(DatabaseSettings(url=SecretStr(database_url)))
    yield made
    close_database(made)


@pytest.fixture
def bell() -> NullDispatcher:
    return NullDispatcher()


def quarter(ago: int) -> datetime:
    """Start of the quarter of an hour that began ``ago`` quarters before the present one."""
    return aligned(NOW, 15)[0] - timedelta(minutes=15 * ago)


def add(sessions: Sessions, *moments: datetime, line: str = "line-1", state: FrameState = FrameState.INSPECTED) -> None:
    with sessions.begin() as session:
        for moment in moments:
            add_frame(session, finished_at=moment, camera=f"cam-{line}", line=line, state=state)


def stored(sessions: Sessions) -> list[ReportWindow]:
    with sessions() as session:
        return list(session.scalars(select(ReportWindow).order_by(ReportWindow.line, ReportWindow.starts_at)))


def members(sessions: Sessions) -> Counter[UUID | None]:
    with sessions() as session:
        return Counter(session.scalars(select(FrameRow.report_window_id)))


def change(sessions: Sessions, statement: str) -> None:
    with sessions.begin() as session:
        session.execute(text(statement))


@pytest.mark.parametrize(
    ("clock", "minutes", "start", "end"),
    [
        ("08:00:00", 15, "08:00", "08:15"),
        ("08:14:59", 15, "08:00", "08:15"),
        ("08:15:00", 15, "08:15", "08:30"),
        ("23:59:59", 1440, "00:00", "24:00"),
        ("23:30:00", 7, "23:27", "23:34"),
        ("23:59:00", 7, "23:55", "24:00"),
    ],
)
def test_windows_are_aligned_to_midnight(clock: str, minutes: int, start: str, end: str) -> None:
    midnight = datetime(2026, 11, 23, tzinfo=UTC)
    found = aligned(datetime.fromisoformat(f"2026-11-23T{clock}+00:00"), minutes)
    expected = [timedelta(hours=int(one[:2]), minutes=int(one[3:])) for one in (start, end)]
    assert found == (midnight + expected[0], midnight + expected[1])


def test_each_ended_window_with_frames_is_closed_once(sessions: Sessions, bell: NullDispatcher) -> None:
    add(sessions, quarter(3), quarter(3) + timedelta(minutes=14), quarter(1) + timedelta(minutes=1))
    add(sessions, quarter(2) + timedelta(minutes=5), line="line-2")
    add(sessions, datetime.now(UTC) - timedelta(microseconds=1))  # its window has not ended, or has this very moment
    first = close_windows(sessions, bell, QUARTER)
    spans = {(one.line, one.starts_at, one.ends_at) for one in stored(sessions)}
    assert spans >= {
        ("line-1", quarter(3), quarter(2)),
        ("line-1", quarter(1), quarter(0)),
        ("line-2", quarter(2), quarter(1)),
    }
    assert set(first.closed) == set(bell.windows)
    assert close_windows(sessions, bell, QUARTER).closed == ()
    assert members(sessions)[stored(sessions)[0].id] == 2


def test_the_present_window_stays_open_until_its_grace_is_over(sessions: Sessions, bell: NullDispatcher) -> None:
    add(sessions, quarter(1))
    assert close_windows(sessions, bell, ReportSettings(window_minutes=15, grace_s=3600)).closed == ()
    assert len(close_windows(sessions, bell, QUARTER).closed) == 1


def test_frames_that_are_not_finished_wait(sessions: Sessions, bell: NullDispatcher) -> None:
    add(sessions, quarter(1), quarter(1))
    change(sessions, "ALTER TABLE frames DISABLE TRIGGER frames_one_life")  # no frame goes back from its end
    change(
        sessions,
        "UPDATE frames SET state = 'pending', finished_at = NULL WHERE id = (SELECT id FROM frames LIMIT 1)",
    )
    change(sessions, "ALTER TABLE frames ENABLE TRIGGER frames_one_life")
    close_windows(sessions, bell, QUARTER)
    assert sorted(members(sessions).values()) == [1, 1]
    assert members(sessions)[None] == 1


def test_a_late_frame_falls_into_the_next_window_of_its_line(sessions: Sessions, bell: NullDispatcher) -> None:
    add(sessions, quarter(2))
    (closed,) = close_windows(sessions, bell, QUARTER).closed
    add(sessions, quarter(2) + timedelta(minutes=1), quarter(1) + timedelta(minutes=1))
    (following,) = close_windows(sessions, bell, QUARTER).closed
    assert members(sessions) == {closed: 1, following: 2}
    assert [(one.starts_at, one.ends_at) for one in stored(sessions)] == [
        (quarter(2), quarter(1)),
        (quarter(1), quarter(0)),
    ]


def test_a_window_closed_by_hand_ends_now_and_the_next_begins_there(sessions: Sessions, bell: NullDispatcher) -> None:
    day = ReportSettings(window_minutes=1440, grace_s=0)
    add(sessions, datetime.now(UTC) - timedelta(milliseconds=1))
    (first,) = close_now(sessions, bell, day, "line-1").closed[-1:]
    add(sessions, datetime.now(UTC))
    (second,) = close_now(sessions, bell, day, "line-1").closed[-1:]
    spans = {one.id: (one.starts_at, one.ends_at) for one in stored(sessions)}
    assert spans[first][1] <= spans[second][0] < spans[second][1]
    assert members(sessions)[None] == 0
    assert set(bell.windows) >= {first, second}
    assert close_now(sessions, bell, day, "line-1").closed == ()


@pytest.mark.long
def test_several_processes_close_each_window_once(sessions: Sessions) -> None:
    moments = [quarter(4) + timedelta(minutes=minute) for minute in range(60)]
    for line in ("line-1", "line-2"):
        add(sessions, *moments, line=line)
    bells = [NullDispatcher() for _ in range(4)]
    threads = [Thread(target=close_windows, args=(sessions, bell, QUARTER)) for bell in bells]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = stored(sessions)
    assert len(found) == 8
    assert members(sessions) == dict.fromkeys((one.id for one in found), 15)
    rung = [window for bell in bells for window in bell.windows]
    assert len(rung) == len(set(rung)) == 8


def test_a_lost_bell_is_rung_again_but_not_at_once(sessions: Sessions, bell: NullDispatcher) -> None:
    add(sessions, quarter(1))
    closed = close_windows(sessions, bell, QUARTER).closed
    assert close_windows(sessions, bell, QUARTER).rung == ()
    change(sessions, "UPDATE report_windows SET sent_at = now() - interval '1 hour'")
    assert close_windows(sessions, bell, QUARTER).rung == closed


def test_a_window_whose_worker_died_is_rung_and_at_last_given_up(sessions: Sessions, bell: NullDispatcher) -> None:
    add(sessions, quarter(1))
    (window,) = close_windows(sessions, bell, QUARTER).closed
    dead = (
        "UPDATE report_windows SET state = 'running', lease_until = now() - interval '1 s', sent_at = NULL, attempts = "
    )
    change(sessions, f"{dead} 1")
    assert close_windows(sessions, bell, QUARTER).rung == (window,)
    change(sessions, f"{dead} {QUARTER.max_attempts}")
    done = close_windows(sessions, bell, QUARTER)
    assert (done.rung, done.given_up) == ((), (window,))
    (row,) = stored(sessions)
    assert row.state is WindowState.FAILED
    assert row.error == "given up: no worker finished it in 5 attempts"


def test_the_command_line_shows_reports_and_costs(
    sessions: Sessions,
    bell: NullDispatcher,
    database_url: str,
    clean_settings: object,
    capsys: pytest.CaptureFixture[str],
) -> None:
    moment = quarter(1)
    with sessions.begin() as session:
        add_frame(session, finished_at=moment, labels=("open", "spur"))
    (window,) = close_windows(sessions, bell, QUARTER).closed
    outcome = write_report(window, open_report_tools(Settings(), sessions))
    asked = ["--set", f"database.url={database_url}", "--set", "redis.url=redis://127.0.0.1:1/0"]

    def answer(*arguments: str) -> str:
        assert run([*asked, *arguments]) == 0
        return capsys.readouterr().out

    (listed,) = json.loads(answer("reports", "list", "--json"))
    assert (listed["report_id"], listed["findings"]) == (str(outcome.report_id), 2)
    shown = json.loads(answer("reports", "show", str(outcome.report_id), "--json"))
    assert shown["placements"] == {"row": 2, "aggregate": 0, "totals": 0, "deferred": 0}
    assert shown["attempts"][0]["usd"] == shown["cost_usd"] == listed["cost_usd"]
    costs = json.loads(answer("costs", "--json", "--days", "2"))
    assert costs["total"]["simulated_usd"] == shown["cost_usd"]
    assert costs["total"]["billed_usd"] == "0"
    assert (costs["rows"][0]["frames"], costs["rows"][0]["findings"]) == (1, 2)
    assert f"billed $0, simulated ${shown['cost_usd']}\n" in answer("costs", "--days", "2")
    assert all(datetime.fromisoformat(listed[edge]).tzinfo for edge in ("starts_at", "ends_at"))
    assert "UTC line-1 written" in answer("reports", "list")
    assert "severity 3" in answer("reports", "show", str(outcome.report_id))
    assert run([*asked, "reports", "show", "00000000-0000-0000-0000-000000000000"]) == 2
