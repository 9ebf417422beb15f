"""What programs list: frames, findings, verdicts, windows, reports, dead letters, cameras, engines, the audit.

Each list is filtered and cut into pages in SQL. Where a row belongs to a line, ``lines`` says which may be seen. What
hangs on a frame is ordered by the frame's id, which begins with the time of its acceptance: ``since`` and ``until``
bound that time and are a part of the index, or of the partitions.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import SQLColumnExpression, func, select
from sqlalchemy.orm import Session

from gistline.domain import DeadLetterKind, FrameState, PassportVerdict, VerdictKind
from gistline.storage.dashboards import CostRow, Costs, cost_rows, total_costs
from gistline.storage.keys import is_good
from gistline.storage.keyset import AnySelect, Cut, Page, read_page
from gistline.storage.moments import lowest_id
from gistline.storage.sight import Lines, within
from gistline.storage.tables import (
    ApiKey,
    AuditRow,
    Camera,
    DeadLetterRow,
    EngineRow,
    FindingRow,
    FrameRow,
    PassportRow,
    ReportRow,
    ReportWindow,
    VerdictRow,
    WindowState,
)


@dataclass(frozen=True, slots=True)
class Period:
    """From ``since`` on and before ``until``, both timezone-aware; None is open."""

    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class FrameFilter:
    """Which frames, or what hangs on them; None is everything."""

    lines: Lines = None
    period: Period = Period()
    camera: str | None = None
    state: FrameState | None = None
    verdict: VerdictKind | None = None
    part_number: str | None = None
    frame: UUID | None = None


@dataclass(frozen=True, slots=True)
class FindingFilter:
    """Which findings: of which frames, of which class, how confident and how grave at least."""

    frames: FrameFilter = FrameFilter()
    label: str | None = None
    least_confidence: float | None = None
    least_severity: int | None = None


@dataclass(frozen=True, slots=True)
class ListedFrame:
    """A frame with its camera's name and, once there is one, its verdict."""

    frame: FrameRow
    camera: str
    verdict: VerdictKind | None


@dataclass(frozen=True, slots=True)
class ListedFinding:
    """A finding with where and when it was seen."""

    finding: FindingRow
    camera: str
    line: str
    part_number: str | None
    captured_at: datetime


@dataclass(frozen=True, slots=True)
class ListedVerdict:
    """A verdict with what it is about."""

    verdict: VerdictRow
    camera: str
    line: str
    part_number: str | None
    captured_at: datetime


@dataclass(frozen=True, slots=True)
class ListedLetter:
    """A dead letter with its frame's camera and line."""

    letter: DeadLetterRow
    camera: str
    line: str
    bytes_stored: bool


@dataclass(frozen=True, slots=True)
class ListedWindow:
    """A window and, once it is written, its report's id."""

    window: ReportWindow
    report_id: UUID | None


@dataclass(frozen=True, slots=True)
class ListedReport:
    """A report without its text, and its window."""

    id: UUID
    window: ReportWindow
    writer: str
    model: str
    cost_usd: Decimal
    simulated: bool
    image_usd: Decimal
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ListedCamera:
    """A camera and how many of its keys are good."""

    camera: Camera
    keys: int


def list_frames(session: Session, wanted: FrameFilter, cut: Cut) -> Page[ListedFrame]:
    """Frames, newest first."""
    statement: AnySelect = select(FrameRow, Camera.name, VerdictRow.kind)
    statement = statement.join(Camera, Camera.id == FrameRow.camera_id)
    statement = _of_frames(statement.outerjoin(VerdictRow, VerdictRow.frame_id == FrameRow.id), wanted)
    return read_page(session, statement, [FrameRow.id], cut, lambda row: ListedFrame(*row[:3]))


