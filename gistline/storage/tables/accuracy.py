"""Reviews of engines in service, and what drift is measured against."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, func
from sqlalchemy.orm import Mapped, mapped_column

from gistline.domain_accuracy import Advice, ReviewKind, ReviewVerdict
from gistline.storage.tables.base import Base


class AccuracyReviewRow(Base):
    """One figure of an engine in service, and what was made of it; drift is reviewed camera by camera.

    ``text`` says it in words. Rows that were written together have one ``reviewed_at``.
    """

    __tablename__ = "accuracy_reviews"
    __table_args__ = (
        CheckConstraint("(value IS NULL) = (verdict = 'unknown')", name="unknown_has_no_figure"),
        Index(None, "reviewed_at", "id"),
        Index(None, "kind", "camera", "reviewed_at"),
        Index(None, "engine_id", "reviewed_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[ReviewKind]
    engine_id: Mapped[int] = mapped_column(ForeignKey("engines.id"))
    passport_id: Mapped[UUID | None] = mapped_column(ForeignKey("passports.id"))
    machine: Mapped[str]
    camera: Mapped[str | None]
    line: Mapped[str | None]
    measure: Mapped[str]
    value: Mapped[float | None]
    low: Mapped[float | None]
    high: Mapped[float | None]
    bound: Mapped[float | None]
    sample: Mapped[int]
    verdict: Mapped[ReviewVerdict]
    advice: Mapped[Advice]
    text: Mapped[str]
    evidence: Mapped[dict[str, Any]]
    reviewed_at: Mapped[datetime] = mapped_column(server_default=func.now())


class DriftReferenceRow(Base):
    """What a camera's frames looked like when an engine was new to them: ``images`` and ``outputs``, kept apart.

    The first frames that are enough become it; it stays until somebody rebases.
    """

    __tablename__ = "drift_references"

    engine_id: Mapped[int] = mapped_column(ForeignKey("engines.id"), primary_key=True)
    camera: Mapped[str] = mapped_column(primary_key=True)
    source: Mapped[str] = mapped_column(primary_key=True)
    counts: Mapped[dict[str, Any]]
    frames: Mapped[int]
    made_at: Mapped[datetime] = mapped_column(server_default=func.now())
