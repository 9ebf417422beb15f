"""How a batch ends: written in one transaction, sent back to be tried one by one, or given back as if never claimed."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from gistline.domain import Detection, FrameState, VerdictKind
from gistline.errors import EngineUnavailable, StorageUnavailable
from gistline.findings.rules import decide, severity
from gistline.flows.claimed_batch import Claim, Loaded
from gistline.flows.drop_bytes import drop_bytes
from gistline.flows.station import Inspected, Station
from gistline.settings import VerdictSettings
from gistline.settings_frames import Keep
from gistline.storage.batches import BatchNote, Spent, save_batches
from gistline.storage.findings import Measure
from gistline.storage.frames import Outcome, Trouble, finish, give_back, retry_or_fail
from gistline.storage.session import transaction
from gistline.telemetry import metrics, tracing
from gistline.telemetry.logs import log_fields

log = logging.getLogger(__name__)

FINISH_PAUSES_S: Final = (0.2, 0.5, 1.0, 2.0)
"""Results cost an inference, so a database that is away for a moment is asked again."""


@dataclass(slots=True, eq=False)
class Batch:
    """A claim under way: how many of its frames were taken up, how those that ended did, and what each stage took."""

    claim: Claim
    taken: int = 0
    outcomes: list[Outcome] = field(default_factory=list)
    problems: int = 0
    fetch_s: float = 0.0
    decode_s: float = 0.0
    infer_s: float = 0.0
    post_s: float = 0.0

    @property
    def looked_at(self) -> bool:
        """Whether every frame has its outcome."""
        return len(self.outcomes) == len(self.claim.frames)

    def take(self, loaded: Loaded) -> None:
        """Count a loaded frame; one without an image has failed."""
        self.taken += 1
        self.fetch_s += loaded.fetch_s
        self.decode_s += loaded.decode_s
        if loaded.image is None:
            self.problems += 1
            self.outcomes.append(Outcome.failed(loaded.frame.id, loaded.problem))

    def judge(self, frame_id: UUID, seen: Sequence[Detection], rules: VerdictSettings) -> None:
        """Decide on a frame that the detector looked at."""
        ranked = [(one, severity(one.label, rules)) for one in seen]
        self.outcomes.append(Outcome.inspected(frame_id, decide(seen, rules), ranked))


def write(batch: Batch, station: Station, measure: Measure) -> Inspected:
    """Commit a batch; if that fails for good it goes back.

    Raises:
        StorageUnavailable: the database did not answer for seconds; its frames wait for the end of their lease.

    """
    with log_fields(batch=batch.claim.token, frame=batch.claim.ids):
        return _write(batch, station, measure)


def _write(batch: Batch, station: Station, measure: Measure) -> Inspected:
    station.let_told_pass()
    began = time.perf_counter()
    with ExitStack() as stack:
        stack.push(lambda _kind, error, _trace: send_back(batch.claim, error, station, measure) if error else None)
        written = _finish(batch, station, measure)
    commit_s = time.perf_counter() - began
    _note(batch, station, measure, commit_s)
    _trace(batch, written, station)
    metrics.count_ends((one.state, one.verdict.kind) for one in batch.outcomes if one.frame_id in written)
    _tidy(batch, written, station)
    done = Inspected(
        1, len(written), batch.problems, batch.fetch_s, batch.decode_s, batch.infer_s, batch.post_s, commit_s
    )
    log.debug("batch of %d: %s", len(batch.claim.frames), done)
    return done


def send_back(claim: Claim, error: BaseException, station: Station, measure: Measure, *, alone: bool = True) -> None:
    """Send a claim back after ``error``: as if never claimed when its frames have no part in it, else as suspects.

    ``alone``: no other claim's frame was being looked at.
    """
    if isinstance(error, StorageUnavailable) or not isinstance(error, Exception):
        return_unused(claim, station)
        return
    fleet = station.settings.fleet
    # An engine that fails on one frame alone may fail because of it; one that fails on many is at fault itself.
    counted = not isinstance(error, EngineUnavailable) or (alone and len(claim.frames) == 1)
    trouble = Trouble(f"{type(error).__name__}: {error}", fleet.max_attempts, fleet.retry_backoff_s, counted)
    try:
        with transaction(station.sessions) as session:
            retry_or_fail(session, claim.ids, trouble, token=claim.token, measure=measure)
    except StorageUnavailable:
        log.warning("%d frames wait for the end of their lease", len(claim.frames), extra=_of(claim))


def return_unused(claim: Claim, station: Station) -> None:
    """Give a claim back as if it had never been."""
    try:
        with transaction(station.sessions) as session:
            give_back(session, claim.ids, claim.token)
    except StorageUnavailable:
        log.warning("%d frames wait for the end of their lease", len(claim.frames), extra=_of(claim))


def _of(claim: Claim) -> dict[str, Any]:
    """Fields for a line that is logged about a claim."""
    return {"fields": {"batch": claim.token, "frame": claim.ids}}


def wait_for_tidying(station: Station, *, leave: int) -> None:
    """Return when no more than ``leave`` batches' bytes are still to be dropped."""
    while len(station.tidying) > leave:
        station.tidying.pop(0).result()


