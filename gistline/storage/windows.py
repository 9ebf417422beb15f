"""Report windows: closing them over a line's frames, and handing each to one report worker at a time.

The windows of a line never overlap. A frame belongs to the first window closed after its inspection ended, so one
that commits late is counted in the next window, once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Update, func, insert, or_, select, text, update
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from gistline.domain import Box, Finding, FrameCounts, FrameId, FrameState, ImageSize, VerdictKind, WindowId
from gistline.storage.tables import Camera, FindingRow, FrameRow, ReportWindow, VerdictRow, WaitsFor, WindowState

_UNREPORTED = (FrameRow.report_window_id.is_(None), FrameRow.finished_at.is_not(None))

_LINES = text("""
WITH RECURSIVE lines(line) AS (
    (SELECT line FROM frames WHERE report_window_id IS NULL AND finished_at IS NOT NULL ORDER BY line LIMIT 1)
    UNION ALL
    SELECT (SELECT line FROM frames
            WHERE report_window_id IS NULL AND finished_at IS NOT NULL AND frames.line > lines.line
            ORDER BY line LIMIT 1)
    FROM lines WHERE lines.line IS NOT NULL
)
SELECT line FROM lines WHERE line IS NOT NULL
""")
"""Walks the partial index from line to line, so that a million waiting frames cost as many steps as there are lines."""


@dataclass(frozen=True, slots=True)
class Unreported:
    """What a line waits with: the earliest end of an unreported frame, the end of its last window, and the time."""

    oldest: datetime
    last_end: datetime | None
    now: datetime


@dataclass(frozen=True, slots=True)
class ClaimedWindow:
    """A window held by one worker: ``attempt`` counts the claims so far, ``token`` names this one.

    Without ``deadline_at`` its report is urgent.
    """

    window_id: WindowId
    line: str
    starts_at: datetime
    ends_at: datetime
    attempt: int
    token: UUID
    deadline_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class TakenWindow:
    """An earlier window whose findings waited."""

    window_id: WindowId
    starts_at: datetime


@dataclass(frozen=True, slots=True)
class WindowContents:
    """What a report is written from; ``sizes`` counts the inspected frames of each size."""

    frames: FrameCounts
    findings: tuple[Finding, ...]
    sizes: dict[ImageSize, int]


def unreported_lines(session: Session) -> list[str]:
    """Lines with finished frames that are in no window yet."""
    return list(session.scalars(_LINES))


def unreported(session: Session, line: str) -> Unreported | None:
    """What ``line`` waits with, None when it is nothing."""
    oldest = session.scalar(select(func.min(FrameRow.finished_at)).where(FrameRow.line == line, *_UNREPORTED))
    if oldest is None:
        return None
    last = select(ReportWindow.ends_at).where(ReportWindow.line == line).order_by(ReportWindow.starts_at.desc())
    return Unreported(oldest, session.scalar(last.limit(1)), session.execute(select(func.now())).scalar_one())


def lock_line(session: Session, line: str) -> None:
    """Close the windows of ``line`` in this transaction alone; another waits until it ends."""
    session.execute(select(func.pg_advisory_xact_lock(func.hashtext(f"report_windows:{line}"))))


def open_window(
    session: Session, *, line: str, starts_at: datetime, ends_at: datetime, report_within: timedelta | None = None
) -> WindowId:
    """Insert a window and give it every unreported frame of the line that finished before ``ends_at``.

    Its report may take until ``report_within`` from now, None if it is urgent.
    """
    window_id = WindowId(uuid7())
    deadline = None if report_within is None else func.now() + report_within
    session.execute(
        insert(ReportWindow).values(id=window_id, line=line, starts_at=starts_at, ends_at=ends_at, deadline_at=deadline)
    )
    session.execute(
        update(FrameRow)
        .where(FrameRow.line == line, FrameRow.finished_at < ends_at, *_UNREPORTED)
        .values(report_window_id=window_id)
        .execution_options(synchronize_session=False)
    )
    return window_id


def windows_to_ring(session: Session, *, ring_again_s: float) -> list[WindowId]:
    """Windows that a worker may take now and that were not rung lately; marks them as rung."""
    quiet_since = func.now() - timedelta(seconds=ring_again_s)
    found = session.scalars(
        update(ReportWindow)
        .where(_takeable(), or_(ReportWindow.sent_at.is_(None), ReportWindow.sent_at < quiet_since))
        .values(sent_at=func.now())
        .returning(ReportWindow.id)
        .execution_options(synchronize_session=False)
    )
    return [WindowId(found_id) for found_id in found]


def give_up_windows(session: Session, *, max_attempts: int) -> list[WindowId]:
    """Fail windows whose workers died or failed ``max_attempts`` times."""
    found = session.scalars(
        update(ReportWindow)
        .where(_takeable(), ReportWindow.attempts >= max_attempts)
        .values(
            state=WindowState.FAILED,
            lease_until=None,
            waits_for=None,
            error=func.coalesce(ReportWindow.error, f"given up: no worker finished it in {max_attempts} attempts"),
        )
        .returning(ReportWindow.id)
        .execution_options(synchronize_session=False)
    )
    failed = [WindowId(found_id) for found_id in found]
    for window_id in failed:
        release_deferred(session, window_id)
    return failed


def claim_window(session: Session, window_id: UUID, *, lease_s: float, max_attempts: int) -> ClaimedWindow | None:
    """Take a due window, or one whose worker let its lease run out; None when it is neither."""
    token = uuid4()
    row = session.execute(
        update(ReportWindow)
        .where(ReportWindow.id == window_id, _takeable(), ReportWindow.attempts < max_attempts)
        .values(
            state=WindowState.RUNNING,
            attempts=ReportWindow.attempts + 1,
            token=token,
            lease_until=func.now() + timedelta(seconds=lease_s),
            waits_for=None,
        )
        .returning(
            ReportWindow.line,
            ReportWindow.starts_at,
            ReportWindow.ends_at,
            ReportWindow.attempts,
            ReportWindow.deadline_at,
        )
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if row is None:
        return None
    line, starts_at, ends_at, attempts, deadline_at = row
    return ClaimedWindow(WindowId(window_id), line, starts_at, ends_at, attempts, token, deadline_at)


def renew_lease(session: Session, window: ClaimedWindow, *, lease_s: float) -> bool:
    """Extend the lease of a claimed window and lock its row; False when another worker has it by now."""
    renewed = session.execute(
        _held(window).values(lease_until=func.now() + timedelta(seconds=lease_s)).returning(ReportWindow.id)
    )
    return renewed.one_or_none() is not None


def put_window_back(session: Session, window: ClaimedWindow, error: str, *, delay_s: float) -> None:
    """Let a claimed window wait for its next attempt, unless another worker has it by now."""
    session.execute(
        _held(window).values(
            state=WindowState.PENDING,
            lease_until=None,
            available_at=func.now() + timedelta(seconds=delay_s),
            sent_at=None,
            error=error,
        )
    )


def keep_plan(session: Session, window: ClaimedWindow, terms: dict[str, Any]) -> dict[str, Any]:
    """What the window's prompts are packed by: ``terms`` the first time, what was kept then ever after."""
    kept: dict[str, Any] | None = session.scalar(select(ReportWindow.plan).where(ReportWindow.id == window.window_id))
    if kept is not None:
        return kept
    session.execute(update(ReportWindow).where(ReportWindow.id == window.window_id).values(plan=terms))
    return terms


