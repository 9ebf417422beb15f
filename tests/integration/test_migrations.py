"""A database of the first version, with rows in it, brought to this one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg.errors
import pytest
from alembic import command
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from gistline.storage import migrate
from gistline.storage.frame_ledger import read_frame_ledger

OLD_ROWS = """
INSERT INTO cameras (name, line) VALUES ('cam', 'line');
INSERT INTO engines (model, weights_sha256, runtime, device, precision, convolutions, int8_convolutions, labels)
VALUES ('old', repeat('a', 64), 'OpenVINO 1', 'CPU', 'INT8', 2, 2, '{"names": ["open"]}');
INSERT INTO frames (id, camera_id, line, idempotency_key, sha256, media_type, byte_count, width, height, captured_at,
                    state, finished_at, engine_id)
VALUES ('00000000-0000-0000-0000-000000000001', 1, 'line', 'k', 'x', 'image/png', 1, 1, 1, now(), 'inspected', now(),
        1);
INSERT INTO findings (frame_id, engine_id, label, confidence, x, y, w, h, severity, min_confidence)
VALUES ('00000000-0000-0000-0000-000000000001', 1, 'open', 0.9, 1, 1, 1, 1, 3, 0.25);
INSERT INTO verdicts (frame_id, engine_id, kind, reason, ng_confidence)
VALUES ('00000000-0000-0000-0000-000000000001', 1, 'ng', 'open', 0.5);
"""
BUSY = """
INSERT INTO frames (id, camera_id, line, idempotency_key, sha256, media_type, byte_count, width, height, captured_at,
                    state, finished_at, engine_id)
SELECT id, 1, 'line', 'k' || n, 'x', 'image/png', 1, 1, 1, now(), 'pending', NULL, NULL
FROM (VALUES (2, '019a0000-0000-7000-8000-000000000002'::uuid), (3, 'fe9a0000-0000-4000-8000-000000000003'::uuid))
     AS new(n, id);
UPDATE frames SET state = 'failed', finished_at = now(), error = 'damaged' WHERE idempotency_key = 'k2';
INSERT INTO dead_letters (id, frame_id, kind, reason, attempts)
VALUES (gen_random_uuid(), '019a0000-0000-7000-8000-000000000002', 'failed', 'damaged', 1);
INSERT INTO verdicts (frame_id, kind, reason, ng_confidence)
VALUES ('019a0000-0000-7000-8000-000000000002', 'reinspect', 'damaged', 0.5);
INSERT INTO submissions (id, camera_id, frames) VALUES ('019a0000-0000-7000-8000-00000000000a', 1, 2);
INSERT INTO report_windows (id, line, starts_at, ends_at, state)
VALUES ('00000000-0000-0000-0000-00000000000b', 'line', now() - interval '1 hour', now(), 'written');
INSERT INTO reports (id, window_id, writer, model, body, totals, token_budget, prompt_tokens, prompt_ceiling_tokens,
                     input_tokens, output_tokens, cost_usd, simulated, image_tokens, image_usd, image_plan)
VALUES ('00000000-0000-0000-0000-00000000000c', '00000000-0000-0000-0000-00000000000b', 'w', 'm', 'b', '{}', 1, 1, 1,
        1, 1, 0, true, 1, 0, '{}');
