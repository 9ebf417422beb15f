"""A bound on the accuracy lost -> which layers stay in float, measured: whole models, labelled images, frames a second.

The labelled images are parted. One part chooses; the other, which chose nothing, says what the choice costs. A choice
that does not hold there gives way to the next safer one.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gistline.detection.bootstrap import Draws, estimate, spread
from gistline.detection.detector import Detector, open_model
from gistline.detection.evaluation import COCO_THRESHOLDS, LabelledBox, measure
from gistline.detection.model_file import read_model
from gistline.detection.passport import MEASURED_FROM
from gistline.detection.quantise import Recipe, Target, float_model, write_quantised
from gistline.detection.ranges import RangeTable
from gistline.detection.search import Found, Point, search
from gistline.detection.sensitivity import Progress, as_run_here, measure_layers
from gistline.domain import Detection, Estimate
from gistline.errors import ModelRejected, RequestRejected
from gistline.flows.measure_engine import engine_rate
from gistline.flows.trial_images import LabelledFiles, Sample, trial_images
from gistline.settings import DetectionSettings, Settings

LEAST_LABELLED: Final = 20
_SHARE_TO_CHOOSE: Final = 0.6
_RESAMPLES: Final = 1_000
_MOST_TIMED: Final = 8
_TIMED_IMAGES: Final = 16
_TURN_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Goal:
    """``max_loss`` in points of mAP 0.50-0.95; ``files`` None takes the settings' labelled set or rendered boards.

    ``seed`` parts the images; ``rounds`` of a second each are timed, 0 leaves speed out.
    """

    max_loss: float
    files: LabelledFiles | None = None
    seed: int = 0
    rounds: int = 4


@dataclass(frozen=True, slots=True)
class Row:
    """One measured model; ``point`` is None for FP32. ``map50_95`` in points on the choosing part, NaN-free.

    ``rate`` is the median of frames a second here and ``ratio`` that of the ratios to FP32 within a round; None where
    speed was not measured.
    """

    point: Point | None
    map50_95: float
    rate: float | None = None
    ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """What the search found.

    ``chosen`` is None when no model keeps within the bound. ``check`` is its loss, in points, on the part that chose
    nothing; ``looks`` counts how many models were held against that part. ``rows`` are FP32 and the frontier.
    """

    goal: Goal
    found: Found
    chosen: Point | None
    check: Estimate | None
    looks: int
    parts: tuple[int, int]
    labelled: str
    rows: tuple[Row, ...]


def search_precision(
    model: Path,
    table: RangeTable,
    *,
    recipe: Recipe,
    goal: Goal,
    settings: Settings,
    progress: Progress = lambda _: None,
) -> Choice:
    """Search what stays in float so that the loss keeps within the goal's bound.

    Args:
        model: FP32 ONNX detector.
        table: its ranges.
        recipe: how layers are quantised; what it spares stays in float anyhow.
        goal: the bound, and the labelled images.
        settings: the detector's, and the limits of what may be decoded.
        progress: told what is being done.

    Raises:
        RequestRejected: the labelled images are too few, or no labelled set of this detector.
        EngineUnproven: no labelled images were named, and the detector does not know the boards' classes.
        ModelRejected: the model is no float detector.

    """
    labels = float_model(model).labels
    images = trial_images(labels, settings, goal.files)
    choosing, checking = _parts(list(images.samples()), goal.seed)
    with tempfile.TemporaryDirectory() as folder:
        trials = _Trials(model, table, recipe, settings=settings.detection, folder=Path(folder))
        sample = [one.image for one in choosing[:: max(1, len(choosing) // _TIMED_IMAGES)]][:_TIMED_IMAGES]
        layers = measure_layers(model, table, sample, recipe, progress=lambda name: progress(f"noise of {name}"))
        judge = _Judge(trials, choosing, labels)
        found = search(layers, _told(judge.loss, progress), goal.max_loss)
        chosen, check, looks = _checked(found, _Judge(trials, checking, labels), goal)
        rows = _rows(found, chosen, judge=judge, trials=trials)
        progress("frames a second")
        rows = _timed(rows, trials, sample, rounds=0 if recipe.target is Target.TENSORRT else goal.rounds)
    parts = (len(choosing), len(checking))
    return Choice(goal, found, chosen, check, looks, parts, images.name, tuple(rows))


def _parts(samples: Sequence[Sample], seed: int) -> tuple[list[Sample], list[Sample]]:
    if len(samples) < LEAST_LABELLED:
        raise RequestRejected(
            f"{len(samples)} labelled images are too few to choose on one part and check on another.",
            cure=f"Label at least {LEAST_LABELLED}; some hundreds make the loss certain to a few tenths of a point.",
        )
    order = np.random.default_rng(seed).permutation(len(samples))
    first = round(_SHARE_TO_CHOOSE * len(samples))
    return [samples[i] for i in sorted(order[:first])], [samples[i] for i in sorted(order[first:])]


def _told(loss: Callable[[frozenset[str]], float], progress: Progress) -> Callable[[frozenset[str]], float]:
    def measured(kept: frozenset[str]) -> float:
        progress(f"accuracy with {len(kept)} convolutions in float")
        return loss(kept)

    return measured


class _Trials:
    """Writes and opens models that differ in what stays in float."""

    def __init__(
        self, model: Path, table: RangeTable, recipe: Recipe, *, settings: DetectionSettings, folder: Path
    ) -> None:
        self._model = model
        self._table = table
        self._recipe = recipe
        self._settings = settings.model_copy(update={"runtime": "openvino"})
        self._folder = folder

    def open(self, kept: frozenset[str] | None) -> Detector:
        """The detector with those convolutions in float; None is the FP32 model itself."""
        if kept is None:
            return open_model(float_model(self._model), self._settings)
        spare = replace(self._recipe.spare, tensors=self._recipe.spare.tensors + tuple(sorted(kept)))
        path = self._folder / "trial.onnx"
        write_quantised(self._model, self._table, out=path, recipe=replace(self._recipe, spare=spare))
        return open_model(as_run_here(read_model(path), self._recipe), self._settings)


class _Judge:
    """Losses against FP32 on one part of the labelled images."""

    def __init__(self, trials: _Trials, samples: Sequence[Sample], labels: tuple[str, ...]) -> None:
        self._trials = trials
        self._images = [sample.image for sample in samples]
        self._truth: list[list[LabelledBox]] = [sample.boxes for sample in samples]
        self._labels = labels
        self._exact = self._detect(None)
        self.exact = self._accuracy(self._exact)

    def loss(self, kept: frozenset[str]) -> float:
        """Points of mAP 0.50-0.95 lost; infinite where the runtime would not run the rest in INT8 anyway."""
        try:
            return self.exact - self._accuracy(self._detect(kept))
        except ModelRejected:
            return float("inf")

    def interval(self, kept: frozenset[str], seed: int) -> Estimate:
        """The same with its paired bootstrap interval."""
        draws = Draws.make(len(self._images), resamples=_RESAMPLES, seed=seed)
        pair = [
            spread(found, self._truth, self._labels, draws).mean(*COCO_THRESHOLDS)
            for found in (self._exact, self._detect(kept))
        ]
        return estimate(100 * (pair[0] - pair[1]))

    def _accuracy(self, found: Sequence[Sequence[Detection]]) -> float:
        return 100 * measure(found, self._truth, self._labels).map50_95

    def _detect(self, kept: frozenset[str] | None) -> list[list[Detection]]:
        with self._trials.open(kept) as detector:
            return detector.detect(self._images, MEASURED_FROM)


def _checked(found: Found, judge: _Judge, goal: Goal) -> tuple[Point | None, Estimate | None, int]:
    """The choice, or the next safer one that also holds on images that chose nothing."""
    if found.chosen is None:
        return None, None, 0
    loss: Estimate | None = None
    candidates = [found.chosen, *found.safer(found.chosen)]
    for looks, point in enumerate(candidates, 1):
        loss = judge.interval(point.convolutions, goal.seed)
        if loss.value <= goal.max_loss:
            return point, loss, looks
    return None, loss, len(candidates)


def _rows(found: Found, chosen: Point | None, *, judge: _Judge, trials: _Trials) -> list[Row]:
    """FP32, then the frontier from the cheapest on, thinned to what is worth timing; the choice is always there."""
    frontier = found.frontier
    places = np.unique(np.linspace(0, len(frontier) - 1, _MOST_TIMED).astype(int))
    shown = {point for place, point in enumerate(frontier) if place in places} | ({chosen} if chosen else set())
    ordered = sorted(shown, key=lambda point: (point.cost, point.loss))
    return [Row(None, judge.exact), *(Row(point, judge.exact - point.loss) for point in ordered)]


def _timed(rows: list[Row], trials: _Trials, images: Sequence[NDArray[np.uint8]], *, rounds: int) -> list[Row]:
    """Frames a second of all models by turns of a second; the first round warms up."""
    if not rounds:
        return rows
    detectors = [trials.open(None if row.point is None else row.point.convolutions) for row in rows]
    rates = [[engine_rate(one, images, seconds=_TURN_S) for one in detectors] for _ in range(rounds + 1)]
    for detector in detectors:
        detector.close()
    columns = list(zip(*rates[1:], strict=True))
    return [
        replace(
            row,
            rate=statistics.median(column),
            ratio=statistics.median(mine / base for mine, base in zip(column, columns[0], strict=True)),
        )
        for row, column in zip(rows, columns, strict=True)
    ]
