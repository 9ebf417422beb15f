"""Models, passports, what is served, and the passport behind every finding and verdict from now on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "models",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("byte_count", sa.BigInteger(), nullable=False),
        sa.Column("labels", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("layout", sa.Text(), nullable=False),
        sa.Column("input_height", sa.BigInteger(), nullable=False),
        sa.Column("input_width", sa.BigInteger(), nullable=False),
        sa.Column("convolutions", sa.BigInteger(), nullable=False),
        sa.Column("quantised_convolutions", sa.BigInteger(), nullable=False),
        sa.Column("source_sha256", sa.Text(), nullable=True),
        sa.Column("calibration_sha256", sa.Text(), nullable=True),
        sa.Column("recipe", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name=op.f("ck_models_sha256_is_hex")),
        sa.CheckConstraint("octet_length(content) = byte_count", name=op.f("ck_models_content_is_whole")),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_models")),
    )
    # Weights do not compress; trying would cost each reader and writer a pass over them.
    op.execute("ALTER TABLE models ALTER COLUMN content SET STORAGE EXTERNAL")
    op.create_index(op.f("ix_models_name"), "models", ["name"], unique=False)
    op.create_table(
        "passports",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("engine_id", sa.BigInteger(), nullable=False),
        sa.Column("machine", sa.Text(), nullable=False),
        sa.Column("model_sha256", sa.Text(), nullable=False),
        sa.Column(
            "verdict",
            sa.Enum(
                "passed", "failed", "unproven", name="verdict", native_enum=False, create_constraint=True, length=16
            ),
            nullable=False,
        ),
        sa.Column("labelled_sha256", sa.Text(), nullable=True),
        sa.Column("evidence", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("measured_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["engine_id"], ["engines.id"], name=op.f("fk_passports_engine_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_passports")),
    )
    op.create_index(
        op.f("ix_passports_engine_id_machine_measured_at"),
        "passports",
        ["engine_id", "machine", "measured_at"],
        unique=False,
    )
    op.create_index(
        op.f("ix_passports_model_sha256_measured_at"), "passports", ["model_sha256", "measured_at"], unique=False
    )
    op.create_table(
        "serving",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("model_sha256", sa.Text(), nullable=True),
        sa.Column(
            "action",
            sa.Enum("promote", "rollback", name="action", native_enum=False, create_constraint=True, length=16),
            nullable=False,
        ),
        sa.Column("returns_to", sa.BigInteger(), nullable=True),
        sa.Column("passport_id", sa.Uuid(), nullable=True),
        sa.Column("forced", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("promoted_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("NOT forced OR reason <> ''", name=op.f("ck_serving_forced_has_reason")),
        sa.ForeignKeyConstraint(["model_sha256"], ["models.sha256"], name=op.f("fk_serving_model_sha256")),
        sa.ForeignKeyConstraint(["passport_id"], ["passports.id"], name=op.f("fk_serving_passport_id")),
        sa.ForeignKeyConstraint(["returns_to"], ["serving.id"], name=op.f("fk_serving_returns_to")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_serving")),
    )
    # What was found before there were passports keeps none: nothing is made up for it. Not validating the checks
    # leaves those rows as they are, holds every later one to them, and needs no scan under the table's lock.
    for table in ("findings", "verdicts"):
        op.add_column(table, sa.Column("passport_id", sa.Uuid(), nullable=True))
        op.create_foreign_key(op.f(f"fk_{table}_passport_id"), table, "passports", ["passport_id"], ["id"])
    op.execute("ALTER TABLE findings ADD CONSTRAINT ck_findings_has_passport CHECK (passport_id IS NOT NULL) NOT VALID")
    op.execute(
        "ALTER TABLE verdicts ADD CONSTRAINT ck_verdicts_engine_has_passport "
        "CHECK ((engine_id IS NULL) = (passport_id IS NULL)) NOT VALID"
    )


def downgrade() -> None:
    """Take back; the findings stay, what proved their engines goes."""
    op.drop_constraint(op.f("ck_verdicts_engine_has_passport"), "verdicts", type_="check")
    op.drop_constraint(op.f("ck_findings_has_passport"), "findings", type_="check")
    for table in ("verdicts", "findings"):
        op.drop_constraint(op.f(f"fk_{table}_passport_id"), table, type_="foreignkey")
        op.drop_column(table, "passport_id")
    op.drop_table("serving")
    op.drop_index(op.f("ix_passports_model_sha256_measured_at"), table_name="passports")
    op.drop_index(op.f("ix_passports_engine_id_machine_measured_at"), table_name="passports")
    op.drop_table("passports")
    op.drop_index(op.f("ix_models_name"), table_name="models")
    op.drop_table("models")