def list_findings(session: Session, wanted: FindingFilter, cut: Cut) -> Page[ListedFinding]:
    """Findings, those of the newest frame first."""
    statement: AnySelect = select(FindingRow, *_SEEN).join(FrameRow, FrameRow.id == FindingRow.frame_id)
    statement = _bounded(statement.join(Camera, Camera.id == FrameRow.camera_id), wanted.frames, FindingRow.frame_id)
    if wanted.frames.verdict is not None:
        statement = statement.join(VerdictRow, VerdictRow.frame_id == FindingRow.frame_id)
    statement = _of_frames(statement, wanted.frames)
    if wanted.label is not None:
        statement = statement.where(FindingRow.label == wanted.label)
    if wanted.least_confidence is not None:
        statement = statement.where(FindingRow.confidence >= wanted.least_confidence)
    if wanted.least_severity is not None:
        statement = statement.where(FindingRow.severity >= wanted.least_severity)
    keys = [FindingRow.frame_id, FindingRow.id]
    return read_page(session, statement, keys, cut, lambda row: ListedFinding(*row[:5]))


def list_verdicts(session: Session, wanted: FrameFilter, cut: Cut) -> Page[ListedVerdict]:
    """Verdicts, that on the newest frame first."""
    statement: AnySelect = select(VerdictRow, *_SEEN).join(FrameRow, FrameRow.id == VerdictRow.frame_id)
    statement = _bounded(statement.join(Camera, Camera.id == FrameRow.camera_id), wanted, VerdictRow.frame_id)
    statement = _of_frames(statement, wanted)
    return read_page(session, statement, [VerdictRow.frame_id], cut, lambda row: ListedVerdict(*row[:5]))


def list_letters(
    session: Session, wanted: FrameFilter, cut: Cut, *, kind: DeadLetterKind | None = None, is_open: bool | None = None
) -> Page[ListedLetter]:
    """Dead letters, newest first; open or decided ones only with ``is_open``."""
    statement: AnySelect = (
        select(DeadLetterRow, Camera.name, FrameRow.line, FrameRow.bytes_stored)
        .join(FrameRow, FrameRow.id == DeadLetterRow.frame_id)
        .join(Camera, Camera.id == FrameRow.camera_id)
    )
    statement = _of_frames(statement, wanted)
    if kind is not None:
        statement = statement.where(DeadLetterRow.kind == kind)
    if is_open is not None:
        resolved = DeadLetterRow.resolved_at
        statement = statement.where(resolved.is_(None) if is_open else resolved.is_not(None))
    keys = [DeadLetterRow.created_at, DeadLetterRow.id]
    return read_page(session, statement, keys, cut, lambda row: ListedLetter(*row[:4]))


def list_windows(
    session: Session,
    lines: Lines,
    cut: Cut,
    *,
    period: Period = Period(),
    state: WindowState | None = None,
) -> Page[ListedWindow]:
    """Report windows, written or not, the latest first."""
    statement: AnySelect = select(ReportWindow, ReportRow.id).outerjoin(
        ReportRow, ReportRow.window_id == ReportWindow.id
    )
    statement = _in_period(statement.where(within(ReportWindow.line, lines)), ReportWindow.starts_at, period)
    if state is not None:
        statement = statement.where(ReportWindow.state == state)
    keys = [ReportWindow.starts_at, ReportWindow.id]
    return read_page(session, statement, keys, cut, lambda row: ListedWindow(row[0], row[1]))


def list_reports(session: Session, lines: Lines, cut: Cut, *, period: Period = Period()) -> Page[ListedReport]:
    """Written reports, newest first."""
    told = (ReportRow.writer, ReportRow.model, ReportRow.cost_usd, ReportRow.simulated, ReportRow.image_usd)
    statement: AnySelect = (
        select(ReportRow.id.label("report_id"), ReportWindow, *told)
        .join(ReportWindow, ReportWindow.id == ReportRow.window_id)
        .where(within(ReportWindow.line, lines))
    )
    statement = _in_period(statement, ReportRow.created_at, period)
    keys = [ReportRow.created_at, ReportRow.id]
    return read_page(session, statement, keys, cut, lambda row: ListedReport(*row[:8]))


