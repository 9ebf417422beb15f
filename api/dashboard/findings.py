"""Findings: looked through, downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel, BeforeValidator

from api.dashboard.downloads import csv_response
from api.dashboard.page import ViewOf
from api.deps import ServicesOf
from api.people import PersonOf
from api.schemas import Typed
from gistline.domain import Feedback, VerdictKind
from gistline.storage.finding_lists import (
    NO_FEEDBACK,
    FindingCursor,
    FindingFilter,
    SeenFinding,
    known_labels,
    list_findings,
)
from gistline.storage.session import Sessions, transaction
from gistline.storage.sight import Lines, known_cameras, known_lines

router = APIRouter(prefix="/findings", include_in_schema=False)

PAGE: Final = 50
DOWNLOAD_PAGE: Final = 1_000
SPANS: Final = {"1h": timedelta(hours=1), "8h": timedelta(hours=8), "1d": timedelta(days=1), "7d": timedelta(days=7)}
"""Stretches of time until now that a click offers; any other is given by ``since`` and ``until``."""
HEAD: Final = (
    "finding_id",
    "frame_id",
    "line",
    "camera",
    "captured_at",
    "label",
    "severity",
    "confidence",
    "x",
    "y",
    "w",
    "h",
    "verdict",
    "feedback",
)
"""Columns of the download."""


def _or_none(value: Any) -> Any:
    """A field of a form that was left empty."""
    return None if value == "" else value


def _utc(value: Any) -> Any:
    """A time as browsers' forms write it, which is meant as UTC like all times of the page."""
    if not isinstance(value, str) or not value:
        return None
    found = datetime.fromisoformat(value)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


Moment = Annotated[datetime | None, BeforeValidator(_utc)]


class FindingQuery(BaseModel):
    """The filter as it stands in the address; an empty field filters nothing."""

    line: Typed = ""
    camera: list[Typed] = []
    label: list[Typed] = []
    severity: Literal["", "1", "2", "3"] = ""
    span: Literal["", "1h", "8h", "1d", "7d"] = "1d"
    since: Moment = None
    until: Moment = None
    verdict: Annotated[VerdictKind | None, BeforeValidator(_or_none)] = None
    feedback: Annotated[Feedback | Literal["none"] | None, BeforeValidator(_or_none)] = None
    report: Annotated[UUID | None, BeforeValidator(_or_none)] = None

    def filter(self, lines: Lines) -> FindingFilter:
        """The same for the database, within what the person may see."""
        given = self.since is not None or self.until is not None or self.report is not None
        span = SPANS.get(self.span) if not given else None
        return FindingFilter(
            lines=lines,
            line=self.line,
            cameras=tuple(filter(None, self.camera)),
            labels=tuple(filter(None, self.label)),
            severity=int(self.severity) if self.severity else None,
            since=datetime.now(UTC) - span if span else self.since,
            until=self.until,
            verdict=self.verdict,
            feedback=self.feedback,
            report=self.report,
        )


QueryOf = Annotated[FindingQuery, Query()]


@router.get("", name="findings")
def findings(view: ViewOf, query: QueryOf, after: Annotated[str, Query(max_length=60)] = "") -> Response:
    """A page of findings, newest first."""
    cursor = FindingCursor.parse(after) if after else None
    lines = view.person.lines
    with transaction(view.services.sessions) as session:
        found = list_findings(session, query.filter(lines), limit=PAGE + 1, after=cursor)
        choices = {
            "line": known_lines(session, lines),
            "camera": known_cameras(session, lines),
            "label": known_labels(session),
        }
    shown = found[:PAGE]
    more = shown[-1].cursor if len(found) > PAGE else None
    return view.page(
        "findings.html",
        query=query,
        found=shown,
        more=more,
        first=cursor is None,
        choices=choices,
        spans=list(SPANS),
        verdicts=list(VerdictKind),
        opinions=[*Feedback, NO_FEEDBACK],
    )


@router.get(".csv", name="findings_csv")
def download(person: PersonOf, services: ServicesOf, query: QueryOf) -> Response:
    """All findings of the filter, page by page: no transaction stays open while the browser takes its time."""
    return csv_response("findings", HEAD, _rows(services.sessions, query.filter(person.lines)))


def _rows(sessions: Sessions, wanted: FindingFilter) -> Iterator[list[Any]]:
    after: FindingCursor | None = None
    while True:
        with transaction(sessions) as session:
            page = list_findings(session, wanted, limit=DOWNLOAD_PAGE, after=after)
        yield from map(_row, page)
        if len(page) < DOWNLOAD_PAGE:
            return
        after = page[-1].cursor


def _row(one: SeenFinding) -> list[Any]:
    box = one.box
    place = [one.id, one.frame_id, one.line, one.camera, one.captured_at]
    seen = [
        one.label,
        one.severity,
        round(one.confidence, 6),
        *(round(side, 2) for side in (box.x, box.y, box.w, box.h)),
    ]
    return [*place, *seen, one.verdict, one.feedback]
