"""What the numbers of a report rest on: each with its measure and scope, and the findings behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from gistline.domain import FrameId
from gistline.errors import NotFound
from gistline.storage.tables import Camera, FindingRow, FrameRow, ReportFinding, ReportRow


@dataclass(frozen=True, slots=True)
class EvidenceItem:
    """One number, time or name of a report's text.

    ``place`` counts from 1 in the order of the text. ``measure`` (``count``, ``highest``, ``first``, ...) is None for
    names and for numbers that nothing tells. ``cameras`` and ``labels`` are empty for all, ``severity`` is 0 for any;
    ``findings`` is how many findings of the report are meant by them.
    """

    place: int
    said: str
    sentence: str
    supported: bool
    measure: str | None
    cameras: tuple[str, ...]
    labels: tuple[str, ...]
    severity: int
    findings: int


@dataclass(frozen=True, slots=True)
class EvidenceFinding:
    """A finding behind a number, with the frame that shows it."""

    finding_id: int
    frame_id: FrameId
    camera: str
    label: str
    confidence: float


def evidence(session: Session, report_id: UUID) -> list[EvidenceItem]:
    """Every number and name of a report, in the order of its text; empty where nobody was asked.

    Raises:
        NotFound: no report has this key.

    """
    kept: list[dict[str, Any]] | None = session.scalar(select(ReportRow.evidence).where(ReportRow.id == report_id))
    if kept is None:
        raise NotFound(f"There is no report {report_id}.", report_id=report_id)
    return [EvidenceItem(**{**one, "cameras": tuple(one["cameras"]), "labels": tuple(one["labels"])}) for one in kept]


def evidence_findings(session: Session, report_id: UUID, place: int, *, limit: int = 100) -> list[EvidenceFinding]:
    """The findings that a number of a report speaks of, surest first.

    Raises:
        NotFound: no such report, or it has no number at this place.

    """
    item = next((one for one in evidence(session, report_id) if one.place == place), None)
    if item is None:
        raise NotFound(
            f"Report {report_id} has no number {place}.",
            cure=f"'gistline reports show {report_id} --evidence' lists them with their places.",
            report_id=report_id,
        )
    query = (
        select(FindingRow.id, FindingRow.frame_id, Camera.name, FindingRow.label, FindingRow.confidence)
        .join(
            ReportFinding,
            (ReportFinding.frame_id == FindingRow.frame_id) & (ReportFinding.finding_id == FindingRow.id),
        )
        .join(FrameRow, FrameRow.id == FindingRow.frame_id)
        .join(Camera, Camera.id == FrameRow.camera_id)
        .where(ReportFinding.report_id == report_id)
        .order_by(FindingRow.confidence.desc(), FindingRow.id)
        .limit(limit)
    )
    if item.cameras:
        query = query.where(Camera.name.in_(item.cameras))
    if item.labels:
        query = query.where(FindingRow.label.in_(item.labels))
    if item.severity:
        query = query.where(FindingRow.severity == item.severity)
    return [EvidenceFinding(row[0], FrameId(row[1]), row[2], row[3], row[4]) for row in session.execute(query)]
