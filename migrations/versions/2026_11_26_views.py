"""Views for the customer's own BI tools: names and columns that stay while the tables behind them change."""

from __future__ import annotations

from alembic import op

revision = "0015_views"
down_revision = "0014_budgets"
branch_labels = None
depends_on = None

FRAMES = """
CREATE VIEW v_frames AS
SELECT f.id AS frame_id, f.idempotency_key AS frame_key, c.name AS camera, f.line, f.part_number, f.state,
       v.kind AS verdict, v.reason, f.captured_at, f.accepted_at, f.finished_at, f.width, f.height, f.byte_count,
       f.error
FROM frames f
JOIN cameras c ON c.id = f.camera_id
LEFT JOIN verdicts v ON v.frame_id = f.id
"""

FINDINGS = """
CREATE VIEW v_findings AS
SELECT d.frame_id, d.id AS finding_id, c.name AS camera, f.line, f.part_number, f.captured_at, f.accepted_at, d.label,
       d.confidence, d.severity, d.x, d.y, d.w, d.h, e.model, e.runtime, e.device, e.precision, d.passport_id
FROM findings d
JOIN frames f ON f.id = d.frame_id
JOIN cameras c ON c.id = f.camera_id
JOIN engines e ON e.id = d.engine_id
"""

FINDINGS_DAILY = """
CREATE VIEW v_findings_daily AS
SELECT (f.captured_at AT TIME ZONE 'UTC')::date AS day, f.line, c.name AS camera, d.label, d.severity,
       count(*) AS findings, count(DISTINCT d.frame_id) AS frames
FROM findings d
JOIN frames f ON f.id = d.frame_id
JOIN cameras c ON c.id = f.camera_id
GROUP BY 1, 2, 3, 4, 5
"""

VERDICTS_HOURLY = """
CREATE VIEW v_verdicts_hourly AS
SELECT date_trunc('hour', f.captured_at, 'UTC') AS hour, f.line, c.name AS camera, count(*) AS frames,
       count(*) FILTER (WHERE v.kind = 'ok') AS ok,
       count(*) FILTER (WHERE v.kind = 'ng') AS ng,
       count(*) FILTER (WHERE v.kind = 'reinspect') AS reinspect,
       round(count(*) FILTER (WHERE v.kind = 'ng') / count(*)::numeric, 6) AS ng_share
FROM verdicts v
JOIN frames f ON f.id = v.frame_id
JOIN cameras c ON c.id = f.camera_id
GROUP BY 1, 2, 3
"""

REPORTS = """
CREATE VIEW v_reports AS
SELECT r.id AS report_id, w.id AS window_id, w.line, w.starts_at, w.ends_at, r.writer, r.model, r.body,
       (r.totals #>> '{frames,inspected}')::bigint AS inspected,
       (r.totals #>> '{frames,ng}')::bigint AS ng,
       (r.totals #>> '{frames,reinspect}')::bigint AS reinspect,
       (r.totals #>> '{frames,failed}')::bigint AS failed,
       (r.totals #>> '{frames,expired}')::bigint AS expired,
       (r.totals ->> 'findings')::bigint AS findings,
       r.input_tokens, r.output_tokens, r.cost_usd, r.simulated, r.image_tokens, r.image_usd,
       r.image_usd - r.cost_usd AS saving_usd, r.created_at
FROM reports r
JOIN report_windows w ON w.id = r.window_id
"""

LEDGER = """
CREATE VIEW v_ledger AS
SELECT a.id AS attempt_id, w.line, w.id AS window_id, w.starts_at, a.call, a.attempt, a.state, a.writer, a.model,
       a.simulated, a.input_tokens, a.output_tokens, a.cache_read_tokens, a.cache_write_5m_tokens,
       a.cache_write_1h_tokens, a.usd, a.latency_ms, a.http_status, a.sent_at, a.settled_at
FROM llm_attempts a
JOIN report_windows w ON w.id = a.window_id
"""

