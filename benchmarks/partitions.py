"""Ten million findings, whole and in partitions: ``python -m benchmarks.partitions [--findings 10000000] [--record]``.

Two databases of one PostgreSQL (fsync on) take the same rows in turn, chunk by chunk, so that other people's load slows
both: one has the tables as they were before they were cut, the other thirteen full partitions of 28 days. Measured
are the rate of COPY, claims and commits as the workers make them, dashboard queries, and letting go of a thirteenth by
deletion and by dropping. Needs about 1 kB of disk a finding. ``--record`` writes ``docs/data/partitions.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any
from uuid import uuid4

from sqlalchemy import text
from sqlalchemy.orm import Session

from benchmarks.partition_rows import FINDINGS_PER_FRAME, PERIODS, Database, chunk, cut, load, periods, swap_ids, whole
from benchmarks.rig import ROOT
from gistline.domain import Box, Detection, Verdict, VerdictKind
from gistline.embedded.postgres import postgres
from gistline.settings_frames import FrameSettings
from gistline.storage.findings import Measure
from gistline.storage.frame_ledger import read_frame_ledger
from gistline.storage.frame_sweep import frames_to_ring, return_expired_leases
from gistline.storage.frames import Lease, Outcome, Trouble, claim_fresh, finish
from gistline.storage.moments import lowest_id
from gistline.storage.partitions import Period
from gistline.storage.retention import count_period, drop_period
from gistline.storage.session import transaction

CHUNK_FRAMES = 10_000
BATCH = 32
BATCHES = 150
DELETE_CHUNK = 5_000
REPEATS = 7

QUERIES = {
    "classes of a line, last 24 h, by id": """
        SELECT d.label, count(*), max(d.confidence) FROM findings d JOIN frames f ON f.id = d.frame_id
        WHERE d.frame_id >= :day AND f.id >= :day AND f.line = 'line-3' GROUP BY d.label""",
    "classes of a line, last 24 h, by time": """
        SELECT d.label, count(*), max(d.confidence) FROM findings d JOIN frames f ON f.id = d.frame_id
        WHERE d.created_at >= :day_at AND f.line = 'line-3' GROUP BY d.label""",
    "NG share by hour, last 7 days, by id": """
        SELECT date_trunc('hour', decided_at), count(*), count(*) FILTER (WHERE kind = 'ng') FROM verdicts
        WHERE frame_id >= :week GROUP BY 1""",
    "latest 50 findings": """
        SELECT d.* FROM findings d ORDER BY d.frame_id DESC, d.id DESC LIMIT 50""",
    "one frame with its findings": """
        SELECT f.state, d.label FROM frames f LEFT JOIN findings d ON d.frame_id = f.id WHERE f.id = :one""",
    "findings by class, everything": "SELECT label, count(*) FROM findings GROUP BY label",
    "frames by state, everything": "SELECT state, count(*) FROM frames GROUP BY state",
}


@dataclass
class Side:
    """What one database came to."""

    database: Database
    copy_s: list[float] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)


def seed(sides: list[Side], findings: int, now: datetime) -> None:
    """Fill both in turn, oldest rows first."""
    full = periods(now)[:PERIODS]
    start, span = full[0].starts_at, full[-1].ends_at - full[0].starts_at
    chunks = max(PERIODS, findings // FINDINGS_PER_FRAME // CHUNK_FRAMES)
    frames = findings // FINDINGS_PER_FRAME // chunks
    for number in range(chunks):
        begins = start + span / chunks * number
        rows = chunk(begins, span / chunks, frames, sides[0].database)
        named = begins >= now - timedelta(days=FrameSettings().keep_keys_days)
        for side in sides if number % 2 else reversed(sides):
            own = swap_ids(rows, sides[0].database, side.database)
            side.copy_s.append(load(side.database, own, named=named))
        if number % 20 == 19:
            print(f"  {(number + 1) * frames * FINDINGS_PER_FRAME:,} findings", flush=True)
    tenth = max(1, chunks // 10)
    for side in sides:
        side.figures["copy_findings_per_s_first_tenth"] = _rate(side.copy_s[:tenth], frames)
        side.figures["copy_findings_per_s_last_tenth"] = _rate(side.copy_s[-tenth:], frames)
        with side.database.raw() as connection:
            connection.autocommit = True
            began = perf_counter()
            connection.execute("VACUUM (ANALYZE)")
            side.figures["vacuum_analyze_s"] = round(perf_counter() - began, 1)
            [[size]] = connection.execute("SELECT pg_database_size(current_database())").fetchall()
            side.figures["size_gb"] = round(float(str(size)) / 1e9, 2)


def commits(sides: list[Side], now: datetime, label: str) -> None:
    """Claim batches and write their ends as the workers do, both in turn."""
    for side in sides:
        load(
            side.database, chunk(now, timedelta(seconds=60), BATCH * BATCHES, side.database, pending=True), checked=True
        )
    times: dict[str, dict[str, list[float]]] = {side.database.name: {"claim": [], "commit": []} for side in sides}
    for number in range(BATCHES):
        for side in sides if number % 2 else reversed(sides):
            _one_batch(side.database, times[side.database.name])
    for side in sides:
        for what, taken in times[side.database.name].items():
            side.figures[f"{what}_ms_{label}"] = round(1000 * statistics.median(taken[20:]), 2)
            side.figures[f"{what}_p95_ms_{label}"] = round(1000 * statistics.quantiles(taken[20:], n=20)[18], 2)


def _one_batch(database: Database, times: dict[str, list[float]]) -> None:
    began = perf_counter()
    with transaction(database.sessions) as session:
        claimed = claim_fresh(session, Lease(uuid4(), 60.0), limit=BATCH)
    times["claim"].append(perf_counter() - began)
    assert len(claimed) == BATCH
    boxes = [Box(10.0 * place, 5.0, 8.0, 9.0) for place in range(FINDINGS_PER_FRAME)]
    seen = [(Detection("open", 0.9, box), 3) for box in boxes]
    ends = [Outcome.inspected(one.id, Verdict(VerdictKind.NG, "open"), seen) for one in claimed]
    began = perf_counter()
    with transaction(database.sessions) as session:
        measure = Measure(database.engine_id, 0.25, 0.5, database.passport_id)
        assert len(finish(session, ends, token=None, measure=measure)) == BATCH
    times["commit"].append(perf_counter() - began)


def queries(sides: list[Side], now: datetime) -> None:
    """Ask both in turn; medians, the first answer apart."""
    last = periods(now)[PERIODS - 1]
    values = {
        "day": lowest_id(last.ends_at - timedelta(days=1)),
        "day_at": last.ends_at - timedelta(days=1),
        "week": lowest_id(last.ends_at - timedelta(days=7)),
    }
    asked: dict[str, Callable[[Session], object]] = {name: partial(_ask, sql) for name, sql in QUERIES.items()}
    asked["a worker's empty claim"] = lambda session: claim_fresh(session, Lease(uuid4(), 60.0), limit=BATCH)
    asked["an empty sweep"] = _sweep
    asked["the ledger"] = _ledger
    for name, ask in asked.items():
        for repeat in range(1 if name == "the ledger" else REPEATS):
            for side in sides if repeat % 2 else reversed(sides):
                with transaction(side.database.sessions) as session:
                    one = session.scalar(text("SELECT id FROM frames WHERE id >= :week ORDER BY id LIMIT 1"), values)
                    session.info["values"] = values | {"one": one}
                    began = perf_counter()
                    ask(session)
                    side.figures.setdefault("queries_ms", {}).setdefault(name, []).append(perf_counter() - began)
    for side in sides:
        taken = side.figures["queries_ms"]
        side.figures["queries_ms"] = {
            name: round(1000 * statistics.median(each[1:] or each), 2) for name, each in taken.items()
        }


def _ask(sql: str, session: Session) -> object:
    return session.execute(text(sql), session.info["values"]).all()


def _sweep(session: Session) -> None:
    return_expired_leases(session, Trouble("", 2, 0.0), Measure(None, 0.25, 0.5))
    frames_to_ring(session, ring_again_s=4.0, longest_s=16.0)


def _ledger(session: Session) -> None:
    if session.scalar(text("SELECT to_regclass('retired_partitions')")) is None:
        session.execute(
            text("CREATE TEMP TABLE retired_partitions (accepted int, inspected int, failed int, expired int)")
        )
    read_frame_ledger(session)


def let_go(whole_side: Side, cut_side: Side, now: datetime) -> None:
    """A thirteenth of the rows: deleted from the one, dropped from the other."""
    oldest = periods(now)[0]
    with _counted(whole_side):
        _delete(whole_side.database, oldest)
    with whole_side.database.raw() as connection:
        connection.autocommit = True
        began = perf_counter()
        for table in ("findings", "verdicts", "frames"):
            connection.execute(f"VACUUM {table}")
        whole_side.figures["vacuum_after_s"] = round(perf_counter() - began, 2)
    with _counted(cut_side):
        with transaction(cut_side.database.sessions) as session:
            counted = count_period(session, oldest)
        began = perf_counter()
        with transaction(cut_side.database.sessions) as session:
            assert drop_period(session, oldest, counted, wait_ms=500)
        cut_side.figures["drop_transaction_ms"] = round(1000 * (perf_counter() - began), 1)


def _delete(database: Database, period: Period) -> None:
    bounds = {"low": period.lowest, "end": period.end, "chunk": DELETE_CHUNK}
    while True:
        with transaction(database.sessions) as session:
            session.execute(text("SET LOCAL gistline.retention = 'on'"))
            ids = session.scalars(
                text("SELECT id FROM frames WHERE id >= :low AND id < :end ORDER BY id LIMIT :chunk"), bounds
            ).all()
            for table, column in (("findings", "frame_id"), ("verdicts", "frame_id"), ("frames", "id")):
                session.execute(
                    text(f"DELETE FROM {table} WHERE {column} = ANY(:ids) AND {column} BETWEEN :low AND :end"),  # noqa: S608
                    {"ids": ids, **bounds},
                )
        if len(ids) < DELETE_CHUNK:
            return


@contextmanager
def _counted(side: Side) -> Iterator[None]:
    """Seconds, log written and space given back."""
    before = _state(side.database)
    began = perf_counter()
    yield
    after = _state(side.database)
    side.figures["let_go_s"] = round(perf_counter() - began, 2)
    side.figures["let_go_log_mb"] = round((after[0] - before[0]) / 1e6, 1)
    side.figures["let_go_freed_mb"] = round((before[1] - after[1]) / 1e6, 1)


def _state(database: Database) -> tuple[float, float]:
    with database.raw() as connection:
        [[log, size]] = connection.execute(
            "SELECT pg_current_wal_lsn() - '0/0'::pg_lsn, pg_database_size(current_database())"
        ).fetchall()
    return float(str(log)), float(str(size))


def _rate(taken: list[float], frames: int) -> int:
    return round(len(taken) * frames * FINDINGS_PER_FRAME / sum(taken))


def show(sides: list[Side]) -> None:
    """Both beside each other, with the ratio cut / whole."""
    one, other = (side.figures for side in sides)
    for name in sorted(one.keys() | other.keys()):
        mine, theirs = one.get(name), other.get(name)
        if isinstance(mine, dict) and isinstance(theirs, dict):
            for query, taken in mine.items():
                print(f"{query + ', ms':45} {taken:>12,} {theirs[query]:>12,} {theirs[query] / taken:8.2f}")
        else:
            ratio = f"{theirs / mine:8.2f}" if mine and theirs else ""
            print(
                f"{name:45} {mine if mine is not None else '-':>12} {theirs if theirs is not None else '-':>12} {ratio}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--findings", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, help="where PostgreSQL keeps its data for the length of the run")
    parser.add_argument("--record", action="store_true", help="write docs/data/partitions.json")
    given = parser.parse_args()
    now = datetime.now(UTC)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=given.folder)))
        options = {"max_wal_size": "4GB", "shared_buffers": "1GB"}
        server = stack.enter_context(postgres(folder / "postgres", folder / "postgres.log", options=options))
        sides = [
            Side(stack.enter_context(contextmanager(whole)(server))),
            Side(stack.enter_context(contextmanager(cut)(server, now))),
        ]
        load_before = os.getloadavg()
        commits(sides, now, "empty")
        seed(sides, given.findings, now)
        commits(sides, now + timedelta(minutes=5), "full")
        queries(sides, now)
        let_go(sides[0], sides[1], now)
        print(f"{given.findings:,} findings, {os.cpu_count()} cores\n{'':45} {'whole':>12} {'cut':>12}")
        show(sides)
    if given.record:
        data = {
            "findings": given.findings,
            "cores": os.cpu_count(),
            "load_average": {"before": load_before, "after": os.getloadavg()},
            "minutes": round((datetime.now(UTC) - now).total_seconds() / 60, 1),
            "at": now.isoformat(timespec="minutes"),
            **{side.database.name: side.figures for side in sides},
        }
        (ROOT / "docs" / "data" / "partitions.json").write_text(json.dumps(data, indent=1) + "\n")


if __name__ == "__main__":
    main()
