"""How much waits, whose it is, and how fast it is worked off: what the door must know before it accepts more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from gistline.storage.tables import BatchRow, FrameRow

DRAIN_WINDOW_S = 30.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """Frames of one camera and one priority that wait, and for how many seconds the oldest has."""

    camera_id: int
    priority: int
    frames: int
    oldest_s: float


@dataclass(frozen=True, slots=True)
class QueueLoad:
    """The queue at one moment; ``drained_per_s`` is what the fleet did in the last half minute, in frames/s."""

    waiting: Sequence[Waiting]
    drained_per_s: float


def read_load(session: Session) -> QueueLoad:
    """Count what waits: one pass over the index of pending frames, whose length the limits bound."""
    age = func.extract("epoch", func.now() - func.min(FrameRow.accepted_at))
    waiting = (
        select(FrameRow.camera_id, FrameRow.priority, func.count(), age)
        .where(text("frames.state = 'pending'"))
        .group_by(FrameRow.camera_id, FrameRow.priority)
    )
    since = func.now() - func.make_interval(0, 0, 0, 0, 0, 0, DRAIN_WINDOW_S)
    done = session.scalar(select(func.sum(BatchRow.frames)).where(BatchRow.claimed_at > since))
    rows = [Waiting(camera, priority, frames, float(old)) for camera, priority, frames, old in session.execute(waiting)]
    return QueueLoad(rows, float(done or 0) / DRAIN_WINDOW_S)