COSTS_DAILY = """
CREATE VIEW v_costs_daily AS
WITH told AS (
    SELECT (w.starts_at AT TIME ZONE 'UTC')::date AS day, w.line, r.model, count(*) AS reports,
           sum((r.totals #>> '{frames,inspected}')::bigint + (r.totals #>> '{frames,failed}')::bigint
               + (r.totals #>> '{frames,expired}')::bigint)::bigint AS frames,
           sum((r.totals ->> 'findings')::bigint)::bigint AS findings,
           sum(r.image_tokens)::bigint AS image_tokens, sum(r.image_usd) AS image_usd
    FROM reports r
    JOIN report_windows w ON w.id = r.window_id
    GROUP BY 1, 2, 3
), paid AS (
    SELECT (w.starts_at AT TIME ZONE 'UTC')::date AS day, w.line, a.model,
           sum(a.input_tokens + a.cache_read_tokens + a.cache_write_5m_tokens + a.cache_write_1h_tokens)
               FILTER (WHERE a.state = 'paid')::bigint AS input_tokens,
           sum(a.output_tokens) FILTER (WHERE a.state = 'paid')::bigint AS output_tokens,
           sum(a.usd) FILTER (WHERE a.state = 'paid' AND NOT a.simulated) AS billed_usd,
           sum(a.usd) FILTER (WHERE a.state = 'paid' AND a.simulated) AS simulated_usd,
           count(*) FILTER (WHERE a.state = 'unknown') AS unknown_attempts
    FROM llm_attempts a
    JOIN report_windows w ON w.id = a.window_id
    GROUP BY 1, 2, 3
)
SELECT day, line, model,
       coalesce(told.reports, 0) AS reports, coalesce(told.frames, 0) AS frames, coalesce(told.findings, 0) AS findings,
       coalesce(paid.input_tokens, 0) AS input_tokens, coalesce(paid.output_tokens, 0) AS output_tokens,
       coalesce(paid.billed_usd, 0) AS billed_usd, coalesce(paid.simulated_usd, 0) AS simulated_usd,
       coalesce(paid.unknown_attempts, 0) AS unknown_attempts,
       coalesce(told.image_tokens, 0) AS image_tokens, coalesce(told.image_usd, 0) AS image_usd,
       coalesce(told.image_usd, 0) - coalesce(paid.billed_usd, 0) - coalesce(paid.simulated_usd, 0) AS saving_usd
FROM told FULL JOIN paid USING (day, line, model)
"""

DEAD_LETTERS = """
CREATE VIEW v_dead_letters AS
SELECT l.id AS letter_id, l.frame_id, c.name AS camera, f.line, l.kind, l.reason, l.attempts, l.created_at,
       l.resolution, l.resolved_at, l.resolved_by
FROM dead_letters l
JOIN frames f ON f.id = l.frame_id
JOIN cameras c ON c.id = f.camera_id
"""

CAMERAS = "CREATE VIEW v_cameras AS SELECT name AS camera, line, priority, created_at FROM cameras"

PASSPORTS = """
CREATE VIEW v_passports AS
SELECT p.id AS passport_id, e.model, p.model_sha256, e.runtime, e.device, e.precision, p.machine, p.verdict,
       p.measured_at
FROM passports p
JOIN engines e ON e.id = p.engine_id
"""

VIEWS = (
    FRAMES,
    FINDINGS,
    FINDINGS_DAILY,
    VERDICTS_HOURLY,
    REPORTS,
    LEDGER,
    COSTS_DAILY,
    DEAD_LETTERS,
    CAMERAS,
    PASSPORTS,
)


def upgrade() -> None:
    """Apply."""
    for view in VIEWS:
        op.execute(view)


def downgrade() -> None:
    """Take back."""
    for view in VIEWS:
        op.execute(f"DROP VIEW {view.split()[2]}")
