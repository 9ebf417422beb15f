"""A database with a long past: a million findings, and the windows and reports that count them. Plain SQL.

Only what the pages read is filled in, as the fleet and the report writer would have written it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from gistline.domain import EngineInfo
from gistline.flows.measure_passport import unproven_passport
from gistline.settings import Settings
from gistline.storage import partitions
from gistline.storage.engines import register_engine
from gistline.storage.partitions import CUT_BY, FIRST, Period
from gistline.storage.passports import save_passport
from gistline.storage.session import Sessions, transaction

LABELS: Final = ("open", "short", "mousebite", "spur", "copper", "pin-hole")
ENGINE: Final = EngineInfo("seeded", "5" * 64, "openvino", "CPU", "INT8", LABELS, (640, 640), 41, 39)
LINES: Final = 4
CAMERAS: Final = 8
NG_EVERY: Final = 4
PER_NG: Final = 8
"""Every fourth frame is NG and shows eight findings."""
WINDOW: Final = timedelta(minutes=15)

_CAMERAS = """
INSERT INTO cameras (name, line) SELECT 'cam-' || n, 'line-' || (n % :lines + 1) FROM generate_series(1, :cameras) n"""

_WINDOWS = """
INSERT INTO report_windows (id, line, starts_at, ends_at, state, available_at)
SELECT gen_random_uuid(), 'line-' || l, s, s + interval '15 min', 'written', s
  FROM generate_series(1, :lines) l, generate_series(CAST(:start AS timestamptz), :last, interval '15 min') s"""

_FRAMES = """
INSERT INTO frames (id, camera_id, line, idempotency_key, sha256, media_type, byte_count, width, height, bytes_stored,
                    captured_at, accepted_at, state, finished_at, engine_id, report_window_id, queue_at)
SELECT (lpad(to_hex((extract(epoch FROM f.at) * 1000)::bigint), 12, '0') || '7' || lpad(to_hex(f.n % 4096), 3, '0')
        || '8' || lpad(to_hex(f.n), 15, '0'))::uuid,
       f.camera, f.line, f.n::text, md5(f.n::text) || md5(f.n::text), 'image/jpeg', 90000, 640, 640, f.n % 4 = 0,
       f.at, f.at, 'inspected', f.at + interval '300 ms', :engine, w.id, f.at
  FROM (SELECT n, n % :cameras + 1 AS camera, 'line-' || ((n % :cameras + 1) % :lines + 1) AS line,
               CAST(:start AS timestamptz) + n * (CAST(:stop AS timestamptz) - :start) / :frames AS at
          FROM generate_series(1, :frames) n) f
  LEFT JOIN report_windows w ON w.line = f.line AND f.at >= w.starts_at AND f.at < w.ends_at
       AND w.starts_at = date_bin('15 min', f.at, :start)"""

_VERDICTS = """
INSERT INTO verdicts (frame_id, engine_id, passport_id, kind, reason, ng_confidence, decided_at)
SELECT id, engine_id, :passport, CASE WHEN bytes_stored THEN 'ng' ELSE 'ok' END, 'seeded', 0.5, finished_at
  FROM frames"""

_FINDINGS = """
INSERT INTO findings (frame_id, engine_id, passport_id, label, confidence, x, y, w, h, severity, min_confidence,
                      created_at)
SELECT f.id, f.engine_id, :passport,
       (CAST(:labels AS text[]))[1 + (CAST(f.idempotency_key AS bigint) / 4 + k * k) % 6],
       0.5 + (k * 37 % 50) / 100.0, 70 * k, 30 + k, 30, 28, 1 + k % 3, 0.25, f.finished_at
  FROM frames f, generate_series(1, :per_ng) k WHERE f.bytes_stored"""

_REPORTS = """
WITH counted AS (
    SELECT report_window_id AS w, count(*) AS frames, count(*) FILTER (WHERE bytes_stored) AS ng
      FROM frames WHERE report_window_id IS NOT NULL GROUP BY 1
), cells AS (
    SELECT f.report_window_id AS w, c.name AS camera, d.label, count(*) AS n
      FROM findings d JOIN frames f ON f.id = d.frame_id JOIN cameras c ON c.id = f.camera_id
     WHERE f.report_window_id IS NOT NULL GROUP BY 1, 2, 3
), labels AS (
    SELECT w, jsonb_object_agg(label, n) AS o
      FROM (SELECT w, label, sum(n) AS n FROM cells GROUP BY 1, 2) x GROUP BY 1
), cams AS (
    SELECT w, jsonb_object_agg(camera, n) AS o, sum(n) AS n
      FROM (SELECT w, camera, sum(n) AS n FROM cells GROUP BY 1, 2) x GROUP BY 1
), pairs AS (SELECT w, jsonb_agg(jsonb_build_array(camera, label, n)) AS o FROM cells GROUP BY 1)
INSERT INTO reports (id, window_id, writer, model, body, findings, totals, token_budget, prompt_tokens,
                     prompt_ceiling_tokens, input_tokens, output_tokens, cost_usd, simulated, image_tokens, image_usd,
                     image_plan, created_at)
