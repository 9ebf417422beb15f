"""Where the time of each batch went: written beside the next batch's results, summed up for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, cast
from uuid import UUID

from sqlalchemy import ColumnElement, DateTime, Interval, Table, bindparam, func, select, text
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from gistline.storage.tables import BatchRow

STAGES = ("queue", "fetch", "decode", "infer", "post", "commit")


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds that one batch spent in each stage; ``total_s`` from its claim to its commit.

    Stages of neighbouring batches overlap. ``fetch_s`` and ``decode_s`` are summed over threads.
    """

    fetch_s: float
    decode_s: float
    infer_s: float
    post_s: float
    commit_s: float
    total_s: float


@dataclass(frozen=True, slots=True)
class BatchNote:
    """A committed batch: who, what and how long. ``claimed`` is a time of the monotonic clock, of this process alone.

    ``failed`` and ``cameras`` count its frames that nobody could look at, and the cameras that they came from.
    ``accepted_at`` has the moment of each frame.
    """

    worker: str
    engine_id: int | None
    claimed: float
    accepted_at: Sequence[datetime]
    failed: int
    cameras: int
    spent: Spent
    id: UUID = field(default_factory=uuid7)


@dataclass(frozen=True, slots=True)
class StageSums:
    """One worker's batches of a stretch of time, in milliseconds a frame.

    ``queue_ms`` is a frame's mean wait from its acceptance to its claim, ``queue_max_ms`` the longest one,
    ``commit_batch_ms`` and ``total_batch_ms`` are means of batches.
    """

    worker: str
    batches: int
    frames: int
    failed: int
    cameras: float
    queue_ms: float
    queue_max_ms: float
    fetch_ms: float
    decode_ms: float
    infer_ms: float
    post_ms: float
    commit_ms: float
    commit_batch_ms: float
    total_batch_ms: float


def save_batches(session: Session, notes: Sequence[BatchNote], now: float) -> None:
    """Insert notes; one that is there already stays. ``now`` is the monotonic clock's time."""
    for note in notes:
        first = min(note.accepted_at)
        mean = first + sum((one - first for one in note.accepted_at), timedelta()) / len(note.accepted_at)
        values = {
            "id": note.id,
            "worker": note.worker,
            "engine_id": note.engine_id,
            "frames": len(note.accepted_at),
            "failed": note.failed,
            "cameras": note.cameras,
        } | asdict(note.spent)
        about = {f"the_{name}": value for name, value in values.items()}
        session.connection().execute(
            SAVE_BATCH, about | {"ago": timedelta(seconds=now - note.claimed), "first": first, "mean": mean}
        )


def forget_stray_batches(session: Session, *, before: datetime) -> None:
    """Delete notes that lie in no period and whose batch was claimed before a moment."""
    session.execute(text("DELETE FROM batches_default WHERE claimed_at < :before"), {"before": before})


def stage_sums(session: Session, *, minutes: float) -> list[StageSums]:
    """Sums of the last ``minutes``, by worker."""
    frames = func.sum(BatchRow.frames)
    queue_s = func.sum(BatchRow.queue_s * BatchRow.frames)
    sums: Sequence[ColumnElement[Any]] = (
        func.count(),
        frames,
        func.sum(BatchRow.failed),
        func.avg(BatchRow.cameras),
        1000 * queue_s / frames,
        1000 * func.max(BatchRow.queue_max_s),
        *(1000 * func.sum(getattr(BatchRow, f"{stage}_s")) / frames for stage in STAGES[1:]),
        1000 * func.avg(BatchRow.commit_s),
        1000 * func.avg(BatchRow.total_s),
    )
    recent = BatchRow.claimed_at > func.now() - timedelta(minutes=minutes)
    rows = session.execute(
        select(BatchRow.worker, *sums).where(recent).group_by(BatchRow.worker).order_by(BatchRow.worker)
    )
    return [StageSums(row[0], *map(int, row[1:4]), *map(float, row[4:])) for row in rows]


def _saving() -> Insert:
    batches = cast("Table", BatchRow.__table__)
    ago: Any = bindparam("ago", type_=Interval())
    # The database's clock, like accepted_at: a worker's own may be off.
    claimed = select((func.clock_timestamp() - ago).label("at")).subquery()
    first, mean = (bindparam(name, type_=DateTime(timezone=True)) for name in ("first", "mean"))
    given = ("id", "worker", "engine_id", "frames", "failed", "cameras", *Spent.__dataclass_fields__)
    values: dict[str, ColumnElement[Any]] = {
        "claimed_at": claimed.c.at,
        "queue_s": func.extract("epoch", claimed.c.at - mean),
        "queue_max_s": func.extract("epoch", claimed.c.at - first),
        **{name: bindparam(f"the_{name}", type_=batches.c[name].type) for name in given},
    }
    return insert(batches).from_select([*values], select(*values.values())).on_conflict_do_nothing()


SAVE_BATCH: Final = _saving()
