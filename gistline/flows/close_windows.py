"""Close the report windows that have ended, and ring for every window that is due.

Windows are aligned to midnight UTC. A line's frames belong to the window in which their inspection ended; a frame that
commits after its window was closed is counted in the next one. Several processes may do this at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from gistline.dispatch import Dispatcher
from gistline.domain import WindowId
from gistline.settings import ReportSettings
from gistline.storage import ledger, windows
from gistline.storage.session import Sessions, transaction


@dataclass(frozen=True, slots=True)
class ClosedWindows:
    """What one round did: windows newly closed, windows rung for, and windows given up."""

    closed: tuple[WindowId, ...]
    rung: tuple[WindowId, ...]
    given_up: tuple[WindowId, ...]


def close_windows(sessions: Sessions, dispatcher: Dispatcher, settings: ReportSettings) -> ClosedWindows:
    """Close every ended window that has frames, give up what failed too often, ring for what is due.

    Raises:
        StorageUnavailable: the database does not answer; what was committed until then stays.

    """
    with transaction(sessions) as session:
        lines = windows.unreported_lines(session)
    closed = [window for line in lines for window in _close_ended(sessions, settings, line)]
    closed += _tell_of_waiting(sessions, settings)
    return _ring(sessions, dispatcher, settings, closed)


def close_now(sessions: Sessions, dispatcher: Dispatcher, settings: ReportSettings, line: str) -> ClosedWindows:
    """Close the windows of ``line`` that have ended and the one under way, which then ends now.

    The line's next window begins where this one ended.

    Raises:
        StorageUnavailable: the database does not answer.

    """
    closed = _close_ended(sessions, settings, line)
    with transaction(sessions) as session:
        windows.lock_line(session, line)
        found = windows.unreported(session, line)
        if found is not None:
            starts_at, _ = _next_window(found, settings.window_minutes)
            if starts_at < found.now:
                closed.append(_open(session, settings, line, (starts_at, found.now)))
    return _ring(sessions, dispatcher, settings, closed)


def aligned(moment: datetime, minutes: int) -> tuple[datetime, datetime]:
    """Start and end of the window that holds ``moment`` (UTC); the last window of a day ends at midnight."""
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    length = timedelta(minutes=minutes)
    starts_at = midnight + (moment - midnight) // length * length
    return starts_at, min(starts_at + length, midnight + timedelta(days=1))


def _close_ended(sessions: Sessions, settings: ReportSettings, line: str) -> list[WindowId]:
    closed: list[WindowId] = []
    while True:
        with transaction(sessions) as session:
            windows.lock_line(session, line)
            found = windows.unreported(session, line)
            if found is None:
                return closed
            starts_at, ends_at = _next_window(found, settings.window_minutes)
            if found.now < ends_at + timedelta(seconds=settings.grace_s):
                return closed
            closed.append(_open(session, settings, line, (starts_at, ends_at)))


def _open(session: Session, settings: ReportSettings, line: str, span: tuple[datetime, datetime]) -> WindowId:
    starts_at, ends_at = span
    within = settings.report_within(line)
    return windows.open_window(session, line=line, starts_at=starts_at, ends_at=ends_at, report_within=within)


def _tell_of_waiting(sessions: Sessions, settings: ReportSettings) -> list[WindowId]:
    """A window without frames for each line that fell silent while findings of it waited for the next report."""
    waited_s = 60.0 * settings.window_minutes * (settings.defer_windows + 1) + settings.grace_s
    opened: list[WindowId] = []
    with transaction(sessions) as session:
        overdue = windows.overdue_lines(session, waited_s=waited_s)
    for line in overdue:
        with transaction(sessions) as session:
            windows.lock_line(session, line)
            if line in windows.overdue_lines(session, waited_s=waited_s):
                opened.append(windows.open_last_window(session, line))
    return opened


def _next_window(found: windows.Unreported, minutes: int) -> tuple[datetime, datetime]:
    """The aligned window of the oldest frame; never one that overlaps the line's last window."""
    if found.last_end is None:
        return aligned(found.oldest, minutes)
    starts_at, ends_at = aligned(max(found.oldest, found.last_end), minutes)
    return max(starts_at, found.last_end), ends_at


def _ring(
    sessions: Sessions, dispatcher: Dispatcher, settings: ReportSettings, closed: list[WindowId]
) -> ClosedWindows:
    with transaction(sessions) as session:
        given_up = windows.give_up_windows(session, max_attempts=settings.max_attempts)
        ledger.abandon_lost(session)
        due = windows.windows_to_ring(session, ring_again_s=settings.ring_again_s)
    if due:
        dispatcher.ring_report(due)
    return ClosedWindows(tuple(closed), tuple(due), tuple(given_up))
