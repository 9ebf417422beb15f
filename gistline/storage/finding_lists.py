"""Findings as people look through them: filtered, newest first, a page at a time.

Pages are cut by key, not by counting: the last finding of a page is where the next one begins, so the hundredth page
costs what the first does. Frames' ids begin with the time of their acceptance, which makes "newest" the order of the
index and a stretch of time a part of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self
from uuid import UUID

from sqlalchemy import Select, and_, exists, select, tuple_
from sqlalchemy.orm import Session

from gistline.domain import Box, Feedback, VerdictKind
from gistline.errors import RequestRejected
from gistline.storage.moments import lowest_id
from gistline.storage.sight import Lines, within
from gistline.storage.tables import Camera, EngineRow, FeedbackRow, FindingRow, FrameRow, ReportFinding, VerdictRow

NO_FEEDBACK: Final = "none"
"""Filter value: findings that nobody has judged."""


@dataclass(frozen=True, slots=True)
class FindingFilter:
    """What is looked for; None and empty mean everything.

    ``since`` and ``until`` bound when the frame was accepted (timezone-aware), ``feedback`` is an opinion or
    ``"none"``, ``report`` the report that counts the finding.
    """

    lines: Lines = None
    line: str = ""
    cameras: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    severity: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    verdict: VerdictKind | None = None
    feedback: Feedback | str | None = None
    report: UUID | None = None


@dataclass(frozen=True, slots=True)
class FindingCursor:
    """Place in the list: the page begins behind this finding."""

    frame_id: UUID
    finding_id: int

    def __str__(self) -> str:
        return f"{self.frame_id.hex}.{self.finding_id}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what ``str`` wrote.

        Raises:
            RequestRejected: it is none.

        """
        frame, _, finding = text.partition(".")
        try:
            key = int(finding) if finding.isdecimal() and len(finding) < 19 else int("none")
            return cls(UUID(hex=frame), key)
        except ValueError as error:
            raise RequestRejected(
                f"after = {text[:60]!r} is no place in the list.", cure="Take it from the link of a page."
            ) from error


@dataclass(frozen=True, slots=True)
class SeenFinding:
    """A finding with what a person wants to see beside it."""

    id: int
    frame_id: UUID
    label: str
    confidence: float
    severity: int
    box: Box
    camera: str
    line: str
    captured_at: datetime
    accepted_at: datetime
    bytes_stored: bool
    verdict: VerdictKind | None
    feedback: Feedback | None

    @property
    def cursor(self) -> FindingCursor:
        """Its place in the list."""
        return FindingCursor(self.frame_id, self.id)


def list_findings(
    session: Session, wanted: FindingFilter, *, limit: int, after: FindingCursor | None = None
) -> list[SeenFinding]:
    """Up to ``limit`` findings, newest frame first."""
    query = _query(wanted)
    if after is not None:
        query = query.where(
            FindingRow.frame_id <= after.frame_id,
            FrameRow.id <= after.frame_id,
            tuple_(FindingRow.frame_id, FindingRow.id) < (after.frame_id, after.finding_id),
        )
    ordered = query.order_by(FindingRow.frame_id.desc(), FindingRow.id.desc()).limit(limit)
    return [_seen(row) for row in session.execute(ordered)]


def _query(wanted: FindingFilter) -> Select[Any]:
    judged = and_(FeedbackRow.finding_id == FindingRow.id, FeedbackRow.replaced_at.is_(None))
    frame = (Camera.name, FrameRow.line, FrameRow.captured_at, FrameRow.accepted_at, FrameRow.bytes_stored)
    columns: tuple[Any, ...] = (FindingRow, *frame, VerdictRow.kind, FeedbackRow.opinion)
    query = (
        select(*columns)
        .join(FrameRow, FrameRow.id == FindingRow.frame_id)
        .join(Camera, Camera.id == FrameRow.camera_id)
        .outerjoin(VerdictRow, VerdictRow.frame_id == FindingRow.frame_id)
        .outerjoin(FeedbackRow, judged)
        .where(within(FrameRow.line, wanted.lines))
    )
    return _of_people(_of_findings(_of_frames(query, wanted), wanted), wanted)


def _of_frames(query: Select[Any], wanted: FindingFilter) -> Select[Any]:
    if wanted.line:
        query = query.where(FrameRow.line == wanted.line)
    if wanted.cameras:
        query = query.where(Camera.name.in_(wanted.cameras))
    if wanted.since is not None:  # said of both tables, so that partitions of both are left out
        start = lowest_id(wanted.since)
        query = query.where(FindingRow.frame_id >= start, FrameRow.id >= start)
    if wanted.until is not None:
        end = lowest_id(wanted.until)
        query = query.where(FindingRow.frame_id < end, FrameRow.id < end)
    return query


def _of_findings(query: Select[Any], wanted: FindingFilter) -> Select[Any]:
    if wanted.labels:
        query = query.where(FindingRow.label.in_(wanted.labels))
    if wanted.severity is not None:
        query = query.where(FindingRow.severity == wanted.severity)
    if wanted.report is not None:
        counted = exists().where(
            ReportFinding.frame_id == FindingRow.frame_id,
            ReportFinding.finding_id == FindingRow.id,
            ReportFinding.report_id == wanted.report,
        )
        query = query.where(counted)
    return query


def _of_people(query: Select[Any], wanted: FindingFilter) -> Select[Any]:
    if wanted.verdict is not None:
        query = query.where(VerdictRow.kind == wanted.verdict)
    if wanted.feedback == NO_FEEDBACK:
        query = query.where(FeedbackRow.id.is_(None))
    elif wanted.feedback is not None:
        query = query.where(FeedbackRow.opinion == wanted.feedback)
    return query


def _seen(row: Any) -> SeenFinding:
    finding, camera, line, captured_at, accepted_at, bytes_stored, verdict, opinion = row
    return SeenFinding(
        id=finding.id,
        frame_id=finding.frame_id,
        label=finding.label,
        confidence=finding.confidence,
        severity=finding.severity,
        box=Box(finding.x, finding.y, finding.w, finding.h),
        camera=camera,
        line=line,
        captured_at=captured_at,
        accepted_at=accepted_at,
        bytes_stored=bytes_stored,
        verdict=verdict,
        feedback=opinion,
    )


def known_labels(session: Session) -> list[str]:
    """Every class that an engine of this database can name, sorted: a handful of rows instead of all findings."""
    named = session.scalars(select(EngineRow.labels))
    return sorted({label for labels in named for label in labels.get("names", [])})
