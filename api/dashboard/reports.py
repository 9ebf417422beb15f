"""Reports: listed, read with the evidence of their numbers, printed, downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any, Final
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import Response

from api.dashboard.downloads import csv_response
from api.dashboard.page import ViewOf
from api.dashboard.prose import render_prose
from api.deps import ServicesOf
from api.people import PersonOf
from api.schemas import Typed
from gistline.errors import NotFound
from gistline.storage.evidence import EvidenceItem, evidence
from gistline.storage.report_lists import SeenWindow, WindowCursor, list_windows_seen
from gistline.storage.reports import ReportDetail, read_report
from gistline.storage.session import Sessions, transaction
from gistline.storage.sight import Lines, known_lines

router = APIRouter(prefix="/reports", include_in_schema=False)

PAGE: Final = 50
DOWNLOAD_PAGE: Final = 1_000
HEAD: Final = (
    "report_id",
    "line",
    "starts_at",
    "ends_at",
    "state",
    "writer",
    "model",
    "frames_inspected",
    "frames_ng",
    "findings",
    "cost_usd",
    "simulated",
    "image_usd",
    "error",
)


@router.get("", name="reports")
def reports(view: ViewOf, line: Typed = "", after: Annotated[str, Query(max_length=80)] = "") -> Response:
    """A page of windows, newest first."""
    cursor = WindowCursor.parse(after) if after else None
    lines = view.person.lines
    with transaction(view.services.sessions) as session:
        found = list_windows_seen(session, limit=PAGE + 1, lines=lines, line=line, after=cursor)
        offered = known_lines(session, lines)
    shown = found[:PAGE]
    more = shown[-1].cursor if len(found) > PAGE else None
    return view.page("reports.html", found=shown, more=more, first=cursor is None, line=line, offered=offered)


@router.get(".csv", name="reports_csv")
def download(person: PersonOf, services: ServicesOf, line: Typed = "") -> Response:
    """All windows, page by page."""
    return csv_response("reports", HEAD, _rows(services.sessions, person.lines, line))


@router.get("/{report_id}", name="report")
def report(report_id: UUID, view: ViewOf) -> Response:
    """One report; ``?print`` leaves out everything that is not paper."""
    with transaction(view.services.sessions) as session:
        found = read_report(session, report_id)
        rests_on = evidence(session, report_id)
        if not view.person.sees(found.window.line):
            raise NotFound(
                f"There is no report {report_id}.",
                cure="It may belong to a line that you may not see.",
                report_id=report_id,
            )
    return view.page(
        "report.html",
        found=found,
        body=render_prose(found.report.body),
        evidence=rests_on,
        basis=partial(basis, report_id),
        table=count_table(found),
        printed="print" in view.request.query_params,
    )


def basis(report_id: UUID, one: EvidenceItem) -> str:
    """Query of the findings that a number of a report speaks of."""
    names = [("camera", name) for name in one.cameras] + [("label", name) for name in one.labels]
    scope = [("report", str(report_id)), *names]
    return urlencode([*scope, ("severity", str(one.severity))] if one.severity else scope)


def count_table(found: ReportDetail) -> dict[str, Any]:
    """The report's counts by camera (down) and class (across), each of which leads to its findings."""
    cells = {(camera, label): count for camera, label, count in found.report.totals.get("cells", [])}
    return {
        "cameras": sorted({camera for camera, _ in cells}),
        "labels": sorted({label for _, label in cells}),
        "cells": cells,
        "by_camera": found.report.totals.get("by_camera", {}),
        "by_label": found.report.totals.get("by_label", {}),
    }


def _rows(sessions: Sessions, lines: Lines, line: str) -> Iterator[list[Any]]:
    after: WindowCursor | None = None
    while True:
        with transaction(sessions) as session:
            page = list_windows_seen(session, limit=DOWNLOAD_PAGE, lines=lines, line=line, after=after)
        yield from map(_row, page)
        if len(page) < DOWNLOAD_PAGE:
            return
        after = page[-1].cursor


def _row(one: SeenWindow) -> list[Any]:
    said = [one.report_id, one.line, one.starts_at, one.ends_at, one.state, one.writer, one.model]
    return [*said, one.inspected, one.ng, one.findings, one.cost_usd, one.simulated, one.image_usd, one.error]
