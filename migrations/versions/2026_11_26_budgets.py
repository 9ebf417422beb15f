"""Budgets in dollars, their periods and holds; what an attempt may cost; windows that wait for money."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014_budgets"
down_revision = "0013_alarms"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. There is no cap until one is set."""
    _budgets()
    _periods()
    _holds()
    jsonb = postgresql.JSONB(astext_type=sa.Text())
    op.add_column("llm_attempts", sa.Column("cameras", jsonb, nullable=True))
    op.add_column("llm_attempts", sa.Column("promised_usd", sa.Numeric(20, 12), nullable=True))
    op.add_column("llm_attempts", sa.Column("reconciled_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("llm_attempts", sa.Column("reconciled_by", sa.Text(), nullable=True))
    op.add_column("llm_attempts", sa.Column("reason", sa.Text(), nullable=True))
    op.create_check_constraint(
        op.f("ck_llm_attempts_reconciled_with_reason"),
        "llm_attempts",
        "(reconciled_at IS NULL) = (reconciled_by IS NULL) AND (reconciled_at IS NULL) = (reason IS NULL)",
    )
    unsettled = sa.text("state IN ('sent', 'unknown')")
    op.create_index("ix_llm_attempts_open", "llm_attempts", ["id"], postgresql_where=unsettled)
    op.add_column("report_windows", sa.Column("waits_for", _one_of("waits_for", "budget"), nullable=True))
    op.create_check_constraint(
        op.f("ck_report_windows_pending_waits"), "report_windows", "waits_for IS NULL OR state = 'pending'"
    )


def downgrade() -> None:
    """Take back; caps and holds go, what was paid stays."""
    op.drop_constraint(op.f("ck_report_windows_pending_waits"), "report_windows", type_="check")
    op.drop_column("report_windows", "waits_for")
    op.drop_index("ix_llm_attempts_open", table_name="llm_attempts")
    op.drop_constraint(op.f("ck_llm_attempts_reconciled_with_reason"), "llm_attempts", type_="check")
    for column in ("reason", "reconciled_by", "reconciled_at", "promised_usd", "cameras"):
        op.drop_column("llm_attempts", column)
    for table in ("budget_holds", "budget_periods", "budgets"):
        op.drop_table(table)


def _budgets() -> None:
    op.create_table(
        "budgets",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("scope_kind", _one_of("scope_kind", "site", "line", "camera"), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("period", _one_of("period", "day", "month"), nullable=False),
        sa.Column("cap_usd", sa.Numeric(20, 12), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(scope_kind = 'site') = (scope = '')", name=op.f("ck_budgets_site_has_no_name")),
        sa.CheckConstraint("cap_usd >= 0", name=op.f("ck_budgets_cap_not_negative")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_budgets")),
    )
    op.create_index(
        "uq_budgets_in_force",
        "budgets",
        ["scope_kind", "scope", "period"],
        unique=True,
        postgresql_where=sa.text("removed_at IS NULL"),
    )


def _periods() -> None:
    op.create_table(
        "budget_periods",
        sa.Column("budget_id", sa.BigInteger(), nullable=False),
        sa.Column("period_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cap_usd", sa.Numeric(20, 12), nullable=False),
        *(
            sa.Column(name, sa.Numeric(20, 12), server_default="0", nullable=False)
            for name in ("settled_usd", "held_usd", "overdrawn_usd")
        ),
        sa.CheckConstraint("settled_usd + held_usd <= cap_usd + overdrawn_usd", name=op.f("ck_budget_periods_ceiling")),
        sa.CheckConstraint(
            "settled_usd >= 0 AND held_usd >= 0 AND overdrawn_usd >= 0", name=op.f("ck_budget_periods_not_negative")
        ),
        sa.ForeignKeyConstraint(["budget_id"], ["budgets.id"], name=op.f("fk_budget_periods_budget_id")),
        sa.PrimaryKeyConstraint("budget_id", "period_start", name=op.f("pk_budget_periods")),
    )


def _holds() -> None:
    op.create_table(
        "budget_holds",
        sa.Column("attempt_id", sa.BigInteger(), nullable=False),
        sa.Column("budget_id", sa.BigInteger(), nullable=False),
        sa.Column("period_start", sa.DateTime(timezone=True), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("before", "part", "whole")),
        sa.Column("held_usd", sa.Numeric(20, 12), nullable=False),
        sa.Column("settled_usd", sa.Numeric(20, 12), server_default="0", nullable=False),
        sa.CheckConstraint("held_usd >= 0 AND settled_usd >= 0", name=op.f("ck_budget_holds_not_negative")),
        sa.ForeignKeyConstraint(["attempt_id"], ["llm_attempts.id"], name=op.f("fk_budget_holds_attempt_id")),
        sa.ForeignKeyConstraint(
            ["budget_id", "period_start"],
            ["budget_periods.budget_id", "budget_periods.period_start"],
            name=op.f("fk_budget_holds_budget_id_period_start"),
        ),
        sa.PrimaryKeyConstraint("attempt_id", "budget_id", name=op.f("pk_budget_holds")),
    )
    op.create_index(op.f("ix_budget_holds_budget_id_period_start"), "budget_holds", ["budget_id", "period_start"])


def _one_of(name: str, *values: str) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=16)
