"""Reviews of engines in service, what drift is measured against, and a view of the reviews."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0019_accuracy"
down_revision = "0018_buying_stops"
branch_labels = None
depends_on = None

VIEW = """
CREATE VIEW v_accuracy_reviews AS
SELECT r.id AS review_id, r.kind, e.model, e.weights_sha256 AS model_sha256, e.runtime, e.device, e.precision,
       r.machine, r.passport_id, r.line, r.camera, r.measure, r.value, r.low, r.high, r.bound, r.sample, r.verdict,
       r.advice, r.text, r.reviewed_at
FROM accuracy_reviews r
JOIN engines e ON e.id = r.engine_id
"""


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "accuracy_reviews",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("engine_id", sa.BigInteger(), nullable=False),
        sa.Column("passport_id", sa.Uuid(), nullable=True),
        sa.Column("machine", sa.Text(), nullable=False),
        sa.Column("camera", sa.Text(), nullable=True),
        sa.Column("line", sa.Text(), nullable=True),
        sa.Column("measure", sa.Text(), nullable=False),
        *(sa.Column(name, sa.Float(), nullable=True) for name in ("value", "low", "high", "bound")),
        sa.Column("sample", sa.BigInteger(), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("advice", sa.String(length=16), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("evidence", postgresql.JSONB(), nullable=False),
        sa.Column("reviewed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "kind IN ('labelled', 'agreement', 'feedback', 'drift')", name=op.f("ck_accuracy_reviews_kind")
        ),
        sa.CheckConstraint("verdict IN ('ok', 'warn', 'lost', 'unknown')", name=op.f("ck_accuracy_reviews_verdict")),
        sa.CheckConstraint(
            "advice IN ('nothing', 'recalibrate', 'roll_back', 'camera', 'label', 'wait', 'measure')",
            name=op.f("ck_accuracy_reviews_advice"),
        ),
        sa.CheckConstraint(
            "(value IS NULL) = (verdict = 'unknown')", name=op.f("ck_accuracy_reviews_unknown_has_no_figure")
        ),
        sa.ForeignKeyConstraint(["engine_id"], ["engines.id"], name=op.f("fk_accuracy_reviews_engine_id")),
        sa.ForeignKeyConstraint(["passport_id"], ["passports.id"], name=op.f("fk_accuracy_reviews_passport_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accuracy_reviews")),
    )
    for columns in (["reviewed_at", "id"], ["kind", "camera", "reviewed_at"], ["engine_id", "reviewed_at"]):
        op.create_index(op.f(f"ix_accuracy_reviews_{'_'.join(columns)}"), "accuracy_reviews", columns)
    op.create_table(
        "drift_references",
        sa.Column("engine_id", sa.BigInteger(), nullable=False),
        sa.Column("camera", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("counts", postgresql.JSONB(), nullable=False),
        sa.Column("frames", sa.BigInteger(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["engine_id"], ["engines.id"], name=op.f("fk_drift_references_engine_id")),
        sa.PrimaryKeyConstraint("engine_id", "camera", "source", name=op.f("pk_drift_references")),
    )
    op.execute(VIEW)


def downgrade() -> None:
    """Take back; the reviews are lost."""
    op.execute("DROP VIEW v_accuracy_reviews")
    op.drop_table("drift_references")
    op.drop_table("accuracy_reviews")
