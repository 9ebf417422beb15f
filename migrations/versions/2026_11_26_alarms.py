"""Alarm rules and what they remember, alarms, their deliveries, and the frames that no rule has seen yet."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013_alarms"
down_revision = "0012_placements"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
NOW = sa.text("now()")


def upgrade() -> None:
    """Apply."""
    _rules()
    _alarms()
    op.create_table(
        "alarm_inbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("frame_ids", postgresql.ARRAY(sa.Uuid()), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alarm_inbox")),
    )


def downgrade() -> None:
    """Take back; rules and alarms are gone."""
    for table in ("alarm_inbox", "alarm_deliveries", "alarms", "alarm_states", "alarm_rules"):
        op.drop_table(table)


def _rules() -> None:
    op.create_table(
        "alarm_rules",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("severity", _one_of("severity", "info", "warning", "critical"), nullable=False),
        *_scope(),
        sa.Column("params", postgresql.JSONB(), nullable=False),
        sa.Column("cooldown_s", sa.BigInteger(), nullable=False),
        sa.Column("outputs", postgresql.JSONB(), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.Column("updated_at", TIME, server_default=NOW, nullable=False),
        sa.CheckConstraint("cooldown_s >= 0", name=op.f("ck_alarm_rules_cooldown_is_time")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alarm_rules")),
        sa.UniqueConstraint("name", name=op.f("uq_alarm_rules_name")),
    )
    op.create_table(
        "alarm_states",
        sa.Column("rule_id", sa.BigInteger(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        *_scope(),
        sa.Column("memory", postgresql.JSONB(), nullable=False),
        sa.Column("alarm_id", sa.Uuid(), nullable=True),
        sa.Column("notified_at", TIME, nullable=True),
        sa.Column("held_back", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["rule_id"], ["alarm_rules.id"], name=op.f("fk_alarm_states_rule_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("rule_id", "scope", name=op.f("pk_alarm_states")),
    )


def _alarms() -> None:
    op.create_table(
        "alarms",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("severity", _one_of("severity", "info", "warning", "critical"), nullable=False),
        *_scope(),
        sa.Column("state", _one_of("state", "firing", "resolved"), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("facts", postgresql.JSONB(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("held_back", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("since", TIME, nullable=False),
        sa.Column("fired_at", TIME, server_default=NOW, nullable=False),
        sa.Column("last_at", TIME, server_default=NOW, nullable=False),
        sa.Column("resolved_at", TIME, nullable=True),
        sa.CheckConstraint("(state = 'resolved') = (resolved_at IS NOT NULL)", name=op.f("ck_alarms_resolved_has_end")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alarms")),
    )
    op.create_index("ix_alarms_firing", "alarms", ["fired_at"], postgresql_where=sa.text("state = 'firing'"))
    op.create_index("ix_alarms_fired_at", "alarms", ["fired_at"])
    op.create_table(
        "alarm_deliveries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("alarm_id", sa.Uuid(), nullable=False),
        sa.Column("output", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), server_default="", nullable=False),
        sa.Column("notice", postgresql.JSONB(), nullable=False),
        sa.Column("state", _one_of("state", "pending", "delivered", "dead", "discarded"), nullable=False),
        sa.Column("attempts", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("available_at", TIME, server_default=NOW, nullable=False),
        sa.Column("tried_at", TIME, nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.Column("ended_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alarm_deliveries")),
    )
    waiting = sa.text("state = 'pending'")
    op.create_index("ix_alarm_deliveries_due", "alarm_deliveries", ["available_at"], postgresql_where=waiting)
    op.create_index("ix_alarm_deliveries_tried_at", "alarm_deliveries", ["output", "tried_at"])
    op.create_index("ix_alarm_deliveries_alarm_id", "alarm_deliveries", ["alarm_id"])


def _scope() -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=True) for name in ("line", "camera", "label")]


def _one_of(name: str, *values: str) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=16)
