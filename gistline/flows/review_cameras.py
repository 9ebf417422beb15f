"""Have a camera's frames, or what is found on them, moved since the engine was new to them?"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from gistline.domain_accuracy import Reviewed, ReviewKind
from gistline.findings.accuracy import judge_drift, unknown
from gistline.findings.drift import (
    Drift,
    FrameOutput,
    compare_images,
    compare_outputs,
    count_outputs,
    describe_images,
    outside_calibration,
)
from gistline.flows.measure_passport import MeasuringTools
from gistline.flows.review_engine import Subject, pictures
from gistline.frames.looks import STATISTICS, look
from gistline.settings_accuracy import AccuracySettings
from gistline.storage.accuracy_reviews import references
from gistline.storage.moments import moment_of
from gistline.storage.recent_frames import KeptFrame, Output, kept_since, outputs_since
from gistline.storage.session import transaction
from gistline.storage.tables import DriftReferenceRow

OUTPUTS: Final = "outputs"
IMAGES: Final = "images"
LOOKS: Final = "calibration_looks"

Looks = Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True)
class NewReference:
    """What a camera's frames look like now, to be kept with the reviews."""

    camera: str
    source: str
    counts: Mapping[str, Any]
    frames: int


@dataclass(slots=True)
class CamerasReviewed:
    """A review of each camera, and references for those that had none."""

    found: list[Reviewed] = field(default_factory=list)
    new: list[NewReference] = field(default_factory=list)


@dataclass(slots=True)
class _Camera:
    """One camera's recent frames."""

    name: str
    line: str = ""
    outputs: list[Output] = field(default_factory=list)
    kept: list[KeptFrame] = field(default_factory=list)


def review_cameras(subject: Subject, tools: MeasuringTools, since: datetime) -> CamerasReviewed:
    """Compare every camera's frames since with its reference; one that has none gets one.

    Raises:
        StorageUnavailable: the database or the store does not answer.

    """
    settings, engine_id = tools.settings.accuracy, subject.served.engine_id
    with transaction(tools.sessions) as session:
        known = references(session, engine_id)
        most = settings.window_frames
        outputs = outputs_since(session, engine_id, since, most=most, of_camera=settings.camera_frames)
        kept = kept_since(session, engine_id, since, most=most, of_camera=settings.camera_images)
    cameras: dict[str, _Camera] = {}
    for output in outputs:
        camera = cameras.setdefault(output.camera, _Camera(output.camera))
        camera.line = output.line
        camera.outputs.append(output)
    for frame in kept:
        cameras.setdefault(frame.camera, _Camera(frame.camera, frame.line)).kept.append(frame)
    done = CamerasReviewed()
    calibrated = json.loads(subject.model.recipe.get(LOOKS) or "{}")
    for _, camera in sorted(cameras.items()):
        _Comparison(camera, known, settings, done).add(subject, tools, calibrated)
    return done


@dataclass(slots=True)
class _Comparison:
    """One camera beside its references. ``notes`` say what could not be compared."""

    camera: _Camera
    known: Mapping[tuple[str, str], DriftReferenceRow]
    settings: AccuracySettings
    done: CamerasReviewed
    notes: list[str] = field(default_factory=list)

    def add(self, subject: Subject, tools: MeasuringTools, calibrated: Mapping[str, Any]) -> None:
        outputs = self._outputs()
        images = self._images(subject, tools, calibrated)
        if images or outputs:
            found = judge_drift(images, outputs)
            found = replace(found, evidence={**found.evidence, "notes": self.notes})
        else:
            found = unknown(ReviewKind.DRIFT, " ".join(self.notes), measure="drift", sample=len(self.camera.outputs))
        self.done.found.append(replace(found, camera=self.camera.name, line=self.camera.line))

    def _outputs(self) -> list[Drift]:
        reference = self.known.get((self.camera.name, OUTPUTS))
        fresh = [one for one in self.camera.outputs if reference is None or moment_of(one.id) > reference.made_at]
        if not self._enough(len(fresh), self.settings.least_frames, "inspected"):
            return []
        counts = count_outputs(FrameOutput(one.label, one.confidence, one.findings) for one in fresh)
        if reference is None:
            self._keep(OUTPUTS, counts, len(fresh))
            return []
        return compare_outputs(reference.counts, counts, least=self.settings.max_psi)

    def _images(self, subject: Subject, tools: MeasuringTools, calibrated: Mapping[str, Any]) -> list[Drift]:
        reference = self.known.get((self.camera.name, IMAGES))
        fresh = [one for one in self.camera.kept if reference is None or moment_of(one.id) > reference.made_at]
        looks = _looks(subject, tools, fresh) if len(fresh) >= self.settings.least_images else {}
        if not self._enough(len(looks.get(STATISTICS[0], ())), self.settings.least_images, "kept"):
            return []
        beyond = outside_calibration(calibrated, looks)
        if reference is None:
            self._keep(IMAGES, describe_images(looks), len(fresh))
            return beyond
        return compare_images(reference.counts, looks, least=self.settings.max_psi) + beyond

    def _enough(self, count: int, least: int, which: str) -> bool:
        if count < least:
            self.notes.append(f"{count} {which} frames since; fewer than {least} say nothing.")
        return count >= least

    def _keep(self, source: str, counts: Mapping[str, Any], frames: int) -> None:
        self.done.new.append(NewReference(self.camera.name, source, counts, frames))
        self.notes.append(f"The {source} of {frames} frames are what it is held against from now on.")


def _looks(subject: Subject, tools: MeasuringTools, frames: Sequence[KeptFrame]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for _, image in pictures(frames, subject.store, tools):
        for name, value in look(image).items():
            found[name].append(value)
    return found
