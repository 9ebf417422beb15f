"""The fleet at this moment, for people: what waits, who works, how fast, what was given up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import func, select, text
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
    """Look at the queue and the workers."""
    cameras = _cameras(session, lines)
    age = func.coalesce(func.extract("epoch", func.now() - func.min(FrameRow.accepted_at)), 0)
    ours = [FrameRow.camera_id.in_(cameras)] if cameras is not None else []
    pending, oldest = session.execute(select(func.count(), age).select_from(FrameRow).where(PENDING, *ours)).one()
    running = session.scalar(select(func.count()).select_from(FrameRow).where(RUNNING, *ours))
    since = func.now() - timedelta(seconds=RATE_WINDOW_S)
    frames = func.sum(BatchRow.frames)
    work = BatchRow.infer_s + BatchRow.post_s + BatchRow.commit_s
    done, queue_s, work_s = session.execute(
        select(frames, func.sum(BatchRow.queue_s * BatchRow.frames) / frames, func.sum(work) / frames).where(
            BatchRow.claimed_at > since
        )
    ).one()
    return FleetNow(
        pending=pending,
        running=running or 0,
        oldest_s=float(oldest),
        per_second=float(done or 0) / RATE_WINDOW_S,
        queue_ms=None if queue_s is None else 1000 * float(queue_s),
        per_frame_ms=None if work_s is None else 1000 * float(work_s),
        dead_letters=_dead_letters(session, cameras),
        workers=workers(session),
    )


def _cameras(session: Session, lines: Lines) -> Sequence[int] | None:
    if lines is None:
        return None
    return session.scalars(select(Camera.id).where(within(Camera.line, lines))).all()


def _dead_letters(session: Session, cameras: Sequence[int] | None) -> int:
    found = select(func.count()).select_from(DeadLetterRow).where(DeadLetterRow.resolved_at.is_(None))
    if cameras is not None:
        found = found.join(FrameRow, FrameRow.id == DeadLetterRow.frame_id).where(FrameRow.camera_id.in_(cameras))
    return session.scalar(found) or 0
