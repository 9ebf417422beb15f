"""Every finding of a reported window has one place, held by the database; windows may wait for a later report."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012_placements"
down_revision = "0011_feedback"
branch_labels = None
depends_on = None

GUARDS = """
CREATE FUNCTION gistline_report_complete() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    expected bigint;
    placed bigint;
    total bigint;
BEGIN
    SELECT count(*), count(rf.finding_id) INTO expected, placed
    FROM report_windows w
    JOIN frames fr ON fr.report_window_id = w.id
    JOIN findings f ON f.frame_id = fr.id
    LEFT JOIN report_findings rf ON rf.frame_id = f.frame_id AND rf.finding_id = f.id AND rf.report_id = NEW.id
    WHERE w.id = NEW.window_id OR w.told_with = NEW.window_id;
    SELECT count(*) INTO total FROM report_findings WHERE report_id = NEW.id;
    IF placed <> expected OR total <> placed OR total <> NEW.findings THEN
        RAISE EXCEPTION 'report % has % places, % of them for the % findings of its windows, and says %',
            NEW.id, total, placed, expected, NEW.findings
            USING ERRCODE = 'check_violation', CONSTRAINT = 'reports_place_every_finding';
    END IF;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER reports_place_every_finding AFTER INSERT ON reports
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION gistline_report_complete();

CREATE FUNCTION gistline_report_closed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    full_one uuid;
BEGIN
    SELECT r.id INTO full_one
    FROM (SELECT DISTINCT report_id FROM added) a JOIN reports r ON r.id = a.report_id
    WHERE (SELECT count(*) FROM report_findings rf WHERE rf.report_id = r.id) > r.findings
    LIMIT 1;
    IF full_one IS NOT NULL THEN
        RAISE EXCEPTION 'report % has all its findings already', full_one
            USING ERRCODE = 'check_violation', CONSTRAINT = 'report_findings_one_place';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER report_findings_closed_insert AFTER INSERT ON report_findings
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION gistline_report_closed();
CREATE TRIGGER report_findings_closed_update AFTER UPDATE ON report_findings
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION gistline_report_closed();

CREATE FUNCTION gistline_place_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.placement = 'deferred' THEN
        RETURN NEW;
    ELSIF TG_OP = 'DELETE' AND current_setting('gistline.retention', true) = 'on' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'finding % has its place in report %', OLD.finding_id, OLD.report_id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'report_findings_one_place',
        HINT = 'Only a deferred finding moves to a later report; retention sets gistline.retention to on.';
END
$$;
CREATE TRIGGER report_findings_kept BEFORE UPDATE OR DELETE ON report_findings
    FOR EACH ROW EXECUTE FUNCTION gistline_place_kept();
"""


def upgrade() -> None:
    """Apply. Reports written until now have as many findings as there are places."""
    op.add_column("report_windows", sa.Column("deferred", sa.Boolean(), server_default="false", nullable=False))
    op.add_column("report_windows", sa.Column("told_with", sa.Uuid(), nullable=True))
    op.create_foreign_key(
        op.f("fk_report_windows_told_with"), "report_windows", "report_windows", ["told_with"], ["id"]
    )
    op.create_index(op.f("ix_report_windows_told_with"), "report_windows", ["told_with"])
    waiting = sa.text("deferred AND told_with IS NULL")
    op.create_index("ix_report_windows_waiting", "report_windows", ["line"], postgresql_where=waiting)
    op.add_column("reports", sa.Column("findings", sa.BigInteger(), server_default="0", nullable=False))
    op.execute(
        "UPDATE reports SET findings = counted.number FROM ("
        " SELECT report_id, count(*) AS number FROM report_findings GROUP BY report_id"
        ") AS counted WHERE counted.report_id = reports.id"
    )
    op.alter_column("reports", "findings", server_default=None)
    op.execute(GUARDS)


def downgrade() -> None:
    """Take back; findings that wait have their place in the report that deferred them."""
    op.execute("DROP TRIGGER report_findings_kept ON report_findings")
    for event in ("insert", "update"):
        op.execute(f"DROP TRIGGER report_findings_closed_{event} ON report_findings")
    op.execute("DROP TRIGGER reports_place_every_finding ON reports")
    for function in ("report_complete", "report_closed", "place_kept"):
        op.execute(f"DROP FUNCTION gistline_{function}()")
    op.drop_column("reports", "findings")
    op.drop_index("ix_report_windows_waiting", table_name="report_windows", postgresql_where=sa.text("deferred"))
    op.drop_index(op.f("ix_report_windows_told_with"), table_name="report_windows")
    op.drop_constraint(op.f("fk_report_windows_told_with"), "report_windows", type_="foreignkey")
    op.drop_column("report_windows", "told_with")
    op.drop_column("report_windows", "deferred")
