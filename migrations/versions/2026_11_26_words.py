"""Reports know their language and what their numbers rest on; tokens billed, beside what was promised."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010_words"
down_revision = "0009_partitions"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. Reports written until now are English, and nobody noted what their numbers rest on."""
    op.add_column("reports", sa.Column("language", _language(), server_default="en", nullable=False))
    evidence = postgresql.JSONB(astext_type=sa.Text())
    op.add_column("reports", sa.Column("evidence", evidence, server_default=sa.text("'[]'"), nullable=False))
    op.add_column("report_windows", sa.Column("plan", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    _samples()
    op.create_table(
        "token_counts",
        sa.Column("body_sha256", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        _moment("counted_at"),
        sa.PrimaryKeyConstraint("body_sha256", "model", name=op.f("pk_token_counts")),
    )
    op.create_index(op.f("ix_token_counts_counted_at"), "token_counts", ["counted_at"])
    op.create_table(
        "token_drifts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("template", sa.Text(), nullable=False),
        sa.Column("language", _language(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("promised", sa.BigInteger(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column("share", sa.Float(), nullable=False),
        _moment("created_at"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_token_drifts")),
    )
    op.create_index(op.f("ix_token_drifts_created_at"), "token_drifts", ["created_at"])


def downgrade() -> None:
    """Take back; the reports stay as they were written."""
    for table in ("token_drifts", "token_counts", "token_samples"):
        op.drop_table(table)
    op.drop_column("report_windows", "plan")
    op.drop_column("reports", "evidence")
    op.drop_column("reports", "language")


def _samples() -> None:
    op.create_table(
        "token_samples",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("body_sha256", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("template", sa.Text(), nullable=False),
        sa.Column("language", _language(), nullable=False),
        sa.Column("request_bytes", sa.BigInteger(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column("promised", sa.BigInteger(), nullable=False),
        sa.Column("expected", sa.Float(), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        _moment("created_at"),
        sa.CheckConstraint("request_bytes > 0 AND tokens >= 0", name=op.f("ck_token_samples_counts_something")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_token_samples")),
        sa.UniqueConstraint("body_sha256", "model", name=op.f("uq_token_samples_body_sha256_model")),
    )
    index = ["model", "template", "language", "id"]
    op.create_index(op.f("ix_token_samples_model_template_language_id"), "token_samples", index)


def _moment(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False)


def _language() -> sa.Enum:
    return sa.Enum("en", "zh", name="language", native_enum=False, create_constraint=True, length=16)
