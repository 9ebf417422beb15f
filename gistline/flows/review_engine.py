"""One engine in service, measured again: on labelled images, and beside its FP32 twin on frames of today."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from gistline.detection.agreement import Pair, agreement
from gistline.domain import Detection, EngineInfo, Passport
from gistline.domain_accuracy import Advice, Reviewed, ReviewKind
from gistline.errors import (
    EngineUnavailable,
    EngineUnproven,
    FrameDamaged,
    ImageRejected,
    ModelRejected,
    NotFound,
    RequestRejected,
)
from gistline.findings.accuracy import MEASURE, judge_agreement, judge_labelled, unknown
from gistline.flows.measure_passport import (
    CHUNK,
    MeasuringTools,
    TriedDetector,
    is_plain,
    machine_of,
    measure_loss,
    open_reference,
    open_stored,
    reference_of,
)
from gistline.flows.trial_images import trial_images
from gistline.frames.decode import decode
from gistline.frames.store import FrameStore
from gistline.storage.engines import register_engine
from gistline.storage.models import StoredModel, get_model
from gistline.storage.passports import newest_of_engine
from gistline.storage.recent_frames import KeptFrame, Served, findings_of, kept_since
from gistline.storage.session import transaction

log = logging.getLogger(__name__)

CANNOT = (EngineUnavailable, EngineUnproven, ModelRejected, RequestRejected)
"""Why an engine cannot be measured here; an operator's matter, and no reason to leave the rest unmeasured."""


@dataclass(slots=True)
class Subject:
    """The engine that is looked at, its model, the passport that it serves under, and where frames lie.

    What a review opens is closed by ``stack``; the FP32 twin is opened once.
    """

    served: Served
    model: StoredModel
    passport: Passport | None
    store: FrameStore
    stack: ExitStack
    reference: TriedDetector | None = None


def review_labelled(subject: Subject, tools: MeasuringTools) -> Reviewed:
    """Measure it again on the labelled set, if this machine runs the very engine; else say why not.

    Raises:
        StorageUnavailable: the database or the store does not answer.

    """
    kind = ReviewKind.LABELLED
    try:
        _hurry(tools)
        engine = open_stored(subject.model, tools, tools.settings.detection, subject.stack)
        passport = _passport_here(subject.served, engine.info, tools)
        if passport is None or passport.measurement is None:
            return unknown(kind, _elsewhere(subject, engine.info), measure=MEASURE, advice=Advice.MEASURE)
        reference = engine if is_plain(engine.info) else _reference(subject, tools)
        images = trial_images(subject.model.labels, tools.settings)
        now = measure_loss((engine, reference), images, tools, timed=False)
        _hurry(tools)
    except CANNOT as error:
        return unknown(kind, f"Not measured: {error}", measure=MEASURE, advice=Advice.MEASURE)
    settings = tools.settings
    return judge_labelled(
        passport.measurement,
        now,
        max_lost=settings.accuracy.max_lost,
        least_boxes=settings.passport.least_boxes,
    )


def review_agreement(subject: Subject, tools: MeasuringTools, since: datetime) -> Reviewed:
    """Hold what the engine found on frames of today against what FP32 finds on them now.

    The findings are those in the database: the engine itself is not run again, wherever it runs.

    Raises:
        StorageUnavailable: the database or the store does not answer.

    """
    kind, settings = ReviewKind.AGREEMENT, tools.settings.accuracy
    with transaction(tools.sessions) as session:
        wanted = 8 * settings.frames
        kept = kept_since(session, subject.served.engine_id, since, most=wanted, of_camera=settings.frames)
        frames = kept[: settings.frames]
        told, threshold = findings_of(session, subject.served.engine_id, [one.id for one in frames])
    if not frames:
        why = "No frame of today has its bytes kept (frames.keep, frames.keep_days)."
        return unknown(kind, why, measure="agreement")
    try:
        _hurry(tools)
        pairs = _beside_reference(subject, tools, frames, told, threshold)
    except CANNOT as error:
        return unknown(kind, f"Not measured: {error}", measure="agreement", advice=Advice.MEASURE)
    found = agreement(pairs)
    return judge_agreement(
        found.share,
        found.shift,
        images=found.images,
        findings=found.findings,
        least=settings.least_agreement,
        least_findings=settings.least_judged,
    )


def pictures(
    frames: Sequence[KeptFrame], store: FrameStore, tools: MeasuringTools
) -> Iterator[tuple[KeptFrame, NDArray[np.uint8]]]:
    """Decode kept frames one by one, until asked to stop; those pruned meanwhile, or damaged, are left out.

    Raises:
        StorageUnavailable: the store does not answer.

    """
    for frame in frames:
        if tools.stopping():
            return
        with suppress(FrameDamaged, ImageRejected, NotFound):
            yield frame, decode(store.get(frame.sha256), tools.settings.frames)


def _beside_reference(
    subject: Subject,
    tools: MeasuringTools,
    frames: Sequence[KeptFrame],
    told: dict[UUID, list[Detection]],
    threshold: float | None,
) -> list[Pair]:
    floor = tools.settings.detection.min_confidence
    least = max(floor, threshold or floor)
    reference = _reference(subject, tools)
    pairs: list[Pair] = []
    shown = pictures(frames, subject.store, tools)
    while chunk := list(islice(shown, CHUNK)):
        seen = reference.detect([image for _, image in chunk], floor)
        for (frame, _), others in zip(chunk, seen, strict=True):
            pairs.append((_sure(told[frame.id], least), _sure(others, least)))
    _hurry(tools)
    return pairs


def _hurry(tools: MeasuringTools) -> None:
    if tools.stopping():
        raise EngineUnproven("the time for a review (accuracy.max_s) was over.")


def _sure(found: Sequence[Detection], least: float) -> list[Detection]:
    return [one for one in found if one.confidence >= least]


def _reference(subject: Subject, tools: MeasuringTools) -> TriedDetector:
    """The FP32 model that its passport names, else the one that it was made of; opened at the first call."""
    if subject.reference is None:
        named = subject.passport.reference if subject.passport else None
        with transaction(tools.sessions) as session:
            found = get_model(session, named.weights_sha256) if named else None
        twin = found or reference_of(subject.model, tools.sessions)
        if twin.sha256 == subject.model.sha256 and not subject.model.quantised:
            raise EngineUnproven(f"{twin.name} is FP32 itself: there is nothing to hold it against.")
        subject.reference = open_reference(twin, tools, subject.stack)
    return subject.reference


def _passport_here(served: Served, info: EngineInfo, tools: MeasuringTools) -> Passport | None:
    """The passport of the engine on this machine; None where this machine runs another engine."""
    with transaction(tools.sessions) as session:
        if register_engine(session, info) != served.engine_id:
            return None
        return newest_of_engine(session, info, machine_of(info))


def _elsewhere(subject: Subject, info: EngineInfo) -> str:
    served = subject.served
    return (
        f"Not measured: it serves by {served.runtime} on {served.machine}; this process runs it by {info.runtime} on "
        f"{machine_of(info)}, for which there is no passport. Run 'gistline accuracy review' where it serves."
    )