INSERT INTO report_findings SELECT id, '00000000-0000-0000-0000-00000000000c', 'row' FROM findings;
"""
NEW_FINDING = """
INSERT INTO findings (frame_id, engine_id, label, confidence, x, y, w, h, severity, min_confidence)
SELECT frame_id, engine_id, 'short', confidence, x, y, w, h, severity, min_confidence FROM findings
"""


@pytest.fixture
def connection(empty_database_url: str) -> Iterator[Connection]:
    command.upgrade(migrate.config(empty_database_url), "0001")
    engine = create_engine(empty_database_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as made:
        made.execute(text(OLD_ROWS))
        yield made


@pytest.mark.long
def test_old_findings_are_kept_without_a_made_up_passport(connection: Connection, empty_database_url: str) -> None:
    migrate.upgrade(empty_database_url)
    assert migrate.current(empty_database_url) == migrate.head()
    migrate.check(empty_database_url)
    kept = connection.execute(text("SELECT label, passport_id FROM findings")).all()
    assert [tuple(row) for row in kept] == [("open", None)]
    assert connection.execute(text("SELECT kind, passport_id FROM verdicts")).one() == ("ng", None)


def test_a_new_finding_needs_a_passport(connection: Connection, empty_database_url: str) -> None:
    migrate.upgrade(empty_database_url)
    with pytest.raises(IntegrityError) as refused:
        connection.execute(text(NEW_FINDING))
    assert isinstance(refused.value.orig, psycopg.errors.CheckViolation)
    assert "ck_findings_has_passport" in str(refused.value)


def test_the_way_back_keeps_the_findings(connection: Connection, empty_database_url: str) -> None:
    migrate.upgrade(empty_database_url)
    command.downgrade(migrate.config(empty_database_url), "0001")
    assert connection.execute(text("SELECT count(*) FROM findings")).scalar_one() == 1
    assert connection.execute(text("SELECT to_regclass('passports')")).scalar_one() is None
    migrate.upgrade(empty_database_url)


ROWS = {"frames": 3, "findings": 1, "verdicts": 2, "report_findings": 1, "submissions": 2, "dead_letters": 1}


def counts(connection: Connection) -> dict[str, int]:
    return {name: connection.scalar(text(f"SELECT count(*) FROM {name}")) or 0 for name in ROWS}  # noqa: S608


def test_tables_are_cut_with_their_rows(connection: Connection, empty_database_url: str) -> None:
    command.upgrade(migrate.config(empty_database_url), "0003")
    connection.execute(text(BUSY))
    migrate.upgrade(empty_database_url)
    migrate.check(empty_database_url)
    assert counts(connection) == ROWS
    homes = connection.execute(text("SELECT idempotency_key, tableoid::regclass::text FROM frames ORDER BY 1")).all()
    assert homes == [("k", "frames_first"), ("k2", "frames_first"), ("k3", "frames_default")]
    placed = text("SELECT frame_id = f.id FROM report_findings r, frames f WHERE f.idempotency_key = 'k'")
    assert connection.scalar(placed)
    assert connection.scalars(text("SELECT frame_key FROM frame_keys ORDER BY 1")).all() == ["k", "k2", "k3"]
    with pytest.raises(IntegrityError, match="an accepted frame is never lost"):
        connection.execute(text("DELETE FROM frames WHERE idempotency_key = 'k3'"))
    with pytest.raises(IntegrityError, match="cannot go from inspected"):
        connection.execute(text("UPDATE frames SET state = 'pending', finished_at = NULL WHERE idempotency_key = 'k'"))
    lost = text("UPDATE verdicts SET frame_id = gen_random_uuid() WHERE kind = 'reinspect'")
    with pytest.raises(IntegrityError, match=r"fk_verdicts_(first|default)_frames"):
        connection.execute(lost)
    with transaction_of(connection) as session:
        books = read_frame_ledger(session)
    assert (books.accepted, books.inspected, books.failed, books.pending, books.faults) == (3, 1, 1, 1, {})


def test_cut_tables_become_whole_again(connection: Connection, empty_database_url: str) -> None:
    command.upgrade(migrate.config(empty_database_url), "0003")
    connection.execute(text(BUSY))
    migrate.upgrade(empty_database_url)
    connection.execute(
        text(
            "INSERT INTO frames (id, camera_id, line, idempotency_key, sha256, media_type, byte_count, width, height, "
            "captured_at) SELECT 'fe9a0000-0000-4000-8000-00000000000f', camera_id, line, idempotency_key, sha256, "
            "media_type, byte_count, width, height, captured_at FROM frames WHERE idempotency_key = 'k3'"
        )
    )
    command.downgrade(migrate.config(empty_database_url), "0003")
    assert counts(connection) == ROWS | {"frames": 4, "submissions": 1}
    parted = text("SELECT count(*) FROM pg_class WHERE relkind = 'p' OR relispartition")
    assert connection.scalar(parted) == 0
    keys = connection.scalars(text("SELECT idempotency_key FROM frames ORDER BY id")).all()
    assert keys == ["k", "k2", "k3 fe9a0000-0000-4000-8000-000000000003", "k3"]
    migrate.upgrade(empty_database_url)
    migrate.check(empty_database_url)
    assert counts(connection) == ROWS | {"frames": 4, "submissions": 1}


@contextmanager
def transaction_of(connection: Connection) -> Iterator[Session]:
    with Session(connection.engine) as session, session.begin():
        yield session
