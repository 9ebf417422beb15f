"""Two databases with the same rows, one whole and one cut by time, and the text that COPY takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import perf_counter
from uuid import UUID, uuid4

import psycopg
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import insert, make_url, text

from benchmarks.rig import ROOT
from gistline.domain import EngineInfo
from gistline.flows.measure_passport import unproven_passport
from gistline.settings import DatabaseSettings, Settings
from gistline.storage import migrate
from gistline.storage.engines import register_engine
from gistline.storage.moments import lowest_id
from gistline.storage.partitions import CUT_BY, Period, make_period
from gistline.storage.passports import save_passport
from gistline.storage.session import Sessions, close_database, open_database, transaction
from gistline.storage.tables import Camera, ReportWindow, WindowState

CUT_REVISION = "0009_partitions"
PERIODS = 13
PERIOD = timedelta(days=28)
FINDINGS_PER_FRAME = 5
CAMERAS = 40
LINES = 8
LABELS = ("open", "short", "mousebite", "spur", "copper", "pin-hole")
ENGINE = EngineInfo("benchmark", "0" * 64, "none", "CPU", "INT8", LABELS, (640, 640), 60, 60)

FRAMES = (
    "id, camera_id, line, idempotency_key, sha256, media_type, byte_count, width, height, captured_at, accepted_at, "
    "state, finished_at, bytes_stored, report_window_id, engine_id"
)
KEYS = "camera_id, frame_key, frame_id"
VERDICTS = "frame_id, engine_id, passport_id, kind, reason, ng_confidence, decided_at"
FINDINGS = "frame_id, engine_id, passport_id, label, confidence, x, y, w, h, severity, min_confidence, created_at"


@dataclass(frozen=True, slots=True)
class Database:
    """One of the two, with what its rows refer to."""

    name: str
    url: str
    sessions: Sessions
    engine_id: int
    passport_id: UUID
    window_id: UUID

    @contextmanager
    def raw(self) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
        """A connection without SQLAlchemy, committed at its end."""
        plain = make_url(self.url).set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(plain) as connection:
            yield connection


@dataclass(frozen=True, slots=True)
class Chunk:
    """Frames that follow each other in time, as COPY takes them; ``pending`` ones have neither verdict nor findings."""

    frames: bytes
    keys: bytes
    verdicts: bytes
    findings: bytes
    count: int


def whole(server: str) -> Iterator[Database]:
    """Tables as they were before they were cut."""
    before = ScriptDirectory(str(ROOT / "migrations")).get_revision(CUT_REVISION).down_revision
    url = _create(server, "whole")
    command.upgrade(migrate.config(url), str(before))
    yield from _opened("whole", url)


def cut(server: str, now: datetime) -> Iterator[Database]:
    """Tables in partitions of 28 days: thirteen that are full and the one of today."""
    url = _create(server, "cut")
    migrate.upgrade(url)
    sessions = open_database(_settings(url))
    with transaction(sessions) as session:
        session.execute(text("DROP TABLE " + ", ".join(f"{table}_first" for table in CUT_BY)))
        for period in periods(now):
            assert make_period(session, period, wait_ms=500)
    close_database(sessions)
    yield from _opened("cut", url)


def periods(now: datetime) -> list[Period]:
    """The full ones, oldest first, and one that begins today at midnight."""
    today = datetime.combine(now.date(), datetime.min.time(), UTC)
    starts = [today - PERIOD * back for back in range(PERIODS, -1, -1)]
    return [Period(start, start + PERIOD) for start in starts]


def chunk(start: datetime, span: timedelta, count: int, database: Database, *, pending: bool = False) -> Chunk:
    """``count`` frames spread evenly over a stretch of time, five findings each."""
    step = span / count
    frames, keys, verdicts, findings = [], [], [], []
    proof = f"{database.engine_id}\t{database.passport_id}"
    window = database.window_id
    for number in range(count):
        at = start + step * number
        one = UUID(int=lowest_id(at).int | 7 << 76 | 2 << 62 | number)
        when = at.isoformat()
        camera = number % CAMERAS
        end = "pending\t\\N\tf\t\\N\t\\N" if pending else f"inspected\t{when}\tf\t{window}\t{database.engine_id}"
        frames.append(
            f"{one}\t{camera + 1}\tline-{camera % LINES}\t{one.hex}\t{one.hex * 2}\timage/jpeg\t85000\t640\t640\t{when}"
            f"\t{when}\t{end}\n"
        )
        keys.append(f"{camera + 1}\t{one.hex}\t{one}\n")
        if pending:
            continue
        kind = "ng" if number % 5 == 0 else "reinspect"
        verdicts.append(f"{one}\t{proof}\t{kind}\topen at or above 0.5\t0.5\t{when}\n")
        for place in range(FINDINGS_PER_FRAME):
            label = LABELS[(number + place) % len(LABELS)]
            score = 0.3 + (number * 7 + place * 13) % 60 / 100
            box = f"{place * 100 + number % 90}.25\t{number % 600}.5\t12.5\t9.75"
            findings.append(f"{one}\t{proof}\t{label}\t{score}\t{box}\t{1 + place % 3}\t0.25\t{when}\n")
    return Chunk(
        "".join(frames).encode(), "".join(keys).encode(), "".join(verdicts).encode(), "".join(findings).encode(), count
    )


def load(database: Database, rows: Chunk, *, checked: bool = False, named: bool = False) -> float:
    """COPY a chunk in one transaction; returns its seconds. With ``named`` the cut tables get the frames' keys too.

    Without ``checked`` triggers and foreign keys are off, as for a restored backup: it is quicker, and both databases
    save the same.
    """
    began = perf_counter()
    with database.raw() as connection, connection.cursor() as cursor:
        if not checked:
            cursor.execute("SET LOCAL session_replication_role = replica")
        for table, columns, data in (
            ("frames", FRAMES, rows.frames),
            *(
                [("frame_keys", "camera_id, frame_key, frame_id", rows.keys)]
                if named and database.name == "cut"
                else []
            ),
            ("verdicts", VERDICTS, rows.verdicts),
            ("findings", FINDINGS, rows.findings),
        ):
            with cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                copy.write(data)
    return perf_counter() - began


def swap_ids(rows: Chunk, source: Database, target: Database) -> Chunk:
    """The same rows with the ids of another database's engine, passport and window."""
    pairs = [
        (f"\t{source.passport_id}\t".encode(), f"\t{target.passport_id}\t".encode()),
        (f"\t{source.window_id}\t".encode(), f"\t{target.window_id}\t".encode()),
    ]
    parts = [rows.frames, rows.keys, rows.verdicts, rows.findings]
    for old, new in pairs:
        parts = [part.replace(old, new) for part in parts]
    frames, keys, verdicts, findings = parts
    return Chunk(frames, keys, verdicts, findings, rows.count)


def _create(server: str, name: str) -> str:
    url = make_url(server)
    with psycopg.connect(
        url.set(drivername="postgresql").render_as_string(hide_password=False), autocommit=True
    ) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return url.set(database=name).render_as_string(hide_password=False)


def _settings(url: str) -> DatabaseSettings:
    return DatabaseSettings.model_validate({"url": url, "statement_timeout_s": 3_600})


def _opened(name: str, url: str) -> Iterator[Database]:
    sessions = open_database(_settings(url))
    window_id = uuid4()
    with transaction(sessions) as session:
        rows = [{"name": f"cam-{number}", "line": f"line-{number % LINES}"} for number in range(CAMERAS)]
        session.execute(insert(Camera), rows)
        passport = unproven_passport(ENGINE, Settings())
        save_passport(session, passport)
        session.flush()
        engine_id = register_engine(session, ENGINE)
        end = datetime.now(UTC)
        row = {"id": window_id, "line": "line-0", "starts_at": end - timedelta(days=1), "ends_at": end}
        session.execute(insert(ReportWindow).values(**row, state=WindowState.WRITTEN))
    try:
        yield Database(name, url, sessions, engine_id, passport.id, window_id)
    finally:
        close_database(sessions)
