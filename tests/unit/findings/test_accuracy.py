"""Verdicts of reviews: the interval decides, too few say nothing, and the advice fits the cause."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gistline.domain import ClassComparison, Comparison, Estimate, Measurement
from gistline.domain_accuracy import Advice, ReviewVerdict
from gistline.findings.accuracy import (
    SENTENCES,
    cause_known,
    difference,
    in_words,
    judge_agreement,
    judge_drift,
    judge_feedback,
    judge_labelled,
)
from gistline.findings.drift import Drift


def measured(engine: float, reference: float, *, spread: float = 0.02, paired: float = 0.003) -> Measurement:
    def around(value: float, half: float) -> Estimate:
        return Estimate(value, value - half, value + half)

    loss = reference - engine
    whole = Comparison(around(engine, spread), around(reference, spread), around(loss, paired))
    classes = (ClassComparison("open", 100, 40, whole, whole),)
    return Measurement("boards", "1" * 64, 48, 177, whole, whole, whole, classes, 0.0, 0.0, 1_000, 1)


def labelled(then: Measurement, now: Measurement) -> tuple[ReviewVerdict, Advice]:
    found = judge_labelled(then, now, max_lost=1.0, least_boxes=20)
    return found.verdict, found.advice


def test_the_same_answers_are_no_loss_at_all() -> None:
    found = judge_labelled(measured(0.69, 0.70), measured(0.69, 0.70), max_lost=1.0, least_boxes=20)
    assert (found.verdict, found.low, found.value, found.high) == (ReviewVerdict.OK, 0, 0, 0)


def test_an_engine_that_fell_while_fp32_stood_is_to_be_rolled_back() -> None:
    then, now = measured(0.69, 0.70), measured(0.66, 0.70)
    assert labelled(then, now) == (ReviewVerdict.LOST, Advice.ROLL_BACK)
    found = judge_labelled(then, now, max_lost=1.0, least_boxes=20)
    assert found.value == pytest.approx(3.0)
    # The anchor: two paired halves of 0.3 points, not two of 2 points.
    assert found.low == pytest.approx(3.0 - 0.3 * 2**0.5)


def test_a_loss_that_the_interval_does_not_show_is_a_warning() -> None:
    assert labelled(measured(0.69, 0.70), measured(0.678, 0.70))[0] is ReviewVerdict.WARN
    assert labelled(measured(0.69, 0.70), measured(0.685, 0.70))[0] is ReviewVerdict.OK


def test_on_other_images_where_fp32_fell_as_much_recalibrating_is_not_advised() -> None:
    other = replace(measured(0.50, 0.51), labelled_sha256="2" * 64)
    assert labelled(measured(0.69, 0.70), other) == (ReviewVerdict.LOST, Advice.LABEL)
    apart = replace(measured(0.50, 0.70), labelled_sha256="2" * 64)
    assert labelled(measured(0.69, 0.70), apart) == (ReviewVerdict.LOST, Advice.RECALIBRATE)


def test_too_few_boxes_say_nothing() -> None:
    found = judge_labelled(measured(0.69, 0.70), replace(measured(0.1, 0.70), boxes=19), max_lost=1.0, least_boxes=20)
    assert (found.verdict, found.value) == (ReviewVerdict.UNKNOWN, None)
    assert "19 labelled boxes; fewer than 20" in found.text


@pytest.mark.parametrize(
    ("correct", "incorrect", "verdict"),
    [
        (45, 5, ReviewVerdict.OK),
        (39, 11, ReviewVerdict.WARN),  # 78 % [65, 87]
        (30, 20, ReviewVerdict.LOST),  # 60 % [46, 72]
        (2, 27, ReviewVerdict.UNKNOWN),
        (0, 0, ReviewVerdict.UNKNOWN),
    ],
)
def test_feedback_is_judged_by_its_interval(correct: int, incorrect: int, verdict: ReviewVerdict) -> None:
    found = judge_feedback(correct, incorrect, days=30, least=0.8, least_judged=30)
    assert found.verdict is verdict
    assert (found.value is None) == (verdict is ReviewVerdict.UNKNOWN)


def test_complaints_are_a_matter_of_scales_only_where_int8_and_fp32_part() -> None:
    complaints = judge_feedback(10, 40, days=30, least=0.8, least_judged=30)
    apart, together = (
        judge_agreement(share, None, images=64, findings=300, least=0.85, least_findings=30)
        for share in (Estimate(0.6, 0.5, 0.7), Estimate(0.97, 0.95, 0.99))
    )
    assert complaints.advice is Advice.LABEL
    assert [one.advice for one in cause_known([apart, complaints])] == [Advice.RECALIBRATE] * 2
    assert [one.advice for one in cause_known([together, complaints])] == [Advice.NOTHING, Advice.LABEL]


def test_drift_of_images_sends_somebody_to_the_camera_and_names_what_moved() -> None:
    dark = Drift("brightness", 3.0, 0.4, 100, 100, "median 80.0, it was 160.0")
    calm = Drift("findings a frame", 0.1, 0.2, 500, 500, "0: 70% of frames, it was 69%")
    more = Drift("findings a frame", 0.9, 0.2, 500, 500, "0: 20% of frames, it was 69%")
    assert judge_drift([dark], [more]).advice is Advice.CAMERA
    assert judge_drift([], [more]).advice is Advice.LABEL
    quiet = judge_drift([replace(dark, moved=False)], [calm])
    assert (quiet.verdict, quiet.advice) == (ReviewVerdict.OK, Advice.NOTHING)
    assert "median 80.0" in in_words(judge_drift([dark], [calm]))
    assert "Look at the camera first" in in_words(judge_drift([dark], [calm]))


def test_a_difference_is_as_wide_as_both_together() -> None:
    found = difference(Estimate(0.5, 0.47, 0.53), Estimate(0.4, 0.36, 0.44))
    assert (found.value, found.low, found.high) == pytest.approx((0.1, 0.05, 0.15))


def test_every_advice_has_its_sentence() -> None:
    assert set(SENTENCES) == set(Advice)
