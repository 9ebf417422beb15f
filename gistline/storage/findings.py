"""What was seen and what was decided, written in the transaction that ends the frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import insert
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.orm import Session

from gistline.domain import Detection, Verdict
from gistline.storage.tables import FindingRow, VerdictRow


@dataclass(frozen=True, slots=True)
class Measure:
    """By what frames were judged: the engine's row (None: nobody looked) and the thresholds in force."""

    engine_id: int | None
    min_confidence: float
    ng_confidence: float
    passport_id: UUID | None = None
    """What proves the engine; the database takes no finding without one."""


@dataclass(frozen=True, slots=True)
class NewFinding:
    """A detection on a frame; ``severity`` is 1 (cosmetic) to 3 (the part is lost)."""

    frame_id: UUID
    detection: Detection
    severity: int


@dataclass(frozen=True, slots=True)
class NewVerdict:
    """A verdict and whether the engine looked at the frame before it."""

    frame_id: UUID
    verdict: Verdict
    looked: bool


def save_findings(session: Session, findings: Sequence[NewFinding], measure: Measure) -> None:
    """Insert findings; the same box of the same class, frame and engine is stored once."""
    if not findings:
        return
    rows = [
        {
            "frame_id": one.frame_id,
            "engine_id": measure.engine_id,
            "passport_id": measure.passport_id,
            "label": one.detection.label,
            "confidence": one.detection.confidence,
            "x": one.detection.box.x,
            "y": one.detection.box.y,
            "w": one.detection.box.w,
            "h": one.detection.box.h,
            "severity": one.severity,
            "min_confidence": measure.min_confidence,
        }
        for one in findings
    ]
    session.connection().execute(postgres_insert(FindingRow).on_conflict_do_nothing(), rows)


def save_verdicts(session: Session, verdicts: Sequence[NewVerdict], measure: Measure) -> None:
    """Insert the one verdict of each frame.

    Raises:
        sqlalchemy.exc.IntegrityError: a frame has one already.

    """
    rows = [
        {
            "frame_id": one.frame_id,
            "engine_id": measure.engine_id if one.looked else None,
            "passport_id": measure.passport_id if one.looked else None,
            "kind": one.verdict.kind,
            "reason": one.verdict.reason,
            "ng_confidence": measure.ng_confidence,
        }
        for one in verdicts
    ]
    session.connection().execute(insert(VerdictRow), rows)