SELECT gen_random_uuid(), w.id, 'offline', 'claude-haiku-5-5', repeat('A seeded report. ', 60), coalesce(cams.n, 0),
       jsonb_build_object('findings', coalesce(cams.n, 0), 'by_label', coalesce(labels.o, '{}'),
           'by_camera', coalesce(cams.o, '{}'), 'cells', coalesce(pairs.o, '[]'), 'frames', jsonb_build_object(
               'inspected', counted.frames, 'ng', counted.ng, 'reinspect', 0, 'failed', 0, 'expired', 0)),
       4000, 900, 1000, 900, 300, 0.0024, true, 40000, 0.04, '{}', w.ends_at
  FROM report_windows w JOIN counted ON counted.w = w.id
  LEFT JOIN labels ON labels.w = w.id LEFT JOIN cams ON cams.w = w.id LEFT JOIN pairs ON pairs.w = w.id"""

_PLACES = """
INSERT INTO report_findings (frame_id, finding_id, report_id, placement)
SELECT d.frame_id, d.id, r.id, 'row'
  FROM findings d JOIN frames f ON f.id = d.frame_id JOIN reports r ON r.window_id = f.report_window_id"""

_PRICES = """
INSERT INTO prices_used (model, source, source_version, vector, vector_sha256)
VALUES ('claude-haiku-5-5', 'seeded', '1', '{}', 'seeded')"""

_ATTEMPTS = """
INSERT INTO llm_attempts (window_id, attempt, state, writer, model, simulated, body_sha256, input_tokens, output_tokens,
                          cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens, usd, price_id, sent_at)
SELECT window_id, 1, 'paid', 'anthropic', model, length(window_id::text) % 2 = 1, 'seeded', input_tokens, output_tokens,
       0, 0, 0, cost_usd, (SELECT min(id) FROM prices_used), created_at FROM reports"""

_FEEDBACK = """
INSERT INTO feedback (frame_id, finding_id, line, camera, label, confidence, engine_id, passport_id, opinion, person,
                      given_at)
SELECT d.frame_id, d.id, f.line, 'cam-' || f.camera_id, d.label, d.confidence, d.engine_id, d.passport_id,
       CASE d.id % 10 WHEN 0 THEN 'incorrect' WHEN 1 THEN 'inconclusive' ELSE 'correct' END, 'seeded', f.finished_at
  FROM findings d JOIN frames f ON f.id = d.frame_id WHERE d.id % 50 = 0"""


STEPS: Final = (
    _CAMERAS,
    _WINDOWS,
    _FRAMES,
    _VERDICTS,
    _FINDINGS,
    _REPORTS,
    _PLACES,
    _PRICES,
    _ATTEMPTS,
    _FEEDBACK,
)


def seed(sessions: Sessions, settings: Settings, *, findings: int, days: int, now: datetime) -> None:
    """Fill an empty, migrated database: ``findings`` over the last ``days``, reported but for the last minutes."""
    last_window = now - (now - now.replace(hour=0, minute=0, second=0, microsecond=0)) % WINDOW
    start = last_window - timedelta(days=days)
    _cut(sessions, start)
    with transaction(sessions) as session:
        # The past cannot be written as it happens now: a frame begins as pending. Checks of rows stay on.
        session.execute(text("SET LOCAL session_replication_role = replica"))
        session.execute(text("SET LOCAL statement_timeout = 0"))
        passport = unproven_passport(ENGINE, settings)
        save_passport(session, passport)
        session.flush()
        bound = {
            "lines": LINES,
            "cameras": CAMERAS,
            "start": start,
            "last": last_window - WINDOW,
            "stop": now,
            "frames": findings * NG_EVERY // PER_NG,
            "engine": register_engine(session, ENGINE),
            "passport": passport.id,
            "labels": list(LABELS),
            "per_ng": PER_NG,
        }
        for statement in STEPS:
            clause = text(statement)
            session.execute(clause, {name: bound[name] for name in clause.compile().params})
    with transaction(sessions) as session:
        session.execute(text("SET LOCAL statement_timeout = 0"))
        session.execute(text("ANALYZE"))


def _cut(sessions: Sessions, start: datetime) -> None:
    """Partitions of ten days for the past, in place of the first one, which is empty."""
    with transaction(sessions) as session:
        session.execute(text("SET LOCAL session_replication_role = replica"))
        after = _drop_first(session)
        length = timedelta(days=10)
        begins = [start - timedelta(days=1)]
        while begins[-1] + length < after:
            begins.append(begins[-1] + length)
        for begin, end in zip(begins, [*begins[1:], after], strict=True):
            partitions.make_period(session, Period(begin, end), wait_ms=500)


def _drop_first(session: Session) -> datetime:
    first = partitions.periods(session)[0]
    assert first.name == FIRST, "the database is not a fresh one"
    for table in reversed(CUT_BY):
        session.execute(text(f"DROP TABLE {table}_{FIRST} CASCADE"))
    return first.ends_at
