"""Written reports: stored once for each window, with the place of every finding in them; listed and read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Uuid, func, insert, literal, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from gistline.domain import Language, Placement, ReportId, WindowId
from gistline.errors import NotFound
from gistline.storage.arrays import unnested
from gistline.storage.tables import (
    FindingRow,
    FrameRow,
    LlmAttempt,
    ReportFinding,
    ReportRow,
    ReportWindow,
    WindowState,
)


@dataclass(frozen=True, slots=True)
class NewReport:
    """A report as it is stored; the fields are those of the table ``reports``."""

    window_id: WindowId
    writer: str
    model: str
    language: Language
    body: str
    evidence: list[dict[str, Any]]
    totals: dict[str, Any]
    token_budget: int
    prompt_tokens: int
    prompt_ceiling_tokens: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal
    simulated: bool
    image_tokens: int
    image_usd: Decimal
    image_plan: dict[str, Any]
    levels: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ListedWindow:
    """A window and, once it is written, its report."""

    window: ReportWindow
    report: ReportRow | None


@dataclass(frozen=True, slots=True)
class ReportDetail:
    """A report with its window, where its findings went and what was paid for it."""

    report: ReportRow
    window: ReportWindow
    placements: dict[Placement, int]
    attempts: Sequence[LlmAttempt]


def save_report(
    session: Session, report: NewReport, placements: Mapping[int, Placement], *, deferred: bool = False
) -> ReportId:
    """Store the report of a window and mark the window as written; the first writer wins.

    ``placements`` maps findings' keys to their place; those of windows that it tells of besides move here from the
    reports that deferred them. ``deferred``: the window's own findings wait for a later report. At the commit the
    database holds the report to its findings: all of them, each in one place. A window that has its report keeps it,
    and its key is returned.
    """
    session.execute(select(ReportWindow.id).where(ReportWindow.id == report.window_id).with_for_update())
    stored = report_of(session, report.window_id)
    if stored is not None:
        return stored
    report_id = ReportId(uuid7())
    session.execute(insert(ReportRow).values(id=report_id, findings=len(placements), **_columns(report)))
    if placements:
        _place(session, report.window_id, report_id, placements)
    session.execute(
        update(ReportWindow)
        .where(ReportWindow.id == report.window_id)
        .values(state=WindowState.WRITTEN, lease_until=None, error=None, deferred=deferred)
        .execution_options(synchronize_session=False)
    )
    return report_id


def report_of(session: Session, window_id: UUID) -> ReportId | None:
    """Key of the window's report, None before it is written."""
    found = session.scalar(select(ReportRow.id).where(ReportRow.window_id == window_id))
    return None if found is None else ReportId(found)


def list_windows(session: Session, *, limit: int, line: str | None = None) -> list[ListedWindow]:
    """The latest windows, written or not, newest first."""
    query = (
        select(ReportWindow, ReportRow)
        .outerjoin(ReportRow, ReportRow.window_id == ReportWindow.id)
        .order_by(ReportWindow.starts_at.desc(), ReportWindow.id.desc())
        .limit(limit)
    )
    if line is not None:
        query = query.where(ReportWindow.line == line)
    return [ListedWindow(window, report) for window, report in session.execute(query)]


def read_report(session: Session, report_id: UUID) -> ReportDetail:
    """One report with all that it is based on.

    Raises:
        NotFound: no report has this key.

    """
    report = session.get(ReportRow, report_id)
    if report is None:
        raise NotFound(
            f"There is no report {report_id}.", cure="'gistline reports list' shows all.", report_id=report_id
        )
    counted = session.execute(
        select(ReportFinding.placement, func.count())
        .where(ReportFinding.report_id == report_id)
        .group_by(ReportFinding.placement)
    )
    found = dict(counted.all())
    attempts = session.scalars(
        select(LlmAttempt).where(LlmAttempt.window_id == report.window_id).order_by(LlmAttempt.id)
    ).all()
    window = session.get_one(ReportWindow, report.window_id)
    return ReportDetail(report, window, {place: found.get(place, 0) for place in Placement}, attempts)


def _place(session: Session, window_id: UUID, report_id: UUID, placements: Mapping[int, Placement]) -> None:
    windows = session.scalars(
        select(ReportWindow.id).where((ReportWindow.id == window_id) | (ReportWindow.told_with == window_id))
    ).all()
    placed = unnested(
        finding_id=(BigInteger(), list(placements)),
        placement=(ReportFinding.__table__.c.placement.type, list(placements.values())),
    )
    rows = (
        select(FindingRow.frame_id, FindingRow.id, literal(report_id, Uuid()), placed.c.placement)
        .join(FrameRow, FrameRow.id == FindingRow.frame_id)
        .join(placed, placed.c.finding_id == FindingRow.id)
        .where(FrameRow.report_window_id.in_(windows))
    )
    into = upsert(ReportFinding).from_select(["frame_id", "finding_id", "report_id", "placement"], rows)
    moved = into.on_conflict_do_update(
        index_elements=[ReportFinding.frame_id, ReportFinding.finding_id],
        set_={"report_id": into.excluded.report_id, "placement": into.excluded.placement},
    )
    session.connection().execute(moved)


def _columns(report: NewReport) -> dict[str, Any]:
    return {name: getattr(report, name) for name in NewReport.__dataclass_fields__}
