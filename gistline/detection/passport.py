"""From two engines' detections to figures with intervals, and from figures to a verdict. Pure; see docs/passport.md.

A loss is FP32 minus engine on the same images. A verdict weighs its best estimate and its 95 % interval:

===================================  ==========================  =====================================
the loss                             over all classes            of one class
===================================  ==========================  =====================================
whole interval within the bound      passes                      passes
estimate within, interval beyond     passes unless ``proven``    passes unless ``proven``
estimate beyond, interval reaches in fails                       undecided; fails if ``proven``
whole interval beyond the bound      fails                       fails
===================================  ==========================  =====================================

A class with fewer labels than ``least_boxes`` is undecided whatever its figures say. There are few labels of one class
and many classes, so that one of them looks bad by chance now and then: only a proven excess fails it. The mean over
all classes has no such excuse.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from gistline.detection.bootstrap import Draws, Spread, estimate, spread
from gistline.detection.evaluation import COCO_THRESHOLDS, DEEPPCB_THRESHOLD, LabelledBox
from gistline.domain import (
    ClassComparison,
    Comparison,
    Detection,
    Judgement,
    Measurement,
    PassportLimits,
    PassportVerdict,
)

SEED: Final = 20_261_124
MEASURED_FROM: Final = 0.001
"""Least confidence of detections that are measured: average precision looks at all of them."""
MAP50: Final = (0.5,)


@dataclass(frozen=True, slots=True)
class Trial:
    """What two engines said about the same labelled images, and how fast; ``fps`` is (engine, reference)."""

    labelled_name: str
    labelled_sha256: str
    truth: Sequence[Sequence[LabelledBox]]
    engine: Sequence[Sequence[Detection]]
    reference: Sequence[Sequence[Detection]]
    fps: tuple[float, float]


def compare(trial: Trial, labels: Sequence[str], *, resamples: int, seed: int = SEED) -> Measurement:
    """Figures of both engines and of the loss, each with its interval.

    Raises:
        ValueError: different numbers of images.

    """
    draws = Draws.make(len(trial.truth), resamples=resamples, seed=seed)
    pair = (
        spread(trial.engine, trial.truth, labels, draws),
        spread(trial.reference, trial.truth, labels, draws),
    )
    return Measurement(
        labelled_name=trial.labelled_name,
        labelled_sha256=trial.labelled_sha256,
        images=len(trial.truth),
        boxes=sum(map(len, trial.truth)),
        map33=_comparison(pair, (DEEPPCB_THRESHOLD,)),
        map50=_comparison(pair, MAP50),
        map50_95=_comparison(pair, COCO_THRESHOLDS),
        classes=tuple(_of_class(pair, trial.truth, label) for label in labels if _boxes(trial.truth, label)),
        engine_fps=trial.fps[0],
        reference_fps=trial.fps[1],
        resamples=resamples,
        seed=seed,
    )


def judge(measured: Measurement, limits: PassportLimits) -> Judgement:
    """Whether an engine with these figures may serve within these limits."""
    reasons = [*_too_weak(measured, limits), *_overall(measured, limits)]
    undecided = []
    for one in measured.classes:
        failed, open_questions = _judge_class(one, limits)
        reasons += failed
        undecided += open_questions
    verdict = PassportVerdict.FAILED if reasons else PassportVerdict.PASSED
    return Judgement(verdict, tuple(reasons), tuple(undecided))


def _too_weak(measured: Measurement, limits: PassportLimits) -> Iterator[str]:
    if measured.boxes < limits.least_boxes:
        yield f"{measured.labelled_name} has {measured.boxes} labelled boxes, fewer than {limits.least_boxes}"
    # Written so that a figure that is not a number fails.
    if not measured.map50.engine.value >= limits.least_map50:
        yield f"mAP50 is {_points(measured.map50.engine.value)}, at least {_points(limits.least_map50)} is wanted"


def _overall(measured: Measurement, limits: PassportLimits) -> Iterator[str]:
    for name, found, bound in (
        ("mAP50-95", measured.map50_95, limits.max_loss),
        ("mAP50", measured.map50, limits.max_loss50),
    ):
        decisive = found.loss.high if limits.proven else found.loss.value
        if not 100 * decisive <= bound:
            yield f"{name} loses {_loss(found)}, at most {bound:g} is allowed"


def _judge_class(one: ClassComparison, limits: PassportLimits) -> tuple[list[str], list[str]]:
    """Reasons to fail, and what stays undecided."""
    failed, undecided = [], []
    if one.boxes < limits.least_boxes:
        return [], [f"{one.label}: {one.boxes} labelled boxes, fewer than {limits.least_boxes}"]
    for name, found, bound in (
        ("AP50-95", one.map50_95, limits.max_class_loss),
        ("AP50", one.map50, limits.max_class_loss50),
    ):
        said = f"{one.label}: {name} loses {_loss(found)}, at most {bound:g} is allowed"
        decisive = found.loss.high if limits.proven else found.loss.low
        if not 100 * decisive <= bound:
            failed.append(said)
        elif 100 * found.loss.value > bound:
            undecided.append(f"{said}: too few labels to tell")
    return failed, undecided


def _comparison(pair: tuple[Spread, Spread], thresholds: tuple[float, ...], label: str | None = None) -> Comparison:
    engine, reference = (one.mean(*thresholds, label=label) for one in pair)
    return Comparison(estimate(engine), estimate(reference), estimate(reference - engine))


def _of_class(pair: tuple[Spread, Spread], truth: Sequence[Sequence[LabelledBox]], label: str) -> ClassComparison:
    return ClassComparison(
        label=label,
        boxes=_boxes(truth, label),
        images=sum(any(name == label for name, _ in labelled) for labelled in truth),
        map50=_comparison(pair, MAP50, label),
        map50_95=_comparison(pair, COCO_THRESHOLDS, label),
    )


def _boxes(truth: Sequence[Sequence[LabelledBox]], label: str) -> int:
    return sum(name == label for labelled in truth for name, _ in labelled)


def _points(share: float) -> str:
    return f"{100 * share:.1f}"


def _loss(found: Comparison) -> str:
    return f"{100 * found.loss.value:.2f} points [{100 * found.loss.low:.2f}, {100 * found.loss.high:.2f}]"
