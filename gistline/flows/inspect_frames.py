"""Frame ids in; findings, verdicts and states out, each written once.

A bell names frames, but the rows decide: the worker claims those that are still pending, fills its batch up with others
and goes on for a while. No transaction is open while the engine works. What goes wrong with one frame ends that frame;
what goes wrong with a batch sends its frames back, to be tried one by one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Final, Self
from uuid import UUID

from gistline.domain import Detection, FrameState, VerdictKind
from gistline.errors import EngineUnavailable, StorageUnavailable
from gistline.findings.rules import decide, severity
from gistline.flows.claimed_batch import Claim, Loader, Turn
from gistline.flows.drop_bytes import drop_bytes
from gistline.flows.station import Inspected, Station
from gistline.settings import Keep, Settings
from gistline.storage.findings import Measure
from gistline.storage.frames import Outcome, Trouble, finish, give_back, retry_or_fail
from gistline.storage.session import transaction

log = logging.getLogger(__name__)

FINISH_PAUSES_S: Final = (0.2, 0.5, 1.0, 2.0)
"""Results cost an inference, so a database that is away for a moment is asked again."""


def inspect_frames(
    frame_ids: Sequence[UUID], station: Station, *, stopping: Callable[[], bool] = lambda: False
) -> Inspected:
    """Inspect these frames and whatever else is pending, for about ``fleet.drain_s`` seconds or until ``stopping()``.

    Frames that are not pending any more are left alone, so calling it twice does no harm.

    Raises:
        EngineUnavailable: the engine failed; its batch went back unjudged.
        StorageUnavailable: the database or the frame store does not answer; the batch went back, or its lease runs out.

    """
    until = time.monotonic() + station.settings.fleet.drain_s

    def may_claim() -> bool:
        return time.monotonic() < until and not stopping()

    total = Inspected()
    batch = station.claim(Turn.SUSPECT_FIRST, frame_ids)
    while batch is not None:
        with _ClaimedBeside(station, wanted=may_claim() and not batch.suspect) as beside:
            total += _inspect(batch, station)
        turn = Turn.FRESH_FIRST if batch.suspect else Turn.SUSPECT_FIRST
        batch = beside.claimed or (station.claim(turn) if may_claim() else None)
    _wait_for_tidying(station, leave=0)
    return total


class _ClaimedBeside:
    """Claims the next batch while its body runs, so that the engine does not wait; gives it back if the body fails."""

    def __init__(self, station: Station, *, wanted: bool) -> None:
        self._station = station
        self._future = station.ahead.submit(station.claim, Turn.FRESH_BESIDE_OTHERS) if wanted else None
        self.claimed: Claim | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._future is None:
            return
        if error is None:
            self.claimed = self._future.result()
            return
        with suppress(StorageUnavailable):
            if (unused := self._future.result()) is not None:
                _give_back(unused, self._station)


def _inspect(batch: Claim, station: Station) -> Inspected:
    loader = station.load(batch)
    began = time.perf_counter()
    with ExitStack() as stack:
        stack.push(lambda _kind, error, _trace: _return(batch, error, station) if error else None)
        stack.callback(loader.stop)
        with station.looking:
            serving = station.serving
            detections = serving.detector.detect(loader.images())
        if len(detections) != len(batch.frames) - len(loader.problems):
            raise EngineUnavailable(f"The detector answered {len(detections)} of {len(loader.looked)} images.")
        looked = time.perf_counter()
        outcomes = _judge(loader, detections, station.settings)
        written = _finish(outcomes, batch, station, serving.measure)
    ended = time.perf_counter()
    station.frame_s = (looked - began) / len(batch.frames)
    _tidy(batch, [one for one in outcomes if one.frame_id in written], station)
    done = Inspected(
        1, len(written), len(loader.problems), loader.fetch_s, loader.decode_s, looked - began, ended - looked
    )
    log.debug("batch of %d: %s", len(batch.frames), done)
    return done


def _judge(loader: Loader, detections: Sequence[Sequence[Detection]], settings: Settings) -> list[Outcome]:
    outcomes = [Outcome.failed(frame_id, problem) for frame_id, problem in loader.problems.items()]
    for frame, seen in zip(loader.looked, detections, strict=True):
        ranked = [(one, severity(one.label, settings.verdict)) for one in seen]
        outcomes.append(Outcome.inspected(frame.id, decide(seen, settings.verdict), ranked))
    return outcomes


def _finish(outcomes: Sequence[Outcome], batch: Claim, station: Station, measure: Measure) -> set[UUID]:
    for pause_s in (*FINISH_PAUSES_S, None):
        try:
            with transaction(station.sessions) as session:
                return finish(session, outcomes, token=batch.token, measure=measure)
        except StorageUnavailable as error:
            if pause_s is None:
                raise
            log.warning("results wait %.1f s: %s", pause_s, error)
            time.sleep(pause_s)
    raise AssertionError("the last pause raises")


def _return(batch: Claim, error: BaseException, station: Station) -> None:
    """Send a batch back after ``error``: as if never claimed when the frames have no part in it, else as suspects."""
    if isinstance(error, StorageUnavailable) or not isinstance(error, Exception):
        _give_back(batch, station)
        return
    fleet = station.settings.fleet
    # An engine that fails on one frame alone may fail because of it; one that fails on many is at fault itself.
    counted = len(batch.frames) == 1 or not isinstance(error, EngineUnavailable)
    trouble = Trouble(f"{type(error).__name__}: {error}", fleet.max_attempts, fleet.retry_backoff_s, counted)
    try:
        with transaction(station.sessions) as session:
            retry_or_fail(session, batch.ids, trouble, token=batch.token, measure=station.serving.measure)
    except StorageUnavailable:
        log.warning("%d frames wait for the end of their lease", len(batch.frames))


def _give_back(batch: Claim, station: Station) -> None:
    try:
        with transaction(station.sessions) as session:
            give_back(session, batch.ids, batch.token)
    except StorageUnavailable:
        log.warning("%d frames wait for the end of their lease", len(batch.frames))


def _tidy(batch: Claim, written: Sequence[Outcome], station: Station) -> None:
    """Drop the bytes that need not be kept, beside the next batch."""
    keep = station.settings.frames.keep
    done = [one for one in written if one.state is FrameState.INSPECTED]
    drop = {one.frame_id for one in done if keep is Keep.NOTHING or one.verdict.kind is VerdictKind.OK}
    if keep is Keep.ALL or not drop:
        return
    frames = [(frame.id, frame.sha256) for frame in batch.frames if frame.id in drop]
    _wait_for_tidying(station, leave=1)
    station.tidying.append(station.tidier.submit(drop_bytes, frames, station.sessions, station.store))


def _wait_for_tidying(station: Station, *, leave: int) -> None:
    while len(station.tidying) > leave:
        station.tidying.pop(0).result()
