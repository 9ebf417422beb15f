"""What a soak looks at every few seconds: processes, connections, lag, Redis, disk, tables."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import psutil
from redis import Redis
from sqlalchemy import text

from benchmarks.rig import Crew, Rig
from gistline.storage.session import transaction

LATENCY_OVER_S = 60
TABLES = ("frames", "verdicts", "findings", "report_findings")

_LAG = text("""
    SELECT count(*) FILTER (WHERE state = 'pending'), count(*) FILTER (WHERE state = 'running'),
           coalesce(extract(epoch FROM now() - min(accepted_at) FILTER (WHERE state = 'pending')), 0)
    FROM frames WHERE state = 'pending' OR state = 'running'
""")
_LATENCY = text("""
    SELECT count(*), percentile_cont(ARRAY[0.5, 0.99])
           WITHIN GROUP (ORDER BY extract(epoch FROM finished_at - accepted_at))
    FROM frames WHERE id >= :oldest AND finished_at > :since AND state = 'inspected'
""")
_ENDED = text("SELECT count(*) FROM frames WHERE id >= :oldest AND state IN ('failed', 'expired')")
_TABLES = text("""
    SELECT whole.relname, sum(n_live_tup), sum(n_dead_tup), sum(pg_total_relation_size(relid)), sum(autovacuum_count)
    FROM pg_stat_user_tables JOIN pg_inherits ON inhrelid = relid JOIN pg_class whole ON whole.oid = inhparent
    WHERE whole.relname = ANY(:names) GROUP BY whole.relname
""")
_DATABASE = text("""
    SELECT pg_database_size(current_database()), (SELECT coalesce(sum(size), 0) FROM pg_ls_waldir()),
           xact_commit, xact_rollback, deadlocks,
           (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database())
    FROM pg_stat_database WHERE datname = current_database()
""")
_QUEUE_INDEX = text("""
    SELECT coalesce(sum(pg_relation_size(inhrelid)), 0) FROM pg_inherits
    WHERE inhparent IN ('ix_frames_pending'::regclass, 'ix_frames_running'::regclass)
""")

Sample = dict[str, float]


class Sampler:
    """Takes samples of a rig and its crew; every value is a plain number."""

    def __init__(self, rig: Rig, crew: Crew) -> None:
        self._rig = rig
        self._crew = crew
        self._began = time.time()
        self._seen_until = datetime.now(UTC)
        self._redis = Redis.from_url(rig.settings.redis.url.get_secret_value())

    def take(self, *, thorough: bool) -> Sample:
        """One sample; a ``thorough`` one also walks the frame store and asks for sizes of tables."""
        sample: Sample = {"at_s": time.time() - self._began}
        for name, pid in (self._crew.pids() | self._rig.pids).items():
            sample |= {f"{name}.{what}": value for what, value in _process(pid).items()}
        sample |= self._queue() | self._in_redis()
        if thorough:
            sample |= self._sizes()
        return sample

    def ended_badly(self) -> int:
        """Frames that failed or expired since the beginning."""
        with transaction(self._rig.sessions) as session:
            return int(session.execute(_ENDED, {"oldest": _first_id(self._began)}).scalar_one())

    def _queue(self) -> Sample:
        since, now = self._seen_until, datetime.now(UTC)
        self._seen_until = now
        with transaction(self._rig.sessions) as session:
            pending, running, oldest = session.execute(_LAG).one()
            bound = {"oldest": _first_id(time.time() - LATENCY_OVER_S), "since": since}
            finished, cuts = session.execute(_LATENCY, bound).one()
        seen = {"queue.pending": pending, "queue.running": running, "queue.oldest_s": float(oldest)}
        if not cuts or cuts[0] is None:
            return seen
        return seen | {
            "done.frames_s": finished / max((now - since).total_seconds(), 1e-3),
            "done.p50_s": float(cuts[0]),
            "done.p99_s": float(cuts[1]),
        }

    def _in_redis(self) -> Sample:
        memory: Mapping[str, Any] = self._redis.info("memory")
        clients: Mapping[str, Any] = self._redis.info("clients")
        return {
            "redis.used_mb": memory["used_memory"] / 1e6,
            "redis.clients": clients["connected_clients"],
            "redis.bells": float(self._redis.llen("detect")),
        }

    def _sizes(self) -> Sample:
        with transaction(self._rig.sessions) as session:
            size, wal, commits, rollbacks, deadlocks, connections = session.execute(_DATABASE).one()
            tables = session.execute(_TABLES, {"names": list(TABLES)}).all()
            queue_index = session.execute(_QUEUE_INDEX).scalar_one()
        files, taken = _walk(self._rig.settings.data_dir / "frames")
        found = {
            "db.mb": size / 1e6,
            "db.wal_mb": float(wal) / 1e6,
            "db.commits": commits,
            "db.rollbacks": rollbacks,
            "db.deadlocks": deadlocks,
            "db.connections": connections,
            "db.queue_index_mb": float(queue_index) / 1e6,
            "store.files": files,
            "store.mb": taken / 1e6,
            "disk.free_gb": shutil.disk_usage(self._rig.settings.data_dir).free / 1e9,
        }
        for name, *sums in tables:  # over partitions, which makes them numeric
            live, dead, total, vacuums = map(float, sums)
            found |= {f"{name}.live": live, f"{name}.dead": dead, f"{name}.mb": total / 1e6, f"{name}.vacuums": vacuums}
        return found


def _process(pid: int) -> Sample:
    """Memory of a process alone (PostgreSQL: of all of its processes), descriptors, threads, CPU."""
    seen = [one for one in map(_facts, _family(pid)) if one]
    return {what: sum(one[what] for one in seen) for what in seen[0]} if seen else {}


def _family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _facts(process: psutil.Process) -> Sample:
    """Empty for one that ended meanwhile, as PostgreSQL's vacuum workers do."""
    try:
        memory, used = process.memory_full_info(), process.cpu_times()
        return {
            "rss_mb": memory.rss / 1e6,
            "uss_mb": memory.uss / 1e6,
            "fds": float(process.num_fds()),
            "threads": float(process.num_threads()),
            "processes": 1.0,
            "cpu_s": used.user + used.system,
        }
    except psutil.NoSuchProcess:
        return {}


def _first_id(seconds: float) -> UUID:
    """The smallest UUID of version 7 of this moment: frame ids carry their time, and have the only index over it."""
    return UUID(int=int(seconds * 1000) << 80)


def _walk(folder: Path) -> tuple[int, int]:
    sizes = list(_file_sizes(folder))
    return len(sizes), int(np.sum(sizes, dtype=np.int64)) if sizes else 0


def _file_sizes(folder: Path) -> Iterator[int]:
    for path in folder.rglob("*"):
        try:
            if path.is_file():
                yield path.stat().st_size
        except FileNotFoundError:  # dropped in between
            continue
