"""The fleet at this moment, for people: what waits, who works, how fast, what was given up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Select, func, select, text, true
from sqlalchemy.orm import Session

from gistline.storage.health import Workers, workers
from gistline.storage.sight import Lines, within
from gistline.storage.tables import BatchRow, Camera, DeadLetterRow, FrameRow

RATE_WINDOW_S: Final = 60
PENDING: Final = text("frames.state = 'pending'")
RUNNING: Final = text("frames.state = 'running'")


@dataclass(frozen=True, slots=True)
class FleetNow:
    """``pending`` and ``running`` frames, for how long the oldest has waited, frames a second of the last minute.

    ``queue_ms`` is the mean wait of the frames of that minute from acceptance to claim, ``per_frame_ms`` what one then
    took; None where nothing ran. ``dead_letters`` are open ones. What runs is the whole fleet's, what waits that of the
    lines asked for.
    """

    pending: int
    running: int
    oldest_s: float
    per_second: float
    queue_ms: float | None
    per_frame_ms: float | None
    dead_letters: int
    workers: dict[str, Workers]


def read_fleet(session: Session, lines: Lines) -> FleetNow:
    """Look at the queue, in one statement, and at the workers."""
    ours = FrameRow.camera_id.in_(select(Camera.id).where(within(Camera.line, lines))) if lines is not None else true()
    age = func.coalesce(func.extract("epoch", func.now() - func.min(FrameRow.accepted_at)), 0)
    waiting = select(func.count().label("pending"), age.label("oldest")).select_from(FrameRow).where(PENDING, ours)
    running = select(func.count()).select_from(FrameRow).where(RUNNING, ours)
    given_up = select(func.count()).select_from(DeadLetterRow).where(DeadLetterRow.resolved_at.is_(None))
    if lines is not None:
        given_up = given_up.join(FrameRow, FrameRow.id == DeadLetterRow.frame_id).where(ours)
    queue, work = waiting.subquery(), _work().subquery()
    row = session.execute(
        select(queue, work, running.scalar_subquery(), given_up.scalar_subquery()).join_from(queue, work, true())
    ).one()
    pending, oldest, done, queue_s, work_s, run, letters = row
    return FleetNow(
        pending=pending,
        running=run or 0,
        oldest_s=float(oldest),
        per_second=float(done or 0) / RATE_WINDOW_S,
        queue_ms=None if queue_s is None else 1000 * float(queue_s),
        per_frame_ms=None if work_s is None else 1000 * float(work_s),
        dead_letters=letters or 0,
        workers=workers(session),
    )


def _work() -> Select[Any]:
    """What was done in the last minute: frames, their mean wait, the mean time that each took."""
    since = func.now() - timedelta(seconds=RATE_WINDOW_S)
    frames = func.sum(BatchRow.frames)
    took = BatchRow.infer_s + BatchRow.post_s + BatchRow.commit_s
    waits = func.sum(BatchRow.queue_s * BatchRow.frames) / frames
    columns: tuple[Any, ...] = (frames.label("done"), waits.label("queue_s"), (func.sum(took) / frames).label("work_s"))
    return select(*columns).where(BatchRow.claimed_at > since)
