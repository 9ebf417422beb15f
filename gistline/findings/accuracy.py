"""What a figure of a review means: a verdict, and what to do about it. Pure.

A figure is judged by its 95 % interval: *lost* when the whole interval lies beyond the bound, *warn* when only the best
estimate does. Too small a sample is *unknown* and says so; it never raises an alarm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from gistline.domain import Estimate, Measurement
from gistline.domain_accuracy import Advice, Reviewed, ReviewKind, ReviewVerdict
from gistline.findings.drift import Drift
from gistline.findings.precision import precision

MEASURE: Final = "mAP50-95"
SAME: Final = 1e-9
"""Figures that differ by less are the same: floating point."""

SENTENCES: Final[Mapping[Advice, str]] = {
    Advice.NOTHING: "",
    Advice.RECALIBRATE: "Recalibrate on frames of today that somebody has looked at: 'gistline accuracy frames --out "
    "DIR' writes recent ones, 'gistline model quantise FP32_MODEL --calibration DIR' makes the model, 'gistline model "
    "promote' serves it once its passport passes.",
    Advice.ROLL_BACK: "The same images gave better figures when the passport was measured, and FP32 still does: the "
    "engine itself, its settings or its machine changed. Measure it again with 'gistline model passport', return to "
    "the one before with 'gistline model rollback', or recalibrate with 'gistline model quantise'.",
    Advice.CAMERA: "Look at the camera first: lamp, exposure, focus, dirt on the lens. If the change is meant to stay, "
    "recalibrate on frames of today ('gistline accuracy frames', 'gistline model quantise') and take them as the new "
    "normal ('gistline accuracy rebase').",
    Advice.LABEL: "Quantisation is not the cause: FP32 does no better, so parts, process or scene have changed. Label "
    "frames of today ('gistline accuracy frames'), measure on them ('gistline model passport MODEL --labelled'), and "
    "train again if accuracy has really fallen; recalibrating alone will not bring it back.",
    Advice.WAIT: "",
    Advice.MEASURE: "",
}


def unknown(kind: ReviewKind, why: str, *, measure: str, advice: Advice = Advice.WAIT, sample: int = 0) -> Reviewed:
    """Nothing can be said, and why."""
    return Reviewed(kind, ReviewVerdict.UNKNOWN, advice, why, measure, sample=sample)


def difference(first: Estimate, second: Estimate) -> Estimate:
    """First minus second with an interval: the squares of the halves add up (MOVER; Newcombe, 1998).

    It takes the two for independent; where they go up and down together it is wider than need be.
    """
    value = first.value - second.value
    down = math.hypot(first.value - first.low, second.high - second.value)
    up = math.hypot(first.high - first.value, second.value - second.low)
    return Estimate(value, value - down, value + up)


def judge_labelled(then: Measurement, now: Measurement, *, max_lost: float, least_boxes: int) -> Reviewed:
    """Points of mAP50-95 that an engine lost since its passport.

    On the passport's own images FP32 is the anchor: while it gives the same figure as then, the two losses against it,
    each paired image by image, are subtracted, which is far sharper than subtracting two means. Otherwise the two
    figures of the engine are, and the images may have something to do with it.
    """
    before, after = then.map50_95, now.map50_95
    same_set = then.labelled_sha256 == now.labelled_sha256
    anchored = (
        same_set
        and abs(before.reference.value - after.reference.value) < SAME
        and after.reference.value != after.engine.value
    )
    lost = _points(difference(after.loss, before.loss) if anchored else difference(before.engine, after.engine))
    if same_set and after == before:
        lost = Estimate(0.0, 0.0, 0.0)  # every figure of every draw: it answers as it did
    evidence = {
        "set": now.labelled_name,
        "same_set": same_set,
        "boxes": now.boxes,
        "then": _figures(then),
        "now": _figures(now),
        "loss_then": _as_points(before.loss),
        "loss_now": _as_points(after.loss),
        "fp32_then": _as_points(before.reference),
        "fp32_now": _as_points(after.reference),
        "classes": {one.label: _as_points(one.map50_95.engine) for one in now.classes},
    }
    if now.boxes < least_boxes:
        why = f"{now.labelled_name} has {now.boxes} labelled boxes; fewer than {least_boxes} say nothing."
        return replace(unknown(ReviewKind.LABELLED, why, measure=MEASURE, sample=now.images), evidence=evidence)
    verdict = _verdict(lost, max_lost)
    by_int8 = after.loss.value - before.loss.value > 0.5 * (before.engine.value - after.engine.value)
    advice = Advice.NOTHING
    if verdict is not ReviewVerdict.OK:
        advice = (Advice.ROLL_BACK if same_set else Advice.RECALIBRATE) if by_int8 else Advice.LABEL
    where = "the passport's images" if same_set else "another labelled set than the passport's"
    text = (
        f"On {now.images} images ({now.labelled_name}, {where}) the engine reaches mAP50-95 "
        f"{100 * after.engine.value:.1f}; its passport says {100 * before.engine.value:.1f}: {lost.value:.2f} points "
        f"lost [{lost.low:.2f}, {lost.high:.2f}], at most {max_lost:g} are allowed."
    )
    found = Reviewed(ReviewKind.LABELLED, verdict, advice, text, MEASURE, sample=now.images)
    return _measured(found, lost, max_lost, evidence)


def judge_agreement(
    share: Estimate | None, shift: Estimate | None, *, images: int, findings: int, least: float, least_findings: int
) -> Reviewed:
    """Share of findings on which the engine and FP32 agree; ``shift`` is the engine's confidence minus FP32's."""
    kind = ReviewKind.AGREEMENT
    if share is None or findings < least_findings:
        why = f"{findings} findings of both on {images} recent frames; fewer than {least_findings} say nothing."
        return unknown(kind, why, measure="agreement", sample=images)
    verdict = _verdict(_negative(share), -least)
    advice = Advice.NOTHING if verdict is ReviewVerdict.OK else Advice.RECALIBRATE
    moved = f" INT8 is {shift.value:+.3f} as confident [{shift.low:+.3f}, {shift.high:+.3f}]." if shift else ""
    text = (
        f"On {images} recent frames the engine and its FP32 twin agree on {share.value:.1%} of {findings} findings "
        f"[{share.low:.1%}, {share.high:.1%}]; at least {least:.0%} are wanted.{moved}"
    )
    evidence = {"findings": findings, "shift": [shift.value, shift.low, shift.high] if shift else None}
    return _measured(Reviewed(kind, verdict, advice, text, "agreement", sample=images), share, least, evidence)


def judge_feedback(correct: int, incorrect: int, *, days: int, least: float, least_judged: int) -> Reviewed:
    """Share of findings that operators called correct, of those that they judged."""
    kind, judged = ReviewKind.FEEDBACK, correct + incorrect
    found = precision(correct, incorrect)
    if found is None or judged < least_judged:
        why = f"Operators judged {judged} findings in {days} days; fewer than {least_judged} say nothing."
        return unknown(kind, why, measure="precision", sample=judged)
    verdict = _verdict(_negative(found), -least)
    advice = Advice.NOTHING if verdict is ReviewVerdict.OK else Advice.LABEL
    text = (
        f"Operators called {correct} of {judged} findings of {days} days correct: {found.value:.1%} "
        f"[{found.low:.1%}, {found.high:.1%}]; at least {least:.0%} are wanted."
    )
    evidence = {"correct": correct, "incorrect": incorrect, "days": days}
    return _measured(Reviewed(kind, verdict, advice, text, "precision", sample=judged), found, least, evidence)


def judge_drift(images: Sequence[Drift], outputs: Sequence[Drift]) -> Reviewed:
    """Whether a camera's images, or what is found on them, moved; at least one statistic.

    The figure is that of the statistic which exceeds its limit by most, or comes nearest to it.
    """
    every = [*images, *outputs]
    drifted = [one for one in every if one.drifted]
    worst = max(drifted or every, key=lambda one: one.index / one.limit)
    advice = Advice.NOTHING
    if drifted:
        advice = Advice.CAMERA if any(one.drifted for one in images) else Advice.LABEL
    told = "; ".join(
        f"{one.statistic} (index {one.index:.2f}, limit {one.limit:.2f}, {one.now} frames beside {one.before}; "
        f"{one.largest})"
        for one in drifted or [worst]
    )
    text = f"Moved: {told}." if drifted else f"Nothing moved. Nearest to its limit: {told}."
    verdict = ReviewVerdict.WARN if drifted else ReviewVerdict.OK
    found = Reviewed(ReviewKind.DRIFT, verdict, advice, text, worst.statistic, sample=worst.now)
    point = Estimate(worst.index, worst.index, worst.index)
    return _measured(found, point, worst.limit, {"statistics": [_told(one) for one in every]})


def cause_known(found: Sequence[Reviewed]) -> list[Reviewed]:
    """Advice in the light of the other reviews of the same engine: where INT8 no longer agrees with FP32, operators'
    complaints are a matter of its scales.
    """
    apart = any(one.kind is ReviewKind.AGREEMENT and one.advice is Advice.RECALIBRATE for one in found)
    return [
        replace(one, advice=Advice.RECALIBRATE)
        if apart and one.kind is ReviewKind.FEEDBACK and one.advice is Advice.LABEL
        else one
        for one in found
    ]


def in_words(found: Reviewed) -> str:
    """What was found and what to do, for people who can look nowhere else."""
    return f"{found.text} {SENTENCES[found.advice]}".strip()


def _measured(found: Reviewed, figure: Estimate, bound: float, evidence: Mapping[str, Any]) -> Reviewed:
    return replace(found, value=figure.value, low=figure.low, high=figure.high, bound=bound, evidence=evidence)


def _verdict(figure: Estimate, bound: float) -> ReviewVerdict:
    """By how a figure that should not exceed a bound lies to it."""
    if figure.low > bound:
        return ReviewVerdict.LOST
    return ReviewVerdict.OK if figure.value <= bound else ReviewVerdict.WARN


def _negative(one: Estimate) -> Estimate:
    return Estimate(-one.value, -one.high, -one.low)


def _points(one: Estimate) -> Estimate:
    return Estimate(100 * one.value, 100 * one.low, 100 * one.high)


def _as_points(one: Estimate) -> list[float]:
    return [100 * one.value, 100 * one.low, 100 * one.high]


def _figures(measured: Measurement) -> dict[str, list[float]]:
    names = {"mAP33": measured.map33, "mAP50": measured.map50, MEASURE: measured.map50_95}
    return {name: _as_points(found.engine) for name, found in names.items()}


def _told(one: Drift) -> dict[str, Any]:
    return {
        "statistic": one.statistic,
        "index": round(one.index, 4),
        "limit": round(one.limit, 4),
        "before": one.before,
        "now": one.now,
        "largest": one.largest,
        "drifted": one.drifted,
    }
