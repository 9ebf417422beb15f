"""What operators think of findings."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Identity, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from gistline.domain import Feedback
from gistline.storage.tables.base import Base


class FeedbackRow(Base):
    """An operator's opinion of one finding. The newest one of a finding counts, the others keep who thought what when.

    What is counted by is copied from the finding, and nothing refers to its row: findings go with their retention,
    what was learned from them stays.
    """

    __tablename__ = "feedback"
    __table_args__ = (
        Index("uq_feedback_current", "finding_id", unique=True, postgresql_where=text("replaced_at IS NULL")),
        Index(None, "frame_id"),
        Index(None, "given_at"),
        CheckConstraint("char_length(note) <= 500", name="note_is_short"),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    frame_id: Mapped[UUID]
    finding_id: Mapped[int]
    line: Mapped[str]
    camera: Mapped[str]
    label: Mapped[str]
    confidence: Mapped[float]
    engine_id: Mapped[int]
    passport_id: Mapped[UUID | None]
    opinion: Mapped[Feedback]
    note: Mapped[str] = mapped_column(server_default="")
    person: Mapped[str]
    given_at: Mapped[datetime] = mapped_column(server_default=func.now())
    replaced_at: Mapped[datetime | None]
