"""Frame ids in; findings, verdicts and states out, each written once.

A bell names frames, but the rows decide: the worker claims those that are still pending, fills its batch up with others
and goes on for a while. No transaction is open while the engine works. What goes wrong with one frame ends that frame;
what goes wrong with a batch sends its frames back, to be tried one by one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from uuid import UUID

from gistline.flows.claimed_batch import Claim, Loading
from gistline.flows.frame_stream import Ahead, FrameStream, Limits
from gistline.flows.station import Inspected, Station
from gistline.storage.frames import Turn


def inspect_frames(
    frame_ids: Sequence[UUID], station: Station, *, stopping: Callable[[], bool] = lambda: False
) -> Inspected:
    """Inspect these frames and whatever else is pending, for about ``fleet.drain_s`` seconds or until ``stopping()``.

    Frames that are not pending any more are left alone, so calling it twice does no harm. Everything that it claimed is
    committed or given back when it returns; bytes that need not be kept go soon after that, beside the next frames.

    Raises:
        EngineUnavailable: the engine failed; its batch went back unjudged.
        StorageUnavailable: the database or the frame store does not answer; the batch went back, or its lease runs out.

    """
    until = time.monotonic() + station.settings.fleet.drain_s

    def may_claim() -> bool:
        return time.monotonic() < until and not stopping()

    total = Inspected()
    loading = station.loading()
    ahead = Ahead(station, loading, may_claim)
    batch = _claim(station, Turn.SUSPECT_FIRST, loading, frame_ids)
    while batch is not None:
        total += FrameStream(batch, station, ahead, loading, Limits(may_claim, stopping)).run()
        turn = Turn.FRESH_FIRST if batch.suspect else Turn.SUSPECT_FIRST
        batch = ahead.take() or (_claim(station, turn, loading) if may_claim() else None)
    return total


def _claim(station: Station, turn: Turn, loading: Loading, ids: Sequence[UUID] = ()) -> Claim | None:
    claimed = station.claim(turn, ids)
    if claimed is not None:
        loading.add(claimed.frames)
    return claimed
