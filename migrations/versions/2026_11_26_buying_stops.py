"""Times in which the provider takes no more orders, because a limit of spending is reached there."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018_buying_stops"
down_revision = "0017_prompt_cache"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    time = sa.DateTime(timezone=True)
    op.create_table(
        "buying_stops",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("said", sa.Text(), nullable=False),
        sa.Column("began_at", time, server_default=sa.text("now()"), nullable=False),
        sa.Column("until", time, nullable=False),
        sa.Column("ended_at", time, nullable=True),
        sa.Column("ended_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_buying_stops")),
        sa.CheckConstraint("(ended_at IS NULL) = (ended_by IS NULL)", name=op.f("ck_buying_stops_ended_by_somebody")),
    )
    op.create_index(op.f("ix_buying_stops_until"), "buying_stops", ["until"])
    _waits("budget", "batch", "provider")


def downgrade() -> None:
    """Take back. What waited for the provider asks again."""
    op.execute("UPDATE report_windows SET waits_for = NULL, available_at = now() WHERE waits_for = 'provider'")
    _waits("budget", "batch")
    op.drop_index(op.f("ix_buying_stops_until"), table_name="buying_stops")
    op.drop_table("buying_stops")


def _waits(*reasons: str) -> None:
    listed = ", ".join(f"'{reason}'" for reason in reasons)
    op.drop_constraint(op.f("ck_report_windows_waits_for"), "report_windows", type_="check")
    op.create_check_constraint(op.f("ck_report_windows_waits_for"), "report_windows", f"waits_for IN ({listed})")