def _finish(batch: Batch, station: Station, measure: Measure) -> set[UUID]:
    for pause_s in (*FINISH_PAUSES_S, None):
        try:
            notes = list(station.notes)
            with transaction(station.sessions) as session:
                written = finish(session, batch.outcomes, token=batch.claim.token, measure=measure)
                save_batches(session, notes, time.monotonic())
            station.forget_notes(notes)
            return written
        except StorageUnavailable as error:
            if pause_s is None:
                raise
            log.warning("results wait %.1f s: %s", pause_s, error)
            time.sleep(pause_s)
    raise AssertionError("the last pause raises")


def _note(batch: Batch, station: Station, measure: Measure, commit_s: float) -> None:
    """Keep what this batch took for the next one's transaction, so that it costs no commit of its own."""
    frames, now = batch.claim.frames, time.monotonic()
    spent = Spent(batch.fetch_s, batch.decode_s, batch.infer_s, batch.post_s, commit_s, now - batch.claim.claimed)
    accepted = [frame.accepted_at for frame in frames]
    cameras = len({frame.camera_id for frame in frames})
    note = BatchNote(station.worker, measure.engine_id, batch.claim.claimed, accepted, batch.problems, cameras, spent)
    station.notes.append(note)
    seconds = {stage: getattr(spent, f"{stage}_s") for stage in metrics.STAGES}
    capacity = station.settings.fleet.batch_size
    metrics.count_batch(metrics.BatchTimes(accepted, batch.claim.claimed, capacity, seconds))


def _trace(batch: Batch, written: set[UUID], station: Station) -> None:
    """Tell of the batch in the traces of its frames, where somebody follows them."""
    if not tracing.is_on():
        return
    ends = {one.frame_id: one for one in batch.outcomes if one.frame_id in written}
    frames = [
        tracing.TracedFrame(
            frame.traceparent,
            {"gistline.frame": frame.id, "gistline.state": end.state, "gistline.verdict": end.verdict.kind},
        )
        for frame in batch.claim.frames
        if (end := ends.get(frame.id)) and frame.traceparent and tracing.is_traced(frame.traceparent)
    ]
    stages: dict[str, object] = {
        f"gistline.{stage}_s": getattr(batch, f"{stage}_s") for stage in ("fetch", "decode", "infer", "post")
    }
    about = stages | {"gistline.worker": station.worker, "gistline.frames": len(batch.claim.frames)}
    tracing.batch_ended(batch.claim.token, time.monotonic() - batch.claim.claimed, about, frames)


def _tidy(batch: Batch, written: set[UUID], station: Station) -> None:
    """Drop the bytes that need not be kept, beside the next batch."""
    keep = station.settings.frames.keep
    done = [one for one in batch.outcomes if one.frame_id in written and one.state is FrameState.INSPECTED]
    drop = {one.frame_id for one in done if keep is Keep.NOTHING or one.verdict.kind is VerdictKind.OK}
    if keep is Keep.ALL or not drop:
        return
    frames = [(frame.id, frame.sha256) for frame in batch.claim.frames if frame.id in drop]
    wait_for_tidying(station, leave=1)
    station.tidying.append(station.tidier.submit(drop_bytes, frames, station.sessions, station.store))
