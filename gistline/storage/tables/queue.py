"""What is kept about the queue itself: what was accepted, what was given up, how batches went, who shall leave."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from gistline.domain import DeadLetterKind, DeadLetterResolution
from gistline.storage.tables.base import Base, cut_by


class SubmissionRow(Base):
    """An accepted request and how many new frames it brought.

    Counted beside the frames and not from them, so that a frame that vanishes is missed.
    """

    __tablename__ = "submissions"
    __table_args__ = (CheckConstraint("frames > 0", name="brings_frames"), cut_by("id"))

    id: Mapped[UUID] = mapped_column(primary_key=True)
    camera_id: Mapped[int] = mapped_column(ForeignKey("cameras.id"))
    frames: Mapped[int]
    accepted_at: Mapped[datetime] = mapped_column(server_default=func.now())


class DeadLetterRow(Base):
    """A frame that was given up, with its reason; open until somebody retries or discards it."""

    __tablename__ = "dead_letters"
    __table_args__ = (
        Index("uq_dead_letters_open", "frame_id", unique=True, postgresql_where=text("resolved_at IS NULL")),
        Index("ix_dead_letters_frame_id", "frame_id"),
        CheckConstraint("(resolved_at IS NULL) = (resolution IS NULL)", name="resolution_has_time"),
        CheckConstraint("(resolved_at IS NULL) = (resolved_by IS NULL)", name="resolution_has_author"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    frame_id: Mapped[UUID]
    kind: Mapped[DeadLetterKind]
    reason: Mapped[str]
    attempts: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    resolved_at: Mapped[datetime | None]
    resolution: Mapped[DeadLetterResolution | None]
    resolved_by: Mapped[str | None]


class BatchRow(Base):
    """Where the time of one batch went, in seconds. Stages of neighbouring batches overlap, so sums exceed the clock.

    ``queue_s`` is the mean wait of its frames from acceptance to claim; ``fetch_s`` and ``decode_s`` are summed over
    the threads that work beside the engine.
    """

    __tablename__ = "batches"
    __table_args__ = (cut_by("id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    worker: Mapped[str]
    engine_id: Mapped[int | None] = mapped_column(ForeignKey("engines.id"))
    claimed_at: Mapped[datetime] = mapped_column(index=True)
    frames: Mapped[int]
    failed: Mapped[int]
    cameras: Mapped[int]
    queue_s: Mapped[float]
    queue_max_s: Mapped[float]
    fetch_s: Mapped[float]
    decode_s: Mapped[float]
    infer_s: Mapped[float]
    post_s: Mapped[float]
    commit_s: Mapped[float]
    total_s: Mapped[float]


class RetiredPartition(Base):
    """What was counted in a partition when retention dropped it, so that the books still agree.

    ``partition`` is the end of its tables' names; rows that fell into no partition are summed up as ``default``.
    """

    __tablename__ = "retired_partitions"

    partition: Mapped[str] = mapped_column(primary_key=True)
    accepted: Mapped[int]
    inspected: Mapped[int]
    failed: Mapped[int]
    expired: Mapped[int]
    findings: Mapped[int]
    retired_at: Mapped[datetime] = mapped_column(server_default=func.now())


class DrainRow(Base):
    """A worker that was asked to finish what it holds and leave."""

    __tablename__ = "drains"

    worker: Mapped[str] = mapped_column(primary_key=True)
    asked_at: Mapped[datetime] = mapped_column(server_default=func.now())
    asked_by: Mapped[str]
