"""What a stretch of work cost: CPU of the workers and of PostgreSQL, transactions, and what its backends waited for."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter

import psutil
from sqlalchemy import text

from benchmarks.rig import Crew, Rig, cpu_s
from gistline.storage.session import transaction

LOOK_EVERY_S = 0.05

_COUNTS = text("""
    SELECT xact_commit, tup_inserted + tup_updated + tup_deleted, blks_hit + blks_read, deadlocks
    FROM pg_stat_database WHERE datname = current_database()
""")
_WAITS = text("""
    SELECT CASE WHEN wait_event_type IS NULL THEN 'CPU' ELSE wait_event_type || ':' || wait_event END
    FROM pg_stat_activity
    WHERE datname = current_database() AND state = 'active' AND pid <> pg_backend_pid()
""")


@dataclass
class Cost:
    """Seconds of CPU and counts between the begin and the end of a stretch.

    ``waits`` counts looks at active backends by what they waited for; ``cores`` is the machine's busy cores, and
    ``ours`` those that the rig and this process took: the rest was other people's work.
    """

    seconds: float = 0.0
    workers_cpu_s: float = 0.0
    postgres_cpu_s: float = 0.0
    redis_cpu_s: float = 0.0
    commits: int = 0
    rows: int = 0
    pages: int = 0
    deadlocks: int = 0
    cores: float = 0.0
    ours: float = 0.0
    looks: int = 0
    waits: Counter[str] = field(default_factory=Counter)

    def active(self) -> dict[str, float]:
        """Mean number of backends at work, by what they waited for."""
        return {name: count / max(self.looks, 1) for name, count in self.waits.most_common()}

    def lock_waits(self) -> float:
        """Mean number of backends that waited for another's lock, on rows or in memory."""
        return sum(count for name, count in self.active().items() if name.startswith(("Lock", "LWLock", "BufferPin")))


@contextmanager
def metered(rig: Rig, crew: Crew) -> Iterator[Cost]:
    """Measure what runs in the body; the cost is complete afterwards."""
    cost, left = Cost(), threading.Event()
    watch = threading.Thread(target=_look, args=(rig, cost, left), daemon=True)
    before, counted, began = _cpu(rig, crew), _counts(rig), perf_counter()
    busy, own = _busy(), psutil.Process().cpu_times()
    watch.start()
    try:
        yield cost
    finally:
        left.set()
        watch.join()
        cost.seconds = perf_counter() - began
        after, ended, me = _cpu(rig, crew), _counts(rig), psutil.Process().cpu_times()
        cost.workers_cpu_s = sum(after[name] - before[name] for name in after if name.startswith("detect"))
        cost.postgres_cpu_s, cost.redis_cpu_s = (after[one] - before[one] for one in ("postgres", "redis"))
        cost.commits, cost.rows, cost.pages, cost.deadlocks = (b - a for a, b in zip(counted, ended, strict=True))
        cost.cores = (_busy() - busy) / cost.seconds
        spent = me.user + me.system - own.user - own.system
        cost.ours = (sum(after.values()) - sum(before.values()) + spent) / cost.seconds


def _cpu(rig: Rig, crew: Crew) -> Mapping[str, float]:
    return {name: cpu_s(pid) for name, pid in (crew.pids() | rig.pids).items()}


def _busy() -> float:
    used = psutil.cpu_times()
    return float(used.user + used.system + used.nice + used.irq + used.softirq)


def _counts(rig: Rig) -> tuple[int, ...]:
    with transaction(rig.sessions) as session:
        return tuple(session.execute(_COUNTS).one())


def _look(rig: Rig, cost: Cost, left: threading.Event) -> None:
    while not left.wait(LOOK_EVERY_S):
        with transaction(rig.sessions) as session:
            cost.waits.update(session.scalars(_WAITS).all())
        cost.looks += 1
