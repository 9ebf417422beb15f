"""What gates are told."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from gistline.domain import VerdictKind
from gistline.domain_acting import VerdictSource
from gistline.storage.tables.base import Base


class GateVerdictRow(Base):
    """A frame that a gate waits for, and the one verdict that it is told; without ``kind`` nothing is decided yet.

    It repeats what the gate must know of the frame, so that deciding reads one row and old frames may go. ``late_kind``
    is what an inspection found after the gate was told something else.
    """

    __tablename__ = "gate_verdicts"
    __table_args__ = (
        UniqueConstraint("camera_id", "seq"),
        CheckConstraint("(kind IS NULL) = (seq IS NULL)", name="decided_has_seq"),
        CheckConstraint("(kind IS NULL) = (decided_at IS NULL)", name="decided_has_time"),
        CheckConstraint("(kind IS NULL) = (source IS NULL)", name="decided_has_source"),
        Index("ix_gate_verdicts_awaited", "due_at", postgresql_where=text("kind IS NULL")),
        Index(
            "ix_gate_verdicts_unpublished",
            "publish_at",
            postgresql_where=text("kind IS NOT NULL AND published_at IS NULL"),
        ),
        Index("ix_gate_verdicts_decided_at", "decided_at"),
    )

    frame_id: Mapped[UUID] = mapped_column(primary_key=True)
    camera_id: Mapped[int]
    camera: Mapped[str]
    line: Mapped[str]
    frame_key: Mapped[str]
    part_number: Mapped[str | None]
    captured_at: Mapped[datetime]
    accepted_at: Mapped[datetime]
    due_at: Mapped[datetime]
    kind: Mapped[VerdictKind | None]
    source: Mapped[VerdictSource | None]
    reason: Mapped[str | None]
    seq: Mapped[int | None]
    engine_id: Mapped[int | None]
    passport_id: Mapped[UUID | None]
    decided_at: Mapped[datetime | None]
    publish_at: Mapped[datetime | None]
    published_at: Mapped[datetime | None]
    late_kind: Mapped[str | None]
    late_at: Mapped[datetime | None]


class GateChannelRow(Base):
    """How many verdicts of a camera were decided: the number of its last one."""

    __tablename__ = "gate_channels"

    camera_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    camera: Mapped[str]
    last_seq: Mapped[int]
