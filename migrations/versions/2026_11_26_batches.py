"""Reports that are not urgent, and the batches that they go with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016_batches"
down_revision = "0015_views"
branch_labels = None
depends_on = None

OPEN = "ix_llm_attempts_open"


def upgrade() -> None:
    """Apply. Windows that are open are urgent."""
    time = sa.DateTime(timezone=True)
    op.create_table(
        "llm_batches",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("api_id", sa.Text(), nullable=True),
        sa.Column(
            "state", _one_of("state", "submitting", "running", "turned_down", "lost", "collected"), nullable=False
        ),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("deadline_at", time, nullable=False),
        sa.Column("created_at", time, server_default=sa.text("now()"), nullable=False),
        *(
            sa.Column(name, time, nullable=True)
            for name in ("expires_at", "looked_at", "cancel_asked_at", "retry_at", "ended_at")
        ),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_llm_batches")),
        sa.UniqueConstraint("api_id", name=op.f("uq_llm_batches_api_id")),
    )
    unended = sa.text("state IN ('submitting', 'running', 'lost')")
    op.create_index("ix_llm_batches_open", "llm_batches", ["id"], postgresql_where=unended)
    op.add_column("report_windows", sa.Column("deadline_at", time, nullable=True))
    processing = _one_of("processing", "standard", "batch")
    op.add_column("llm_attempts", sa.Column("processing", processing, server_default="standard", nullable=False))
    op.add_column("llm_attempts", sa.Column("batch_id", sa.BigInteger(), nullable=True))
    op.add_column("llm_attempts", sa.Column("request", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.create_foreign_key(op.f("fk_llm_attempts_batch_id"), "llm_attempts", "llm_batches", ["batch_id"], ["id"])
    op.create_index(op.f("ix_llm_attempts_batch_id"), "llm_attempts", ["batch_id"])
    _states("queued", "sent", "paid", "refused", "unknown")
    _waits("budget", "batch")
    _open("queued", "sent", "unknown")


def downgrade() -> None:
    """Take back. What is queued was not sent; what is with the provider becomes unknown, and stays held."""
    op.execute("UPDATE llm_attempts SET state = 'unknown' WHERE state = 'queued'")
    op.execute("UPDATE report_windows SET waits_for = NULL, available_at = now() WHERE waits_for = 'batch'")
    _open("sent", "unknown")
    _waits("budget")
    _states("sent", "paid", "refused", "unknown")
    op.drop_index(op.f("ix_llm_attempts_batch_id"), table_name="llm_attempts")
    op.drop_constraint(op.f("fk_llm_attempts_batch_id"), "llm_attempts", type_="foreignkey")
    for column in ("request", "batch_id", "processing"):
        op.drop_column("llm_attempts", column)
    op.drop_column("report_windows", "deadline_at")
    op.drop_table("llm_batches")


def _states(*states: str) -> None:
    _checked("llm_attempts", "state", states)


def _waits(*reasons: str) -> None:
    _checked("report_windows", "waits_for", reasons)


def _checked(table: str, column: str, values: tuple[str, ...]) -> None:
    """Replace the check that a text column holds one of these."""
    listed = ", ".join(f"'{value}'" for value in values)
    op.drop_constraint(op.f(f"ck_{table}_{column}"), table, type_="check")
    op.create_check_constraint(op.f(f"ck_{table}_{column}"), table, f"{column} IN ({listed})")


def _open(*states: str) -> None:
    listed = ", ".join(f"'{state}'" for state in states)
    op.drop_index(OPEN, table_name="llm_attempts")
    op.create_index(OPEN, "llm_attempts", ["id"], postgresql_where=sa.text(f"state IN ({listed})"))


def _one_of(name: str, *values: str) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=16)
