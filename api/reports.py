"""Reports of the line at which the asking camera stands."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from api.deps import CameraOf, ServicesOf
from api.schemas import ReportAnswer, WindowAnswer, WindowsAnswer
from gistline.errors import NotFound
from gistline.storage.reports import list_windows, read_report
from gistline.storage.session import transaction
from gistline.storage.tables import ReportRow, ReportWindow

router = APIRouter(prefix="/v1/reports", tags=["reports"])


@router.get("")
def list_reports(
    camera: CameraOf, services: ServicesOf, limit: Annotated[int, Query(ge=1, le=500)] = 50
) -> WindowsAnswer:
    """The line's latest windows, with their reports where these are written."""
    with transaction(services.sessions) as session:
        listed = list_windows(session, limit=limit, line=camera.line)
        return WindowsAnswer(windows=[_window(entry.window, entry.report) for entry in listed])


@router.get("/{report_id}")
def read(report_id: UUID, camera: CameraOf, services: ServicesOf) -> ReportAnswer:
    """One report of the line."""
    with transaction(services.sessions) as session:
        found = read_report(session, report_id)
        if found.window.line != camera.line:
            raise NotFound(f"There is no report {report_id} of line {camera.line!r}.", report_id=report_id)
        report = found.report
        return ReportAnswer(
            id=report.id,
            window=_window(found.window, report),
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


def _window(window: ReportWindow, report: ReportRow | None) -> WindowAnswer:
    return WindowAnswer(
        window_id=window.id,
        line=window.line,
        starts_at=window.starts_at,
        ends_at=window.ends_at,
        state=window.state,
        report_id=report.id if report else None,
    )