def let_window_wait(
    session: Session, window: ClaimedWindow, waits_for: WaitsFor, error: str, *, until: datetime
) -> None:
    """Let a claimed window wait for something that is no failure: the claim does not count as an attempt."""
    session.execute(
        _held(window).values(
            state=WindowState.PENDING,
            attempts=ReportWindow.attempts - 1,
            lease_until=None,
            available_at=until,
            sent_at=None,
            waits_for=waits_for,
            error=error,
        )
    )


def wake_waiting(session: Session, waits_for: WaitsFor) -> int:
    """Make every window due that waits for this; returns how many there were."""
    woken = session.execute(
        update(ReportWindow)
        .where(ReportWindow.state == WindowState.PENDING, ReportWindow.waits_for == waits_for)
        .values(available_at=func.now(), sent_at=None)
        .returning(ReportWindow.id)
        .execution_options(synchronize_session=False)
    )
    return len(woken.all())


def findings_by_camera(session: Session, window_id: UUID) -> dict[str, int]:
    """How many findings each camera has in a window and those told with it; cameras without any are left out."""
    told = or_(ReportWindow.id == window_id, ReportWindow.told_with == window_id)
    counted = session.execute(
        select(Camera.name, func.count())
        .select_from(FindingRow)
        .join(FrameRow, FrameRow.id == FindingRow.frame_id)
        .join(Camera, Camera.id == FrameRow.camera_id)
        .where(FrameRow.report_window_id.in_(select(ReportWindow.id).where(told)))
        .group_by(Camera.name)
    )
    return {row[0]: row[1] for row in counted}


def fail_window(session: Session, window: ClaimedWindow, error: str) -> None:
    """Give a claimed window up, unless another worker has it by now. Its findings stay; those it took wait again."""
    failed = _held(window).values(state=WindowState.FAILED, lease_until=None, error=error).returning(ReportWindow.id)
    if session.scalar(failed) is not None:
        release_deferred(session, window.window_id)


def take_deferred(session: Session, window: ClaimedWindow) -> list[TakenWindow]:
    """Earlier windows of the line whose findings wait for a report, now this one's; oldest first."""
    waiting = (ReportWindow.told_with.is_(None)) | (ReportWindow.told_with == window.window_id)
    rows = session.execute(
        update(ReportWindow)
        .where(
            ReportWindow.line == window.line,
            ReportWindow.deferred,
            waiting,
            ReportWindow.starts_at < window.starts_at,
        )
        .values(told_with=window.window_id)
        .returning(ReportWindow.id, ReportWindow.starts_at)
        .execution_options(synchronize_session=False)
    )
    return sorted((TakenWindow(WindowId(row[0]), row[1]) for row in rows), key=lambda taken: taken.starts_at)


