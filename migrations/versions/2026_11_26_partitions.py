"""Frames, findings, verdicts, their places in reports, submissions and batches, cut by time.

No row is copied but those of ``report_findings``: each table becomes the first partition of its successor. That
partition ends with tomorrow; the workers make the next ones. Rows whose ids say that they are of a later time (random
ids, a clock ahead) move into the partition for everything else.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from uuid import UUID

import sqlalchemy as sa
from alembic import op

revision = "0009_partitions"
down_revision = "0007_savings"
branch_labels = None
depends_on = None

CUT = {
    "frames": "id",
    "findings": "frame_id",
    "verdicts": "frame_id",
    "report_findings": "frame_id",
    "submissions": "id",
    "batches": "id",
}
"""Each table and the id of version 7 by which it is cut."""
LINKS = (
    ("findings", "frame_id", "frames", "id"),
    ("verdicts", "frame_id", "frames", "id"),
    ("report_findings", "frame_id, finding_id", "findings", "frame_id, id"),
)
"""Foreign keys between partitions of the same time."""
FOREIGN_KEYS = {
    "frames": (("camera_id", "cameras"), ("engine_id", "engines"), ("report_window_id", "report_windows")),
    "findings": (("engine_id", "engines"), ("passport_id", "passports")),
    "verdicts": (("engine_id", "engines"), ("passport_id", "passports")),
    "report_findings": (("report_id", "reports"),),
    "submissions": (("camera_id", "cameras"),),
    "batches": (("engine_id", "engines"),),
}
KEYS = {
    "frames": "id",
    "findings": "frame_id, id",
    "verdicts": "frame_id",
    "report_findings": "frame_id, finding_id",
    "submissions": "id",
    "batches": "id",
}
PLAIN_KEYS = KEYS | {"findings": "id", "report_findings": "finding_id"}
BOX = "frame_id, engine_id, label, x, y, w, h"
INDEXES = (
    ("ix_frames_pending", "frames", "priority, queue_at, id", "state = 'pending'"),
    ("ix_frames_camera_queue", "frames", "camera_id, queue_at", "state = 'pending'"),
    ("ix_frames_running", "frames", "lease_until", "state = 'running'"),
    ("ix_frames_unreported", "frames", "line, finished_at", "report_window_id IS NULL AND finished_at IS NOT NULL"),
    ("ix_frames_kept", "frames", "finished_at", "bytes_stored AND finished_at IS NOT NULL"),
    (
        "ix_frames_suspect",
        "frames",
        "priority, queue_at, id",
        "state = 'pending' AND (attempts > 0 OR error IS NOT NULL)",
    ),
    ("ix_frames_deadline", "frames", "expires_at", "state = 'pending' AND expires_at IS NOT NULL"),
    ("ix_frames_sha256", "frames", "sha256", "bytes_stored"),
    ("ix_frames_report_window_id", "frames", "report_window_id", "true"),
    ("ix_report_findings_report_id", "report_findings", "report_id", "true"),
    ("ix_batches_claimed_at", "batches", "claimed_at", "true"),
)
NOT_VALID = (
    ("findings", "ck_findings_has_passport", "passport_id IS NOT NULL"),
    ("verdicts", "ck_verdicts_engine_has_passport", "(engine_id IS NULL) = (passport_id IS NULL)"),
)
"""Checks that rows older than passports need not meet."""
TRIGGERS = """
CREATE TRIGGER frames_begin_pending BEFORE INSERT ON frames
    FOR EACH ROW WHEN (NEW.state <> 'pending') EXECUTE FUNCTION gistline_frame_life();
CREATE TRIGGER frames_one_life BEFORE UPDATE OF state ON frames
    FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION gistline_frame_life();
CREATE TRIGGER frames_stay BEFORE DELETE ON frames
    FOR EACH ROW EXECUTE FUNCTION gistline_frame_life();
