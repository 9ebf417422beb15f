"""What operators think of findings; windows of all lines in their order."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011_feedback"
down_revision = "0010_words"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "feedback",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("frame_id", sa.Uuid(), nullable=False),
        sa.Column("finding_id", sa.BigInteger(), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.Column("camera", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("engine_id", sa.BigInteger(), nullable=False),
        sa.Column("passport_id", sa.Uuid(), nullable=True),
        sa.Column("opinion", sa.String(length=16), nullable=False),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("given_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("replaced_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("opinion IN ('correct', 'incorrect', 'inconclusive')", name=op.f("ck_feedback_opinion")),
        sa.CheckConstraint("char_length(note) <= 500", name=op.f("ck_feedback_note_is_short")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feedback")),
    )
    op.create_index(
        "uq_feedback_current", "feedback", ["finding_id"], unique=True, postgresql_where=sa.text("replaced_at IS NULL")
    )
    op.create_index(op.f("ix_feedback_frame_id"), "feedback", ["frame_id"])
    op.create_index(op.f("ix_feedback_given_at"), "feedback", ["given_at"])
    op.create_index(op.f("ix_report_windows_starts_at_id"), "report_windows", ["starts_at", "id"])


def downgrade() -> None:
    """Take back; the opinions are lost."""
    op.drop_index(op.f("ix_report_windows_starts_at_id"), table_name="report_windows")
    op.drop_table("feedback")
