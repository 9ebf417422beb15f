"""One life for each frame, kept by the database; accepted and given up, counted apart; a fair queue; batch times."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

GUARDS = """
CREATE FUNCTION gistline_frame_life() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        RAISE EXCEPTION 'frame % cannot begin as %: frames begin as pending', NEW.id, NEW.state
            USING ERRCODE = 'check_violation', CONSTRAINT = 'frames_one_life';
    ELSIF TG_OP = 'UPDATE' THEN
        IF NOT (OLD.state || ' ' || NEW.state) = ANY (ARRAY[
            'pending running', 'pending inspected', 'pending failed', 'pending expired',
            'running pending', 'running inspected', 'running failed',
            'failed pending'
        ]) THEN
            RAISE EXCEPTION 'frame % cannot go from % to %', OLD.id, OLD.state, NEW.state
                USING ERRCODE = 'check_violation', CONSTRAINT = 'frames_one_life';
        END IF;
        RETURN NEW;
    ELSIF current_setting('gistline.retention', true) IS DISTINCT FROM 'on' THEN
        RAISE EXCEPTION 'frame % cannot be deleted: an accepted frame is never lost', OLD.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'frames_one_life',
            HINT = 'Retention may: it sets gistline.retention to on in its transaction.';
    END IF;
    RETURN OLD;
END
$$;
CREATE TRIGGER frames_begin_pending BEFORE INSERT ON frames
    FOR EACH ROW WHEN (NEW.state <> 'pending') EXECUTE FUNCTION gistline_frame_life();
CREATE TRIGGER frames_one_life BEFORE UPDATE OF state ON frames
    FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION gistline_frame_life();
CREATE TRIGGER frames_stay BEFORE DELETE ON frames
    FOR EACH ROW EXECUTE FUNCTION gistline_frame_life();
"""


def upgrade() -> None:
    """Apply. What was accepted until now is counted from the rows: one submission for each camera."""
    op.add_column("cameras", sa.Column("priority", sa.BigInteger(), server_default="5", nullable=False))
    op.create_check_constraint(op.f("ck_cameras_priority_in_range"), "cameras", "priority BETWEEN 0 AND 9")
    _queue_columns()
    _submissions()
    _dead_letters()
    _batches()
    op.execute(GUARDS)


def downgrade() -> None:
    """Take back; frames and findings stay, the counts and letters about them go."""
    for trigger in ("frames_begin_pending", "frames_one_life", "frames_stay"):
        op.execute(f"DROP TRIGGER {trigger} ON frames")
    op.execute("DROP FUNCTION gistline_frame_life()")
    for table in ("drains", "batches", "dead_letters", "submissions"):
        op.drop_table(table)
    op.drop_index("ix_frames_camera_queue", table_name="frames")
    _queue_indexes("accepted_at")
    op.drop_column("frames", "rings")
    op.drop_column("frames", "queue_at")
    op.drop_constraint(op.f("ck_cameras_priority_in_range"), "cameras", type_="check")
    op.drop_column("cameras", "priority")


def _queue_columns() -> None:
    now = sa.text("now()")
    op.add_column("frames", sa.Column("queue_at", sa.DateTime(timezone=True), server_default=now, nullable=False))
    op.add_column("frames", sa.Column("rings", sa.BigInteger(), server_default="0", nullable=False))
    # Only what still waits has a place in the queue; final rows need not be rewritten.
    op.execute("UPDATE frames SET queue_at = accepted_at WHERE state IN ('pending', 'running')")
    _queue_indexes("queue_at")
    waiting = sa.text("state = 'pending'")
    op.create_index("ix_frames_camera_queue", "frames", ["camera_id", "queue_at"], postgresql_where=waiting)


def _queue_indexes(order: str) -> None:
    waiting = "state = 'pending'"
    suspect = f"{waiting} AND (attempts > 0 OR error IS NOT NULL)"
    for name, where in (("ix_frames_pending", waiting), ("ix_frames_suspect", suspect)):
        op.drop_index(name, table_name="frames")
        op.create_index(name, "frames", ["priority", order, "id"], postgresql_where=sa.text(where))


def _submissions() -> None:
    op.create_table(
        "submissions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("camera_id", sa.BigInteger(), nullable=False),
        sa.Column("frames", sa.BigInteger(), nullable=False),
        sa.Column("accepted_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("frames > 0", name=op.f("ck_submissions_brings_frames")),
        sa.ForeignKeyConstraint(["camera_id"], ["cameras.id"], name=op.f("fk_submissions_camera_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_submissions")),
    )
    op.execute(
        "INSERT INTO submissions (id, camera_id, frames, accepted_at) "
        "SELECT gen_random_uuid(), camera_id, count(*), max(accepted_at) FROM frames GROUP BY camera_id"
    )


def _dead_letters() -> None:
    op.create_table(
        "dead_letters",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("frame_id", sa.Uuid(), nullable=False),
        sa.Column("kind", _one_of("kind", "quarantined", "failed"), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("resolution", _one_of("resolution", "retried", "discarded"), nullable=True),
        sa.Column("resolved_by", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(resolved_at IS NULL) = (resolution IS NULL)", name=op.f("ck_dead_letters_resolution_has_time")
        ),
        sa.CheckConstraint(
            "(resolved_at IS NULL) = (resolved_by IS NULL)", name=op.f("ck_dead_letters_resolution_has_author")
        ),
        sa.ForeignKeyConstraint(["frame_id"], ["frames.id"], name=op.f("fk_dead_letters_frame_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dead_letters")),
    )
    op.create_index("ix_dead_letters_frame_id", "dead_letters", ["frame_id"])
    unresolved = sa.text("resolved_at IS NULL")
    op.create_index("uq_dead_letters_open", "dead_letters", ["frame_id"], unique=True, postgresql_where=unresolved)
    op.execute(
        "INSERT INTO dead_letters (id, frame_id, kind, reason, attempts, created_at) "
        "SELECT gen_random_uuid(), id, 'failed', coalesce(error, 'unknown'), attempts, finished_at "
        "FROM frames WHERE state = 'failed'"
    )


def _batches() -> None:
    seconds = ("queue_s", "queue_max_s", "fetch_s", "decode_s", "infer_s", "post_s", "commit_s", "total_s")
    op.create_table(
        "batches",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("engine_id", sa.BigInteger(), nullable=True),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("frames", "failed", "cameras")),
        *(sa.Column(name, sa.Float(), nullable=False) for name in seconds),
        sa.ForeignKeyConstraint(["engine_id"], ["engines.id"], name=op.f("fk_batches_engine_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
    )
    op.create_index(op.f("ix_batches_claimed_at"), "batches", ["claimed_at"])
    op.create_table(
        "drains",
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("worker", name=op.f("pk_drains")),
    )


def _one_of(name: str, *values: str) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=16)
