"""Report windows, and the reports that were written about them."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from api.callers import CallerOf
from api.cursors import TIMED, seen_lines
from api.deps import ServicesOf
from api.lists import ReportEntry, ReportList, ReportsQuery, WindowList, WindowsQuery
from api.problems import problems_of
from api.schemas import ReportAnswer, WindowAnswer
from gistline.errors import NotFound
from gistline.storage import lists
from gistline.storage.reports import read_report
from gistline.storage.session import transaction
from gistline.storage.tables import ReportWindow

router = APIRouter(prefix="/v1", tags=["reports"])


@router.get("/windows")
def list_windows(caller: CallerOf, services: ServicesOf, query: Annotated[WindowsQuery, Query()]) -> WindowList:
    """Windows, the latest first, with the ids of their reports where these are written."""
    lines, cut = seen_lines(caller, query.line), query.cut(TIMED)
    with transaction(services.sessions) as session:
        page = lists.list_windows(session, lines, cut, period=query.period, state=query.state)
        return WindowList(items=[_window(one.window, one.report_id) for one in page.items], next=query.behind(page))


@router.get("/reports")
def list_reports(caller: CallerOf, services: ServicesOf, query: Annotated[ReportsQuery, Query()]) -> ReportList:
    """Written reports, newest first."""
    lines, cut = seen_lines(caller, query.line), query.cut(TIMED)
    with transaction(services.sessions) as session:
        page = lists.list_reports(session, lines, cut, period=query.period)
        return ReportList(items=[_report(one) for one in page.items], next=query.behind(page))


@router.get("/reports/{report_id}", name="read_report", responses=problems_of(NotFound))
def read(report_id: UUID, caller: CallerOf, services: ServicesOf) -> ReportAnswer:
    """One report: its text, what it counts, and what it cost beside sending the images."""
    with transaction(services.sessions) as session:
        found = read_report(session, report_id)
        if not caller.sees(found.window.line):
            raise NotFound(f"There is no report {report_id}.", cure="GET /v1/reports lists them.", report_id=report_id)
        report = found.report
        return ReportAnswer(
            id=report.id,
            window=_window(found.window, report.id),
            writer=report.writer,
            model=report.model,
            body=report.body,
            totals=report.totals,
            placements=dict(found.placements),
            token_budget=report.token_budget,
            input_tokens=report.input_tokens,
            output_tokens=report.output_tokens,
            cost_usd=report.cost_usd,
            simulated=report.simulated,
            image_tokens=report.image_tokens,
            image_usd=report.image_usd,
            created_at=report.created_at,
        )


def _window(window: ReportWindow, report_id: UUID | None) -> WindowAnswer:
    return WindowAnswer(
        id=window.id,
        line=window.line,
        starts_at=window.starts_at,
        ends_at=window.ends_at,
        state=window.state,
        report_id=report_id,
    )


def _report(one: lists.ListedReport) -> ReportEntry:
    return ReportEntry(
        id=one.id,
        line=one.window.line,
        starts_at=one.window.starts_at,
        ends_at=one.window.ends_at,
        writer=one.writer,
        model=one.model,
        cost_usd=one.cost_usd,
        simulated=one.simulated,
        image_usd=one.image_usd,
        created_at=one.created_at,
    )
