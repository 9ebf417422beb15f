"""Is the engine in service still worth its passport? Measured again on a schedule, and whenever somebody asks.

Four questions: labelled images against the passport, findings of today against FP32, operators' opinions, and whether
cameras' frames have moved. Where ranges no longer fit, INT8 and FP32 part and recalibrating helps; where the two agree
and the figures fall all the same, the world has changed: look at the camera, label frames of today, train again.

One process at a time does it. Nothing is written before all is measured, so who dies half-way has done nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from gistline.domain_accuracy import Reviewed, ReviewVerdict
from gistline.errors import NotFound
from gistline.findings.accuracy import cause_known, in_words, judge_feedback
from gistline.flows.measure_passport import MeasuringTools
from gistline.flows.review_cameras import CamerasReviewed, review_cameras
from gistline.flows.review_engine import Subject, review_agreement, review_labelled
from gistline.frames.store import FrameStore
from gistline.storage import accuracy_reviews
from gistline.storage.feedback import feedback_counts
from gistline.storage.models import get_model
from gistline.storage.passports import get_passport
from gistline.storage.recent_frames import Served, served_engines
from gistline.storage.session import Sessions, transaction

log = logging.getLogger(__name__)

LEAST_WINDOW_H: Final = 24.0
"""Frames of a whole day at least are looked at: shifts differ."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one look came to. ``alone`` is false where another process was reviewing; nothing was done then."""

    alone: bool
    found: Sequence[Reviewed] = ()


def review_accuracy(tools: MeasuringTools, store: FrameStore, *, asked: bool = False) -> Round:
    """Review every engine in service whose review is due, or all of them when ``asked``.

    Raises:
        StorageUnavailable: the database or the store does not answer; what was not written is due again.

    """
    if not (asked or tools.settings.accuracy.every_h) or not _due(tools, asked=asked):
        return Round(alone=True)
    with accuracy_reviews.reviewing_alone(tools.sessions) as alone:
        if not alone:
            return Round(alone=False)
        found: list[Reviewed] = []
        for served, last in _due(tools, asked=asked):
            found += _review(served, last, tools, store)
        return Round(alone=True, found=found)


def _due(tools: MeasuringTools, *, asked: bool) -> list[tuple[Served, datetime | None]]:
    """Engines to review, each with the time of its last review. A passport is a measurement too."""
    pause = timedelta(hours=tools.settings.accuracy.every_h)
    with transaction(tools.sessions) as session:
        engines = [(one, accuracy_reviews.last_reviewed(session, one.engine_id)) for one in served_engines(session)]
    now = datetime.now(UTC)
    return [(one, last) for one, last in engines if asked or now - (last or one.measured_at or now - pause) >= pause]


def _review(served: Served, last: datetime | None, tools: MeasuringTools, store: FrameStore) -> list[Reviewed]:
    subject = _subject(served, tools.sessions, store)
    if subject is None:
        log.warning("model %s is served and not in the database, so it cannot be reviewed", served.model_sha256)
        return []
    begun = time.monotonic()
    patient = replace(
        tools, stopping=lambda: tools.stopping() or time.monotonic() - begun > tools.settings.accuracy.max_s
    )
    since = datetime.now(UTC) - timedelta(hours=max(LEAST_WINDOW_H, tools.settings.accuracy.every_h))
    with subject.stack:
        engine = [
            review_labelled(subject, patient),
            review_agreement(subject, patient, since),
            _feedback(subject, tools),
        ]
    cameras = review_cameras(subject, patient, since)
    found = [replace(one, text=in_words(one)) for one in (*cameras.found, *cause_known(engine))]
    if tools.stopping() or not _write(subject, found, cameras, (last, tools.sessions)):
        log.info("the review of %s was broken off and is due again", subject.model.name)
        return []
    for one in found:
        level = logging.INFO if one.verdict in (ReviewVerdict.OK, ReviewVerdict.UNKNOWN) else logging.WARNING
        log.log(level, "review of %s, %s %s: %s", subject.model.name, one.kind, one.verdict, one.text)
    return found


def _subject(served: Served, sessions: Sessions, store: FrameStore) -> Subject | None:
    with transaction(sessions) as session:
        model = get_model(session, served.model_sha256)
        passport = None
        with suppress(NotFound):
            passport = get_passport(session, served.passport_id) if served.passport_id else None
    return Subject(served, model, passport, store, ExitStack()) if model is not None else None


def _feedback(subject: Subject, tools: MeasuringTools) -> Reviewed:
    settings = tools.settings.accuracy
    since = datetime.now(UTC) - timedelta(days=settings.feedback_days)
    with transaction(tools.sessions) as session:
        counts = [
            one
            for one in feedback_counts(session, since=since, lines=None)
            if one.engine_id == subject.served.engine_id
        ]
    return judge_feedback(
        sum(one.correct for one in counts),
        sum(one.incorrect for one in counts),
        days=settings.feedback_days,
        least=settings.least_precision,
        least_judged=settings.least_judged,
    )


def _write(
    subject: Subject, found: Sequence[Reviewed], cameras: CamerasReviewed, since: tuple[datetime | None, Sessions]
) -> bool:
    """Write everything at once; false if somebody else has reviewed meanwhile, since the lock's connection broke."""
    last, sessions = since
    served = subject.served
    with transaction(sessions) as session:
        accuracy_reviews.write_alone(session)
        if accuracy_reviews.last_reviewed(session, served.engine_id) != last:
            return False
        accuracy_reviews.save_reviews(
            session, found, engine_id=served.engine_id, passport_id=served.passport_id, machine=served.machine
        )
        for one in cameras.new:
            place = (one.camera, one.source)
            accuracy_reviews.keep_reference(session, served.engine_id, place, one.counts, frames=one.frames)
    return True
