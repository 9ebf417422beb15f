"""Verdicts as gates are told them: awaited from acceptance on, one for each frame, numbered for each camera."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006_gates"
down_revision = "0005_access"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    time = sa.DateTime(timezone=True)
    op.create_table(
        "gate_verdicts",
        sa.Column("frame_id", sa.Uuid(), nullable=False),
        sa.Column("camera_id", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("camera", "line", "frame_key")),
        sa.Column("part_number", sa.Text(), nullable=True),
        *(sa.Column(name, time, nullable=False) for name in ("captured_at", "accepted_at", "due_at")),
        sa.Column("kind", _one_of("kind", "ok", "ng", "reinspect"), nullable=True),
        sa.Column("source", _one_of("source", "inspection", "failure", "deadline"), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("seq", sa.BigInteger(), nullable=True),
        sa.Column("engine_id", sa.BigInteger(), nullable=True),
        sa.Column("passport_id", sa.Uuid(), nullable=True),
        *(sa.Column(name, time, nullable=True) for name in ("decided_at", "publish_at", "published_at")),
        sa.Column("late_kind", sa.Text(), nullable=True),
        sa.Column("late_at", time, nullable=True),
        *(
            sa.CheckConstraint(
                f"(kind IS NULL) = ({column} IS NULL)", name=op.f(f"ck_gate_verdicts_decided_has_{name}")
            )
            for name, column in (("seq", "seq"), ("time", "decided_at"), ("source", "source"))
        ),
        sa.PrimaryKeyConstraint("frame_id", name=op.f("pk_gate_verdicts")),
        sa.UniqueConstraint("camera_id", "seq", name=op.f("uq_gate_verdicts_camera_id_seq")),
    )
    open_ = sa.text("kind IS NULL")
    unpublished = sa.text("kind IS NOT NULL AND published_at IS NULL")
    op.create_index("ix_gate_verdicts_awaited", "gate_verdicts", ["due_at"], postgresql_where=open_)
    op.create_index("ix_gate_verdicts_unpublished", "gate_verdicts", ["publish_at"], postgresql_where=unpublished)
    op.create_index("ix_gate_verdicts_decided_at", "gate_verdicts", ["decided_at"])
    op.create_table(
        "gate_channels",
        sa.Column("camera_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("camera", sa.Text(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("camera_id", name=op.f("pk_gate_channels")),
    )


def downgrade() -> None:
    """Take back; what gates were told is forgotten, and the numbers begin anew."""
    op.drop_table("gate_channels")
    op.drop_table("gate_verdicts")


def _one_of(name: str, *values: str) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=16)