def list_cameras(session: Session, lines: Lines, cut: Cut) -> Page[ListedCamera]:
    """Cameras by name."""
    good = select(func.count()).where(ApiKey.camera_id == Camera.id, is_good()).scalar_subquery()
    statement = select(Camera, good).where(within(Camera.line, lines))
    return read_page(session, statement, [Camera.name], cut, lambda row: ListedCamera(row[0], row[1]), newest=False)


def list_engines(session: Session, cut: Cut) -> Page[EngineRow]:
    """Detectors as they really ran, newest first."""
    return read_page(session, select(EngineRow), [EngineRow.id], cut, lambda row: row[0])


def list_passports(
    session: Session, cut: Cut, *, engine_id: int | None = None, verdict: PassportVerdict | None = None
) -> Page[PassportRow]:
    """Passports, newest first."""
    statement = select(PassportRow)
    if engine_id is not None:
        statement = statement.where(PassportRow.engine_id == engine_id)
    if verdict is not None:
        statement = statement.where(PassportRow.verdict == verdict)
    return read_page(session, statement, [PassportRow.measured_at, PassportRow.id], cut, lambda row: row[0])


def list_audit(
    session: Session, cut: Cut, *, subject: str | None = None, actor: str | None = None, action: str | None = None
) -> Page[AuditRow]:
    """Changes, newest first."""
    statement = select(AuditRow)
    for column, value in ((AuditRow.subject, subject), (AuditRow.actor, actor), (AuditRow.action, action)):
        if value is not None:
            statement = statement.where(column == value)
    return read_page(session, statement, [AuditRow.id], cut, lambda row: row[0])


_SEEN = (Camera.name, FrameRow.line, FrameRow.part_number, FrameRow.captured_at)


def _of_frames(statement: AnySelect, wanted: FrameFilter) -> AnySelect:
    statement = _bounded(statement.where(within(FrameRow.line, wanted.lines)), wanted, FrameRow.id)
    if wanted.camera is not None:
        statement = statement.where(Camera.name == wanted.camera)
    if wanted.state is not None:
        statement = statement.where(FrameRow.state == wanted.state)
    if wanted.verdict is not None:
        statement = statement.where(VerdictRow.kind == wanted.verdict)
    if wanted.part_number is not None:
        statement = statement.where(FrameRow.part_number == wanted.part_number)
    return statement


def _bounded(statement: AnySelect, wanted: FrameFilter, frame_id: SQLColumnExpression[UUID]) -> AnySelect:
    """The frame and the time, said of this table too, so that its partitions are left out as well."""
    if wanted.frame is not None:
        statement = statement.where(frame_id == wanted.frame)
    if wanted.period.since is not None:
        statement = statement.where(frame_id >= lowest_id(wanted.period.since))
    if wanted.period.until is not None:
        statement = statement.where(frame_id < lowest_id(wanted.period.until))
    return statement


def _in_period(statement: AnySelect, moment: SQLColumnExpression[datetime], period: Period) -> AnySelect:
    if period.since is not None:
        statement = statement.where(moment >= period.since)
    if period.until is not None:
        statement = statement.where(moment < period.until)
    return statement


def list_costs(session: Session, lines: Lines, cut: Cut, *, since: datetime) -> tuple[Page[CostRow], Costs]:
    """Costs by day, model and line, newest day first, and the sum of all pages.

    The sums are a few rows a day, so they are cut here, by key as everywhere.
    """
    rows = [row for row in cost_rows(session, since=since) if lines is None or row.line in lines]
    behind = [row for row in rows if cut.after is None or _place(row.day, row.model, row.line) > _place(*cut.after)]
    shown = behind[: cut.limit]
    last = shown[-1] if len(behind) > cut.limit else None
    return Page(shown, (last.day, last.model, last.line) if last else None), total_costs(rows)


def _place(day: date, model: str, line: str) -> tuple[int, str, str]:
    return -day.toordinal(), model, line
