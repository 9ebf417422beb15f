"""The words of accuracy in service: reviews of the engines that look at frames, their verdicts and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID


class ReviewKind(StrEnum):
    """What a review measures: labelled images, INT8 against FP32, operators' opinions, or whether frames have moved."""

    LABELLED = "labelled"
    AGREEMENT = "agreement"
    FEEDBACK = "feedback"
    DRIFT = "drift"


class ReviewVerdict(StrEnum):
    """What came of it. ``WARN`` is a loss that is likely but not shown, or inputs that moved; ``UNKNOWN`` says why."""

    OK = "ok"
    WARN = "warn"
    LOST = "lost"
    UNKNOWN = "unknown"


class Advice(StrEnum):
    """What to do, as a word; the sentences are in :mod:`gistline.findings.accuracy` and the dashboard's languages."""

    NOTHING = "nothing"
    RECALIBRATE = "recalibrate"
    ROLL_BACK = "roll_back"
    CAMERA = "camera"
    LABEL = "label"
    WAIT = "wait"
    MEASURE = "measure"


@dataclass(frozen=True, slots=True)
class Reviewed:
    """One figure with its interval, what it is held against, and what follows.

    ``measure`` names the figure: ``mAP50-95`` (points of 100 lost since the passport), ``agreement`` and ``precision``
    (shares of 1), or the statistic that moved most (a population stability index). Figures are None where nothing was
    measured. ``sample`` counts images, findings or frames, whichever the figure was taken from.
    """

    kind: ReviewKind
    verdict: ReviewVerdict
    advice: Advice
    text: str
    measure: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    bound: float | None = None
    sample: int = 0
    camera: str | None = None
    line: str | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Review:
    """A review as it is stored. ``machine`` is where the engine runs, as its passport names it."""

    id: UUID
    found: Reviewed
    engine_id: int
    model: str
    passport_id: UUID | None
    machine: str
    reviewed_at: datetime
