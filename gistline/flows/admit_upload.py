"""Whether a camera may send now: asked before its body is read, so that a refusal costs nobody anything.

A refused frame was never accepted: the camera keeps it and sends it again. The limits bound the rows that wait, and
with them the bytes in the store, whatever arrives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gistline.errors import FleetBusy, StorageFull
from gistline.frames.store import FrameStore
from gistline.settings import PressureSettings
from gistline.storage.cameras import CameraIdentity
from gistline.storage.pressure import QueueLoad, Waiting

CEILING: Final = 2
"""Nobody is let in above this many times ``max_depth``, so that many quiet cameras cannot fill the queue together."""
SHORTEST_S: Final = 1
LONGEST_S: Final = 60


@dataclass(frozen=True, slots=True)
class _Queue:
    """What one camera competes with: frames that are not less urgent than its own."""

    own: int
    total: int
    cameras: int
    oldest_s: float
    everything: int


def admit(camera: CameraIdentity, load: QueueLoad, limits: PressureSettings) -> None:
    """Let the camera send, or say when it may try again.

    Only frames of its own priority and more urgent ones count against a camera: an alarm camera does not feel the
    queue of the others. Beyond a limit those cameras are refused that hold their share of the queue or more.

    Raises:
        FleetBusy: the queue is too long or too old, and this camera has no less of it than others.

    """
    queue = _seen_by(camera, load.waiting)
    if queue.own >= limits.max_camera_depth:
        over = queue.own - limits.max_camera_depth + 1
        reason = f"{queue.own} of its frames wait; {limits.max_camera_depth} may (pressure.max_camera_depth)"
        raise _busy(camera, reason, over, load.drained_per_s)
    if queue.everything >= CEILING * limits.max_depth:
        over = queue.everything - CEILING * limits.max_depth + 1
        reason = f"{queue.everything} frames wait, {CEILING} times what may (pressure.max_depth)"
        raise _busy(camera, reason, over, load.drained_per_s)
    pressure = _pressure(queue, limits)
    if pressure and queue.own * queue.cameras >= queue.total:
        over = max(1, queue.total - limits.max_depth)
        reason = f"{pressure}, and {queue.own} of the {queue.total} that wait before its next one are its own"
        raise _busy(camera, reason, over, load.drained_per_s)


def check_space(store: FrameStore, limits: PressureSettings) -> None:
    """Refuse while the store's disk is nearly full; a bucket has no end.

    Raises:
        StorageFull: less than ``min_free_bytes`` are free.
        StorageUnavailable: the store does not answer.

    """
    free = store.free_bytes()
    if free is not None and free < limits.min_free_bytes:
        raise StorageFull(
            f"The frame store has {free} bytes left; {limits.min_free_bytes} are kept free (pressure.min_free_bytes).",
            cure="Free space, lower frames.keep_days, or keep less (frames.keep). Frames that wait go on meanwhile.",
            retry_after_s=LONGEST_S,
        )


def _seen_by(camera: CameraIdentity, waiting: Sequence[Waiting]) -> _Queue:
    rivals = [one for one in waiting if one.priority <= camera.priority]
    own = sum(one.frames for one in rivals if one.camera_id == camera.id)
    return _Queue(
        own=own,
        total=sum(one.frames for one in rivals),
        cameras=len({one.camera_id for one in rivals} | {camera.id}),
        oldest_s=max((one.oldest_s for one in rivals), default=0.0),
        everything=sum(one.frames for one in waiting),
    )


def _pressure(queue: _Queue, limits: PressureSettings) -> str:
    """What is beyond its limit; empty when nothing is."""
    if queue.total >= limits.max_depth:
        return f"{queue.total} frames wait; {limits.max_depth} may (pressure.max_depth)"
    if limits.max_age_s and queue.oldest_s >= limits.max_age_s:
        return f"the oldest frame has waited {queue.oldest_s:.0f} s; {limits.max_age_s:g} may (pressure.max_age_s)"
    return ""


def _busy(camera: CameraIdentity, reason: str, over: int, drained_per_s: float) -> FleetBusy:
    """``over`` frames must go first: at the fleet's present pace that takes ``over / drained_per_s`` seconds."""
    wait = math.ceil(over / drained_per_s) if drained_per_s else LONGEST_S
    return FleetBusy(
        f"Camera {camera.name!r} has to wait: {reason}.",
        cure="Send the same frames again after Retry-After seconds; add workers if this happens often.",
        retry_after_s=min(LONGEST_S, max(SHORTEST_S, wait)),
    )
