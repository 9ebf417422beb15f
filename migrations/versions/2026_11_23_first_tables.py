"""The first tables: cameras, frames, findings, verdicts, windows, reports and the ledger."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "cameras",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cameras")),
        sa.UniqueConstraint("name", name=op.f("uq_cameras_name")),
    )
    op.create_table(
        "engines",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("weights_sha256", sa.Text(), nullable=False),
        sa.Column("runtime", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("precision", sa.Text(), nullable=False),
        sa.Column("convolutions", sa.BigInteger(), nullable=False),
        sa.Column("int8_convolutions", sa.BigInteger(), nullable=False),
        sa.Column("labels", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_engines")),
        sa.UniqueConstraint(
            "weights_sha256",
            "runtime",
            "device",
            "precision",
            "int8_convolutions",
            name=op.f("uq_engines_identity"),
        ),
    )
    op.create_table(
        "prices_used",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("source_version", sa.Text(), nullable=False),
        sa.Column("vector", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("vector_sha256", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prices_used")),
        sa.UniqueConstraint("vector_sha256", name=op.f("uq_prices_used_vector_sha256")),
    )
    op.create_table(
        "report_windows",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "pending",
                "running",
                "written",
                "failed",
                name="state",
                native_enum=False,
                create_constraint=True,
                length=16,
            ),
            server_default="pending",
            nullable=False,
        ),
        sa.Column("attempts", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("token", sa.Uuid(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("available_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(state = 'running') = (lease_until IS NOT NULL)", name=op.f("ck_report_windows_running_has_lease")
        ),
        sa.CheckConstraint("ends_at > starts_at", name=op.f("ck_report_windows_ends_after_start")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_report_windows")),
    )
    op.create_index(
        op.f("ix_report_windows_available_at"),
        "report_windows",
        ["available_at"],
        unique=False,
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index(
        op.f("ix_report_windows_lease_until"),
        "report_windows",
        ["lease_until"],
        unique=False,
        postgresql_where=sa.text("state = 'running'"),
    )
    op.create_index(op.f("ix_report_windows_line_starts_at"), "report_windows", ["line", "starts_at"], unique=False)
    op.create_table(
        "api_keys",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("camera_id", sa.BigInteger(), nullable=False),
        sa.Column("key_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["camera_id"], ["cameras.id"], name=op.f("fk_api_keys_camera_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("key_sha256", name=op.f("uq_api_keys_key_sha256")),
    )
    op.create_index(op.f("ix_api_keys_camera_id"), "api_keys", ["camera_id"], unique=False)
    op.create_table(
        "frames",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("camera_id", sa.BigInteger(), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.Column("part_number", sa.Text(), nullable=True),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("byte_count", sa.BigInteger(), nullable=False),
        sa.Column("width", sa.BigInteger(), nullable=False),
        sa.Column("height", sa.BigInteger(), nullable=False),
        sa.Column("bytes_stored", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("captured_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("accepted_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "pending",
                "running",
                "inspected",
                "failed",
                "expired",
                name="state",
                native_enum=False,
                create_constraint=True,
                length=16,
            ),
            server_default="pending",
            nullable=False,
        ),
        sa.Column("priority", sa.BigInteger(), server_default="5", nullable=False),
        sa.Column("attempts", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("token", sa.Uuid(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("available_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.Column("engine_id", sa.BigInteger(), nullable=True),
        sa.Column("report_window_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint("(state = 'running') = (lease_until IS NOT NULL)", name=op.f("ck_frames_running_has_lease")),
        sa.CheckConstraint(
            "(state IN ('inspected', 'failed', 'expired')) = (finished_at IS NOT NULL)",
            name=op.f("ck_frames_final_has_end"),
        ),
        sa.ForeignKeyConstraint(["camera_id"], ["cameras.id"], name=op.f("fk_frames_camera_id")),
        sa.ForeignKeyConstraint(["engine_id"], ["engines.id"], name=op.f("fk_frames_engine_id")),
        sa.ForeignKeyConstraint(["report_window_id"], ["report_windows.id"], name=op.f("fk_frames_report_window_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_frames")),
        sa.UniqueConstraint("camera_id", "idempotency_key", name=op.f("uq_frames_camera_id_idempotency_key")),
    )
    op.create_index(
        "ix_frames_kept",
        "frames",
        ["finished_at"],
        unique=False,
        postgresql_where=sa.text("bytes_stored AND finished_at IS NOT NULL"),
    )
    op.create_index(
        "ix_frames_pending",
        "frames",
        ["priority", "accepted_at", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index(op.f("ix_frames_report_window_id"), "frames", ["report_window_id"], unique=False)
    op.create_index(
        "ix_frames_suspect",
        "frames",
        ["priority", "accepted_at", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'pending' AND (attempts > 0 OR error IS NOT NULL)"),
    )
    op.create_index(
        "ix_frames_deadline",
        "frames",
        ["expires_at"],
        unique=False,
        postgresql_where=sa.text("state = 'pending' AND expires_at IS NOT NULL"),
    )
    op.create_index(
        "ix_frames_running", "frames", ["lease_until"], unique=False, postgresql_where=sa.text("state = 'running'")
    )
    op.create_index(op.f("ix_frames_sha256"), "frames", ["sha256"], unique=False)
    op.create_index(
        "ix_frames_unreported",
        "frames",
        ["line", "finished_at"],
        unique=False,
        postgresql_where=sa.text("report_window_id IS NULL AND finished_at IS NOT NULL"),
    )
    op.create_table(
        "llm_attempts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("window_id", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "sent", "paid", "refused", "unknown", name="state", native_enum=False, create_constraint=True, length=16
            ),
            server_default="sent",
            nullable=False,
        ),
        sa.Column("writer", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("simulated", sa.Boolean(), nullable=False),
        sa.Column("body_sha256", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("http_status", sa.BigInteger(), nullable=True),
        sa.Column("input_tokens", sa.BigInteger(), nullable=True),
        sa.Column("output_tokens", sa.BigInteger(), nullable=True),
        sa.Column("cache_read_tokens", sa.BigInteger(), nullable=True),
        sa.Column("cache_write_5m_tokens", sa.BigInteger(), nullable=True),
        sa.Column("cache_write_1h_tokens", sa.BigInteger(), nullable=True),
        sa.Column("usd", sa.Numeric(precision=20, scale=12), nullable=True),
        sa.Column("price_id", sa.BigInteger(), nullable=True),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state <> 'paid' OR (usd IS NOT NULL AND price_id IS NOT NULL)", name=op.f("ck_llm_attempts_paid_has_price")
        ),
        sa.ForeignKeyConstraint(["price_id"], ["prices_used.id"], name=op.f("fk_llm_attempts_price_id")),
        sa.ForeignKeyConstraint(["window_id"], ["report_windows.id"], name=op.f("fk_llm_attempts_window_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_llm_attempts")),
        sa.UniqueConstraint("window_id", "attempt", name=op.f("uq_llm_attempts_window_id_attempt")),
    )
    op.create_index(op.f("ix_llm_attempts_sent_at"), "llm_attempts", ["sent_at"], unique=False)
    op.create_table(
        "reports",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("window_id", sa.Uuid(), nullable=False),
        sa.Column("writer", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("totals", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("token_budget", sa.BigInteger(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("prompt_ceiling_tokens", sa.BigInteger(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cost_usd", sa.Numeric(precision=20, scale=12), nullable=False),
        sa.Column("simulated", sa.Boolean(), nullable=False),
        sa.Column("image_tokens", sa.BigInteger(), nullable=False),
        sa.Column("image_usd", sa.Numeric(precision=20, scale=12), nullable=False),
        sa.Column("image_plan", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["window_id"], ["report_windows.id"], name=op.f("fk_reports_window_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reports")),
        sa.UniqueConstraint("window_id", name=op.f("uq_reports_window_id")),
    )
    op.create_index(op.f("ix_reports_created_at"), "reports", ["created_at"], unique=False)
    op.create_table(
        "findings",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("frame_id", sa.Uuid(), nullable=False),
        sa.Column("engine_id", sa.BigInteger(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=False),
        sa.Column("x", sa.Double(), nullable=False),
        sa.Column("y", sa.Double(), nullable=False),
        sa.Column("w", sa.Double(), nullable=False),
        sa.Column("h", sa.Double(), nullable=False),
        sa.Column("severity", sa.BigInteger(), nullable=False),
        sa.Column("min_confidence", sa.Double(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("confidence BETWEEN 0 AND 1", name=op.f("ck_findings_confidence_is_share")),
        sa.CheckConstraint("severity BETWEEN 1 AND 3", name=op.f("ck_findings_severity_in_range")),
        sa.ForeignKeyConstraint(["engine_id"], ["engines.id"], name=op.f("fk_findings_engine_id")),
        sa.ForeignKeyConstraint(["frame_id"], ["frames.id"], name=op.f("fk_findings_frame_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_findings")),
        sa.UniqueConstraint(
            "frame_id",
            "engine_id",
            "label",
            "x",
            "y",
            "w",
            "h",
            name=op.f("uq_findings_frame_id_engine_id_label_x_y_w_h"),
        ),
    )
    op.create_table(
        "verdicts",
        sa.Column("frame_id", sa.Uuid(), nullable=False),
        sa.Column("engine_id", sa.BigInteger(), nullable=True),
        sa.Column(
            "kind",
            sa.Enum("ok", "ng", "reinspect", name="kind", native_enum=False, create_constraint=True, length=16),
            nullable=False,
        ),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("ng_confidence", sa.Double(), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["engine_id"], ["engines.id"], name=op.f("fk_verdicts_engine_id")),
        sa.ForeignKeyConstraint(["frame_id"], ["frames.id"], name=op.f("fk_verdicts_frame_id")),
        sa.PrimaryKeyConstraint("frame_id", name=op.f("pk_verdicts")),
    )
    op.create_table(
        "report_findings",
        sa.Column("finding_id", sa.BigInteger(), nullable=False),
        sa.Column("report_id", sa.Uuid(), nullable=False),
        sa.Column(
            "placement",
            sa.Enum(
                "row",
                "aggregate",
                "totals",
                "deferred",
                name="placement",
                native_enum=False,
                create_constraint=True,
                length=16,
            ),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(["finding_id"], ["findings.id"], name=op.f("fk_report_findings_finding_id")),
        sa.ForeignKeyConstraint(["report_id"], ["reports.id"], name=op.f("fk_report_findings_report_id")),
        sa.PrimaryKeyConstraint("finding_id", name=op.f("pk_report_findings")),
    )
    op.create_index(op.f("ix_report_findings_report_id"), "report_findings", ["report_id"], unique=False)
    op.create_table(
        "worker_heartbeats",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("ready", sa.Boolean(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("beat_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_worker_heartbeats")),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("worker_heartbeats")
    op.drop_index(op.f("ix_report_findings_report_id"), table_name="report_findings")
    op.drop_table("report_findings")
    op.drop_table("verdicts")
    op.drop_table("findings")
    op.drop_index(op.f("ix_reports_created_at"), table_name="reports")
    op.drop_table("reports")
    op.drop_index(op.f("ix_llm_attempts_sent_at"), table_name="llm_attempts")
    op.drop_table("llm_attempts")
    op.drop_index(
        "ix_frames_unreported",
        table_name="frames",
        postgresql_where=sa.text("report_window_id IS NULL AND finished_at IS NOT NULL"),
    )
    op.drop_index(op.f("ix_frames_sha256"), table_name="frames")
    op.drop_index("ix_frames_running", table_name="frames", postgresql_where=sa.text("state = 'running'"))
    op.drop_index(op.f("ix_frames_report_window_id"), table_name="frames")
    op.drop_index("ix_frames_pending", table_name="frames", postgresql_where=sa.text("state = 'pending'"))
    op.drop_index(
        "ix_frames_kept", table_name="frames", postgresql_where=sa.text("bytes_stored AND finished_at IS NOT NULL")
    )
    op.drop_table("frames")
    op.drop_index(op.f("ix_api_keys_camera_id"), table_name="api_keys")
    op.drop_table("api_keys")
    op.drop_index(op.f("ix_report_windows_line_starts_at"), table_name="report_windows")
    op.drop_index(
        op.f("ix_report_windows_lease_until"),
        table_name="report_windows",
        postgresql_where=sa.text("state = 'running'"),
    )
    op.drop_index(
        op.f("ix_report_windows_available_at"),
        table_name="report_windows",
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.drop_table("report_windows")
    op.drop_table("prices_used")
    op.drop_table("engines")
    op.drop_table("cameras")