def release_deferred(session: Session, window_id: UUID) -> None:
    """Let the findings that a window took wait for a later one."""
    session.execute(
        update(ReportWindow)
        .where(ReportWindow.told_with == window_id)
        .values(told_with=None)
        .execution_options(synchronize_session=False)
    )


def overdue_lines(session: Session, *, waited_s: float) -> list[str]:
    """Lines with findings that have waited this long for a report, and no window under way that could tell of them."""
    under_way = (
        select(ReportWindow.line).where(ReportWindow.state.in_((WindowState.PENDING, WindowState.RUNNING))).distinct()
    )
    found = session.scalars(
        select(ReportWindow.line)
        .where(
            ReportWindow.deferred,
            ReportWindow.told_with.is_(None),
            ReportWindow.starts_at < func.now() - timedelta(seconds=waited_s),
            ReportWindow.line.not_in(under_way),
        )
        .distinct()
        .order_by(ReportWindow.line)
    )
    return list(found)


def open_last_window(session: Session, line: str) -> WindowId:
    """Insert a window of ``line`` from the end of its last one until now."""
    ended = select(func.max(ReportWindow.ends_at)).where(ReportWindow.line == line).scalar_subquery()
    window_id = WindowId(uuid7())
    row = insert(ReportWindow).values(id=window_id, line=line, starts_at=ended, ends_at=func.now())
    session.execute(row)
    return window_id


def read_window(session: Session, *window_ids: UUID) -> WindowContents:
    """Load everything that a report of these windows is written from."""
    return WindowContents(_counts(session, window_ids), _findings(session, window_ids), _sizes(session, window_ids))


def _takeable() -> ColumnElement[bool]:
    due = (ReportWindow.state == WindowState.PENDING) & (ReportWindow.available_at <= func.now())
    orphaned = (ReportWindow.state == WindowState.RUNNING) & (ReportWindow.lease_until < func.now())
    return due | orphaned


def _held(window: ClaimedWindow) -> Update:
    return (
        update(ReportWindow)
        .where(
            ReportWindow.id == window.window_id,
            ReportWindow.state == WindowState.RUNNING,
            ReportWindow.token == window.token,
        )
        .execution_options(synchronize_session=False)
    )


def _counts(session: Session, window_ids: Sequence[UUID]) -> FrameCounts:
    counted = session.execute(
        select(FrameRow.state, VerdictRow.kind, func.count())
        .outerjoin(VerdictRow, VerdictRow.frame_id == FrameRow.id)
        .where(FrameRow.report_window_id.in_(window_ids))
        .group_by(FrameRow.state, VerdictRow.kind)
    )
    tally = {(state, kind): count for state, kind, count in counted}
    inspected = {kind: count for (state, kind), count in tally.items() if state == FrameState.INSPECTED}
    return FrameCounts(
        inspected=sum(inspected.values()),
        ng=inspected.get(VerdictKind.NG, 0),
        reinspect=inspected.get(VerdictKind.REINSPECT, 0),
        failed=sum(count for (state, _), count in tally.items() if state == FrameState.FAILED),
        expired=sum(count for (state, _), count in tally.items() if state == FrameState.EXPIRED),
    )


def _findings(session: Session, window_ids: Sequence[UUID]) -> tuple[Finding, ...]:
    rows = session.execute(
        select(FindingRow, Camera.name, FrameRow.line, FrameRow.captured_at, FrameRow.width, FrameRow.height)
        .join(FrameRow, FrameRow.id == FindingRow.frame_id)
        .join(Camera, Camera.id == FrameRow.camera_id)
        .where(FrameRow.report_window_id.in_(window_ids))
        .order_by(FindingRow.id)
    )
    return tuple(
        Finding(
            finding_id=row.id,
            frame_id=FrameId(row.frame_id),
            camera=camera,
            line=line,
            label=row.label,
            confidence=row.confidence,
            box=Box(row.x, row.y, row.w, row.h),
            severity=row.severity,
            captured_at=captured_at,
            image=ImageSize(width, height),
        )
        for row, camera, line, captured_at, width, height in rows
    )


def _sizes(session: Session, window_ids: Sequence[UUID]) -> dict[ImageSize, int]:
    rows = session.execute(
        select(FrameRow.width, FrameRow.height, func.count())
        .where(FrameRow.report_window_id.in_(window_ids), FrameRow.state == FrameState.INSPECTED)
        .group_by(FrameRow.width, FrameRow.height)
        .order_by(FrameRow.width, FrameRow.height)
    )
    return {ImageSize(width, height): count for width, height, count in rows}