"""


def upgrade() -> None:
    """Apply. It reads the old tables and builds indexes, so it takes minutes on tens of millions of rows."""
    _frame_keys()
    _retired_partitions()
    for name, table in (("frame_id", "findings"), ("frame_id", "verdicts"), ("frame_id", "dead_letters")):
        op.drop_constraint(op.f(f"fk_{table}_{name}"), table, type_="foreignkey")
    _drop_triggers()
    op.drop_constraint(op.f("uq_frames_camera_id_idempotency_key"), "frames", type_="unique")
    op.drop_index("ix_frames_sha256", table_name="frames")
    op.execute("CREATE INDEX ix_frames_sha256 ON frames (sha256) WHERE bytes_stored")
    _place_report_findings()
    op.execute(
        "ALTER TABLE findings DROP CONSTRAINT pk_findings, ADD CONSTRAINT pk_findings PRIMARY KEY (frame_id, id)"
    )
    bound = _tomorrows_end()
    for table, column in CUT.items():
        _cut(table, column, bound)
    op.execute(TRIGGERS)
    for suffix in ("first", "default"):
        for table, columns, other, referred in LINKS:
            op.execute(
                f"ALTER TABLE {table}_{suffix} ADD CONSTRAINT fk_{table}_{suffix}_{other} "
                f"FOREIGN KEY ({columns}) REFERENCES {other}_{suffix} ({referred})"
            )


def downgrade() -> None:
    """Take back: copies every row, and counts what was accepted from the frames that are left."""
    _drop_triggers()
    for table in CUT:
        _uncut(table)
    op.execute(f"DROP TABLE {', '.join(CUT)}")
    for table in CUT:
        op.execute(f"ALTER TABLE {table}_plain RENAME TO {table}")
        _constrain(table, PLAIN_KEYS[table])
    op.execute("CREATE INDEX ix_frames_sha256_all ON frames (sha256)")
    op.execute("DROP INDEX ix_frames_sha256")
    op.execute("ALTER INDEX ix_frames_sha256_all RENAME TO ix_frames_sha256")
    op.execute(
        "UPDATE frames SET idempotency_key = idempotency_key || ' ' || id "
        "FROM (SELECT id AS old, row_number() OVER (PARTITION BY camera_id, idempotency_key ORDER BY id DESC) AS place "
        "FROM frames) f WHERE id = old AND place > 1"
    )
    op.create_unique_constraint(op.f("uq_frames_camera_id_idempotency_key"), "frames", ["camera_id", "idempotency_key"])
    op.execute("DELETE FROM dead_letters l WHERE NOT EXISTS (SELECT FROM frames f WHERE f.id = l.frame_id)")
    for table in ("findings", "verdicts", "dead_letters"):
        op.create_foreign_key(op.f(f"fk_{table}_frame_id"), table, "frames", ["frame_id"], ["id"])
    op.create_foreign_key(op.f("fk_report_findings_finding_id"), "report_findings", "findings", ["finding_id"], ["id"])
    op.execute("DELETE FROM submissions")
    op.execute(
        "INSERT INTO submissions (id, camera_id, frames, accepted_at) "
        "SELECT gen_random_uuid(), camera_id, count(*), max(accepted_at) FROM frames GROUP BY camera_id"
    )
    op.execute(TRIGGERS)
    op.drop_table("retired_partitions")
    op.drop_table("frame_keys")


def _frame_keys() -> None:
    op.create_table(
        "frame_keys",
        sa.Column("camera_id", sa.BigInteger(), nullable=False),
        sa.Column("frame_key", sa.Text(), nullable=False),
        sa.Column("frame_id", sa.Uuid(), nullable=False),
    )
    op.execute("INSERT INTO frame_keys SELECT camera_id, idempotency_key, id FROM frames")
    op.create_primary_key(op.f("pk_frame_keys"), "frame_keys", ["camera_id", "frame_key"])
    op.create_foreign_key(op.f("fk_frame_keys_camera_id"), "frame_keys", "cameras", ["camera_id"], ["id"])
    op.create_index(op.f("ix_frame_keys_frame_id"), "frame_keys", ["frame_id"])


def _retired_partitions() -> None:
    counts = ("accepted", "inspected", "failed", "expired", "findings")
    op.create_table(
        "retired_partitions",
        sa.Column("partition", sa.Text(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in counts),
        sa.Column("retired_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("partition", name=op.f("pk_retired_partitions")),
    )


def _place_report_findings() -> None:
    """Say of each which frame it is of; copied, since an update would leave as many dead rows behind."""
    op.execute("ALTER TABLE report_findings RENAME TO report_findings_old")
    op.execute(
        "CREATE TABLE report_findings (frame_id uuid NOT NULL, finding_id bigint NOT NULL, report_id uuid NOT NULL, "
        "placement varchar(16) NOT NULL)"
    )
    op.execute(
        "INSERT INTO report_findings SELECT f.frame_id, f.id, o.report_id, o.placement "
        "FROM report_findings_old o JOIN findings f ON f.id = o.finding_id"
    )
    op.execute("DROP TABLE report_findings_old")
    op.execute(
        "ALTER TABLE report_findings "
        "ADD CONSTRAINT pk_report_findings PRIMARY KEY (frame_id, finding_id), "
        "ADD CONSTRAINT ck_report_findings_placement "
        "CHECK (placement IN ('row', 'aggregate', 'totals', 'deferred')), "
        "ADD CONSTRAINT fk_report_findings_report_id FOREIGN KEY (report_id) REFERENCES reports (id)"
    )
    op.execute("CREATE INDEX ix_report_findings_report_id ON report_findings (report_id)")


def _cut(table: str, column: str, bound: UUID) -> None:
    """Make the table the first partition of one with its name."""
    first = f"{table}_first"
    next_id = _without_identity(table)
    op.execute(f"ALTER TABLE {table} RENAME TO {first}")
    for index in _indexes(first):
        op.execute(f"ALTER INDEX {index} RENAME TO {index.replace(table, first)}")
    op.execute(
        f"CREATE TABLE {table} (LIKE {first} INCLUDING DEFAULTS INCLUDING CONSTRAINTS) PARTITION BY RANGE ({column})"
    )
    if next_id:
        op.execute(f"ALTER TABLE {table} ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (START WITH {next_id})")
    _loosen(table)
    _constrain(table, KEYS[table])
    op.execute(f"CREATE TABLE {table}_default (LIKE {table} INCLUDING ALL EXCLUDING IDENTITY)")
    _loosen(f"{table}_default", table)
    op.execute(
        f"WITH moved AS (DELETE FROM {first} WHERE {column} >= '{bound}' RETURNING *) "  # noqa: S608 - names from above
        f"INSERT INTO {table}_default SELECT * FROM moved"
    )
    op.execute(f"ALTER TABLE {table} ATTACH PARTITION {first} FOR VALUES FROM (MINVALUE) TO ('{bound}')")
    op.execute(f"ALTER TABLE {table} ATTACH PARTITION {table}_default DEFAULT")


def _uncut(table: str) -> None:
    """Copy the rows into a table that is whole."""
    op.execute(f"CREATE TABLE {table}_plain (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
    for checked, check, _ in NOT_VALID:
        if checked == table:
            op.execute(f"ALTER TABLE {table}_plain DROP CONSTRAINT {check}")
    op.execute(f"INSERT INTO {table}_plain SELECT * FROM {table}")  # noqa: S608 - names from above
    for checked, check, condition in NOT_VALID:
        if checked == table:
            op.execute(f"ALTER TABLE {table}_plain ADD CONSTRAINT {check} CHECK ({condition}) NOT VALID")
    if table == "findings":
        last = op.get_bind().scalar(sa.text("SELECT coalesce(max(id), 0) FROM findings"))
        op.execute(
            f"ALTER TABLE {table}_plain ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (START WITH {last + 1})"
        )
    if table == "report_findings":
        op.execute(f"ALTER TABLE {table}_plain DROP COLUMN frame_id")


def _constrain(table: str, key: str) -> None:
    op.execute(f"ALTER TABLE {table} ADD CONSTRAINT pk_{table} PRIMARY KEY ({key})")
    if table == "findings":
        name = f"uq_findings_{BOX.replace(', ', '_')}"
        op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} UNIQUE ({BOX})")
    for column, other in FOREIGN_KEYS[table]:
        op.create_foreign_key(op.f(f"fk_{table}_{column}"), table, other, [column], ["id"])
    for name, of, columns, condition in INDEXES:
        if of == table:
            where = "" if condition == "true" else f" WHERE {condition}"
            op.execute(f"CREATE INDEX {name} ON {table} ({columns}){where}")


def _loosen(relation: str, table: str | None = None) -> None:
    """Copying a table's checks makes those valid that are not; a partition must not be laxer than its table."""
    for checked, check, condition in NOT_VALID:
        if checked == (table or relation):
            op.execute(f"ALTER TABLE {relation} DROP CONSTRAINT {check}")
            op.execute(f"ALTER TABLE {relation} ADD CONSTRAINT {check} CHECK ({condition}) NOT VALID")


def _without_identity(table: str) -> int:
    """Take a partition's own numbering away; returns the next number for the whole table, 0 where there is none."""
    if table != "findings":
        return 0
    last: int = op.get_bind().execute(sa.text("SELECT coalesce(max(id), 0) FROM findings")).scalar_one()
    op.execute("ALTER TABLE findings ALTER COLUMN id DROP IDENTITY")
    return last + 1


def _indexes(table: str) -> list[str]:
    found = sa.text("SELECT indexname FROM pg_indexes WHERE schemaname = current_schema AND tablename = :table")
    return list(op.get_bind().scalars(found, {"table": table}))


def _drop_triggers() -> None:
    for trigger in ("frames_begin_pending", "frames_one_life", "frames_stay"):
        op.execute(f"DROP TRIGGER {trigger} ON frames")


def _tomorrows_end() -> UUID:
    end = datetime.combine(datetime.now(UTC).date() + timedelta(days=2), time(), UTC)
    return UUID(int=int(end.timestamp() * 1000) << 80)
