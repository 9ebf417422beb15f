"""A database of the first version, with rows in it, brought to this one."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg.errors
import pytest
from alembic import command
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import NullPool

from gistline.storage import migrate

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
