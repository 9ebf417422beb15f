"""Cameras, frames as jobs, and what was found on them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from gistline.domain import FrameState, VerdictKind
from gistline.storage.tables.base import Base, cut_by, hangs_on


class Camera(Base):
    """A camera; it belongs to a production line. Frames of a smaller ``priority`` (0 to 9) are inspected first."""

    __tablename__ = "cameras"
    __table_args__ = (CheckConstraint("priority BETWEEN 0 AND 9", name="priority_in_range"),)

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    line: Mapped[str]
    priority: Mapped[int] = mapped_column(server_default="5")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class EngineRow(Base):
    """A detector as it really ran, one row for each distinct combination."""

    __tablename__ = "engines"
    __table_args__ = (
        UniqueConstraint(
            "weights_sha256", "runtime", "device", "precision", "int8_convolutions", name="uq_engines_identity"
        ),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    model: Mapped[str]
    weights_sha256: Mapped[str]
    runtime: Mapped[str]
    device: Mapped[str]
    precision: Mapped[str]
    convolutions: Mapped[int]
    int8_convolutions: Mapped[int]
    labels: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class FrameRow(Base):
    """An accepted frame: the job that must not be lost. Its bytes live in the frame store under ``sha256``.

    The table is cut by time, as those of findings, verdicts and their places in reports are: its ids are of version 7.
    """

    __tablename__ = "frames"
    __table_args__ = (
        Index("ix_frames_pending", "priority", "queue_at", "id", postgresql_where=text("state = 'pending'")),
        Index("ix_frames_camera_queue", "camera_id", "queue_at", postgresql_where=text("state = 'pending'")),
        Index("ix_frames_running", "lease_until", postgresql_where=text("state = 'running'")),
        Index(
            "ix_frames_unreported",
            "line",
            "finished_at",
            postgresql_where=text("report_window_id IS NULL AND finished_at IS NOT NULL"),
        ),
        Index("ix_frames_kept", "finished_at", postgresql_where=text("bytes_stored AND finished_at IS NOT NULL")),
        Index(
            "ix_frames_suspect",
            "priority",
            "queue_at",
            "id",
            postgresql_where=text("state = 'pending' AND (attempts > 0 OR error IS NOT NULL)"),
        ),
        Index(
            "ix_frames_deadline", "expires_at", postgresql_where=text("state = 'pending' AND expires_at IS NOT NULL")
        ),
        CheckConstraint("(state = 'running') = (lease_until IS NOT NULL)", name="running_has_lease"),
        CheckConstraint(
            "(state IN ('inspected', 'failed', 'expired')) = (finished_at IS NOT NULL)", name="final_has_end"
        ),
        Index("ix_frames_sha256", "sha256", postgresql_where=text("bytes_stored")),
        cut_by("id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    camera_id: Mapped[int] = mapped_column(ForeignKey("cameras.id"))
    line: Mapped[str]
    part_number: Mapped[str | None]
    idempotency_key: Mapped[str]
    sha256: Mapped[str]
    media_type: Mapped[str]
    byte_count: Mapped[int]
    width: Mapped[int]
    height: Mapped[int]
    bytes_stored: Mapped[bool] = mapped_column(server_default=text("true"))
    captured_at: Mapped[datetime]
    accepted_at: Mapped[datetime] = mapped_column(server_default=func.now())

    state: Mapped[FrameState] = mapped_column(server_default=FrameState.PENDING.value)
    priority: Mapped[int] = mapped_column(server_default="5")
    attempts: Mapped[int] = mapped_column(server_default="0")
    token: Mapped[UUID | None]
    lease_until: Mapped[datetime | None]
    available_at: Mapped[datetime] = mapped_column(server_default=func.now())
    queue_at: Mapped[datetime] = mapped_column(server_default=func.now())
    rings: Mapped[int] = mapped_column(server_default="0")
    sent_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    error: Mapped[str | None]
    traceparent: Mapped[str | None]

    engine_id: Mapped[int | None] = mapped_column(ForeignKey("engines.id"))
    report_window_id: Mapped[UUID | None] = mapped_column(ForeignKey("report_windows.id"), index=True)


class FrameKey(Base):
    """A camera's name of a frame: the same name is the same frame, for as long as this row is kept.

    A table of its own, since partitions of frames cannot keep a name unique beyond themselves.
    """

    __tablename__ = "frame_keys"

    camera_id: Mapped[int] = mapped_column(ForeignKey("cameras.id"), primary_key=True)
    frame_key: Mapped[str] = mapped_column(primary_key=True)
    frame_id: Mapped[UUID] = mapped_column(index=True)


class FindingRow(Base):
    """A detection that counted, with the thresholds that made it."""

    __tablename__ = "findings"
    __table_args__ = (
        UniqueConstraint("frame_id", "engine_id", "label", "x", "y", "w", "h"),
        CheckConstraint("confidence BETWEEN 0 AND 1", name="confidence_is_share"),
        # Not validated: findings that are older than passports have none, and none is made up for them.
        CheckConstraint("passport_id IS NOT NULL", name="has_passport", postgresql_not_valid=True),
        CheckConstraint("severity BETWEEN 1 AND 3", name="severity_in_range"),
        cut_by("frame_id"),
    )

    frame_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    engine_id: Mapped[int] = mapped_column(ForeignKey("engines.id"))
    passport_id: Mapped[UUID | None] = mapped_column(ForeignKey("passports.id"))
    label: Mapped[str]
    confidence: Mapped[float]
    x: Mapped[float]
    y: Mapped[float]
    w: Mapped[float]
    h: Mapped[float]
    severity: Mapped[int]
    min_confidence: Mapped[float]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class VerdictRow(Base):
    """The one verdict on a frame; without engine and passport when nobody looked at it."""

    __tablename__ = "verdicts"
    __table_args__ = (
        CheckConstraint(
            "(engine_id IS NULL) = (passport_id IS NULL)", name="engine_has_passport", postgresql_not_valid=True
        ),
        cut_by("frame_id"),
    )

    frame_id: Mapped[UUID] = mapped_column(primary_key=True)
    engine_id: Mapped[int | None] = mapped_column(ForeignKey("engines.id"))
    passport_id: Mapped[UUID | None] = mapped_column(ForeignKey("passports.id"))
    kind: Mapped[VerdictKind]
    reason: Mapped[str]
    ng_confidence: Mapped[float]
    decided_at: Mapped[datetime] = mapped_column(server_default=func.now())


# The foreign keys lie between partitions of the same time, so that these can be dropped together; SQLAlchemy sees none.
hangs_on(FindingRow, FrameRow)
hangs_on(VerdictRow, FrameRow)
