"""What was seen and what was decided, written in the transaction that ends the frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Double, Integer, String, Uuid, insert, literal, select
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.orm import Session

from gistline.domain import Detection, Verdict
from gistline.storage.arrays import unnested
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
    seen = [one.detection for one in findings]
    new = unnested(
        frame_id=(Uuid(), [one.frame_id for one in findings]),
        label=(String(), [one.label for one in seen]),
        confidence=(Double(), [one.confidence for one in seen]),
        x=(Double(), [one.box.x for one in seen]),
        y=(Double(), [one.box.y for one in seen]),
        w=(Double(), [one.box.w for one in seen]),
        h=(Double(), [one.box.h for one in seen]),
        severity=(Integer(), [one.severity for one in findings]),
    )
    same = {
        "engine_id": literal(measure.engine_id, Integer()),
        "passport_id": literal(measure.passport_id, Uuid()),
        "min_confidence": literal(measure.min_confidence, Double()),
    }
    rows = postgres_insert(FindingRow).from_select([*new.c.keys(), *same], select(*new.c, *same.values()))
    session.connection().execute(rows.on_conflict_do_nothing())


def save_verdicts(session: Session, verdicts: Sequence[NewVerdict], measure: Measure) -> None:
    """Insert the one verdict of each frame.

    Raises:
        sqlalchemy.exc.IntegrityError: a frame has one already.

    """
    new = unnested(
        frame_id=(Uuid(), [one.frame_id for one in verdicts]),
        engine_id=(Integer(), [measure.engine_id if one.looked else None for one in verdicts]),
        passport_id=(Uuid(), [measure.passport_id if one.looked else None for one in verdicts]),
        kind=(VerdictRow.__table__.c.kind.type, [one.verdict.kind for one in verdicts]),
        reason=(String(), [one.verdict.reason for one in verdicts]),
    )
    rows = insert(VerdictRow).from_select(
        [*new.c.keys(), "ng_confidence"], select(*new.c, literal(measure.ng_confidence, Double()))
    )
    session.connection().execute(rows)
