"""What was seen and what was decided, written in the transaction that ends the frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast
from uuid import UUID

from sqlalchemy import ColumnElement, Double, Insert, Integer, String, Table, Uuid, bindparam, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from gistline.domain import Detection, Verdict
from gistline.storage.arrays import given, unnest_given
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
    new = given(
        frame_id=[one.frame_id for one in findings],
        label=[one.label for one in seen],
        confidence=[one.confidence for one in seen],
        x=[one.box.x for one in seen],
        y=[one.box.y for one in seen],
        w=[one.box.w for one in seen],
        h=[one.box.h for one in seen],
        severity=[one.severity for one in findings],
    )
    same = {f"the_{name}": getattr(measure, name) for name in ("engine_id", "passport_id", "min_confidence")}
    session.connection().execute(SAVE_FINDINGS, new | same)


def save_verdicts(session: Session, verdicts: Sequence[NewVerdict], measure: Measure) -> None:
    """Insert the one verdict of each frame.

    Raises:
        sqlalchemy.exc.IntegrityError: a frame has one already.

    """
    new = given(
        frame_id=[one.frame_id for one in verdicts],
        engine_id=[measure.engine_id if one.looked else None for one in verdicts],
        passport_id=[measure.passport_id if one.looked else None for one in verdicts],
        kind=[one.verdict.kind for one in verdicts],
        reason=[one.verdict.reason for one in verdicts],
    )
    session.connection().execute(SAVE_VERDICTS, new | {"the_ng_confidence": measure.ng_confidence})


def _saving_findings() -> Insert:
    numbers: dict[str, TypeEngine[Any]] = dict.fromkeys(("confidence", "x", "y", "w", "h"), Double())
    new = unnest_given(frame_id=Uuid(), label=String(), **numbers, severity=Integer())
    kinds: dict[str, TypeEngine[Any]] = {"engine_id": Integer(), "passport_id": Uuid(), "min_confidence": Double()}
    same: dict[str, ColumnElement[Any]] = {name: bindparam(f"the_{name}", type_=kind) for name, kind in kinds.items()}
    rows = select(*new.c, *same.values())
    return (
        insert(cast("Table", FindingRow.__table__)).from_select([*new.c.keys(), *same], rows).on_conflict_do_nothing()
    )


def _saving_verdicts() -> Insert:
    verdicts = cast("Table", VerdictRow.__table__)
    new = unnest_given(
        frame_id=Uuid(), engine_id=Integer(), passport_id=Uuid(), kind=verdicts.c.kind.type, reason=String()
    )
    names = [*new.c.keys(), "ng_confidence"]
    return insert(verdicts).from_select(names, select(*new.c, bindparam("the_ng_confidence", type_=Double())))


SAVE_FINDINGS: Final = _saving_findings()
SAVE_VERDICTS: Final = _saving_verdicts()
