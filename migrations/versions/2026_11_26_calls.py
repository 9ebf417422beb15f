"""A window may need several calls, each with its own attempts; how long an attempt took."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004_calls"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. Until now a window had one call: its report."""
    op.add_column("llm_attempts", sa.Column("call", sa.Text(), server_default="report", nullable=False))
    op.add_column("llm_attempts", sa.Column("latency_ms", sa.BigInteger(), nullable=True))
    op.drop_constraint(op.f("uq_llm_attempts_window_id_attempt"), "llm_attempts", type_="unique")
    op.create_unique_constraint(
        op.f("uq_llm_attempts_window_id_call_attempt"), "llm_attempts", ["window_id", "call", "attempt"]
    )


def downgrade() -> None:
    """Take back; the attempts of a window are numbered through, whatever they asked for."""
    op.execute(
        "UPDATE llm_attempts SET attempt = renumbered.place FROM ("
        " SELECT id, row_number() OVER (PARTITION BY window_id ORDER BY id) AS place FROM llm_attempts"
        ") AS renumbered WHERE renumbered.id = llm_attempts.id"
    )
    op.drop_constraint(op.f("uq_llm_attempts_window_id_call_attempt"), "llm_attempts", type_="unique")
    op.create_unique_constraint(op.f("uq_llm_attempts_window_id_attempt"), "llm_attempts", ["window_id", "attempt"])
    op.drop_column("llm_attempts", "latency_ms")
    op.drop_column("llm_attempts", "call")
