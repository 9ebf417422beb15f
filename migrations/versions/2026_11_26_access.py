"""People, their sessions, programs' keys, and an audit that cannot be altered."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005_access"
down_revision = "0004_calls"
branch_labels = None
depends_on = None

GUARD = """
CREATE FUNCTION gistline_audit_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('gistline.retention', true) = 'on' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'the audit cannot be altered'
        USING ERRCODE = 'check_violation', CONSTRAINT = 'audit_log_stays',
        HINT = 'Retention may remove old rows: it sets gistline.retention to on in its transaction.';
END
$$;
CREATE TRIGGER audit_log_stays BEFORE UPDATE OR DELETE ON audit_log
    FOR EACH ROW EXECUTE FUNCTION gistline_audit_stays();
CREATE TRIGGER audit_log_is_not_truncated BEFORE TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION gistline_audit_stays();
"""


def upgrade() -> None:
    """Apply. Cameras' keys stay good; nobody can sign in before the first person is added."""
    _callers("programs")
    op.add_column("api_keys", sa.Column("program_id", sa.BigInteger(), nullable=True))
    op.create_foreign_key(op.f("fk_api_keys_program_id"), "api_keys", "programs", ["program_id"], ["id"])
    op.create_index(op.f("ix_api_keys_program_id"), "api_keys", ["program_id"])
    op.alter_column("api_keys", "camera_id", nullable=True)
    op.add_column("api_keys", sa.Column("prefix", sa.Text(), nullable=True))
    for moment in ("expires_at", "used_at"):
        op.add_column("api_keys", sa.Column(moment, sa.DateTime(timezone=True), nullable=True))
    op.create_check_constraint(op.f("ck_api_keys_has_one_owner"), "api_keys", "num_nonnulls(camera_id, program_id) = 1")
    _callers(
        "people",
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
    )
    _sessions()
    _audit()


def downgrade() -> None:
    """Take back; people, programs' keys and the audit go."""
    for table in ("audit_log", "sign_in_attempts", "sessions", "people"):
        op.drop_table(table)
    op.execute("DROP FUNCTION gistline_audit_stays()")
    op.drop_constraint(op.f("ck_api_keys_has_one_owner"), "api_keys", type_="check")
    op.execute("DELETE FROM api_keys WHERE camera_id IS NULL")
    # what was replaced and is good for a while longer would be good for ever
    op.execute("UPDATE api_keys SET revoked_at = now() WHERE revoked_at IS NULL AND expires_at IS NOT NULL")
    for column in ("program_id", "prefix", "expires_at", "used_at"):
        op.drop_column("api_keys", column)
    op.alter_column("api_keys", "camera_id", nullable=False)
    op.drop_table("programs")


def _callers(table: str, *more: sa.Column[object]) -> None:
    op.create_table(
        table,
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", _one_of("role", "viewer", "operator", "admin"), nullable=False),
        sa.Column("lines", sa.ARRAY(sa.Text()), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        *more,
        sa.CheckConstraint("role <> 'admin' OR lines IS NULL", name=op.f(f"ck_{table}_admin_sees_all")),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint("name", name=op.f(f"uq_{table}_name")),
    )


def _sessions() -> None:
    now = sa.text("now()")
    op.create_table(
        "sessions",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("person_id", sa.BigInteger(), nullable=False),
        sa.Column("token_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_sessions_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
        sa.UniqueConstraint("token_sha256", name=op.f("uq_sessions_token_sha256")),
    )
    op.create_index(op.f("ix_sessions_person_id"), "sessions", ["person_id"])
    op.create_table(
        "sign_in_attempts",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("name_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("tried_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sign_in_attempts")),
    )
    for column in ("name_sha256", "address"):
        op.create_index(op.f(f"ix_sign_in_attempts_{column}_tried_at"), "sign_in_attempts", [column, "tried_at"])


def _audit() -> None:
    op.create_table(
        "audit_log",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("actor", "action", "subject")),
        sa.Column("detail", sa.dialects.postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.CheckConstraint("actor <> ''", name=op.f("ck_audit_log_has_actor")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
    )
    op.create_index(op.f("ix_audit_log_subject_id"), "audit_log", ["subject", "id"])
    op.execute(GUARD)


def _one_of(name: str, *values: str) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=16)
