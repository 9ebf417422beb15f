"""The rule that turns losses with intervals into a verdict, and the figures that it is given."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gistline.detection.passport import Trial, compare, judge
from gistline.domain import (
    Box,
    ClassComparison,
    Comparison,
    Detection,
    Estimate,
    Measurement,
    PassportLimits,
    PassportVerdict,
)

LIMITS = PassportLimits(
    max_loss=1.0,
    max_loss50=1.0,
    max_class_loss=3.0,
    max_class_loss50=3.0,
    least_map50=0.5,
    least_boxes=20,
    proven=False,
)
PASSED, FAILED = PassportVerdict.PASSED, PassportVerdict.FAILED


def compared(loss: float, low: float, high: float, *, engine: float = 0.9) -> Comparison:
    """A loss in points."""
    own = Estimate(engine, engine - 0.02, engine + 0.02)
    return Comparison(own, own, Estimate(loss / 100, low / 100, high / 100))


NOTHING = compared(0, -0.1, 0.1)


def measured(overall: Comparison = NOTHING, of_class: Comparison = NOTHING, *, boxes: int = 50) -> Measurement:
    one = ClassComparison("short", boxes, 20, map50=NOTHING, map50_95=of_class)
    return Measurement("set", "0" * 64, 40, 120, NOTHING, overall, overall, (one,), 60.0, 30.0, 1000, 1)


@pytest.mark.parametrize(
    ("loss", "usual", "proven"),
    [
        ((0.2, -0.1, 0.5), PASSED, PASSED),
        ((-2.0, -3.0, -1.0), PASSED, PASSED),
        ((0.9, 0.3, 1.5), PASSED, FAILED),
        ((1.2, 0.6, 1.8), FAILED, FAILED),
        ((3.0, 2.0, 4.0), FAILED, FAILED),
        ((float("nan"), float("nan"), float("nan")), FAILED, FAILED),
    ],
)
def test_the_loss_over_all_classes(
    loss: tuple[float, float, float], usual: PassportVerdict, proven: PassportVerdict
) -> None:
    found = measured(compared(*loss))
    assert judge(found, LIMITS).verdict is usual
    assert judge(found, replace(LIMITS, proven=True)).verdict is proven


@pytest.mark.parametrize(
    ("loss", "usual", "undecided", "proven"),
    [
        ((1.0, 0.5, 2.0), PASSED, False, PASSED),
        ((2.0, 0.5, 5.0), PASSED, False, FAILED),
        ((4.0, 1.0, 7.0), PASSED, True, FAILED),
        ((6.0, 4.0, 8.0), FAILED, False, FAILED),
    ],
)
def test_the_loss_of_one_class(
    loss: tuple[float, float, float], usual: PassportVerdict, undecided: bool, proven: PassportVerdict
) -> None:
    found = measured(of_class=compared(*loss))
    judgement = judge(found, LIMITS)
    assert judgement.verdict is usual
    assert bool(judgement.undecided) is undecided
    assert judge(found, replace(LIMITS, proven=True)).verdict is proven


def test_a_class_with_too_few_labels_is_undecided_whatever_it_loses() -> None:
    judgement = judge(measured(of_class=compared(50, 40, 60), boxes=19), LIMITS)
    assert judgement.verdict is PASSED
    assert judgement.undecided == ("short: 19 labelled boxes, fewer than 20",)


def test_reasons_name_the_figure_its_interval_and_the_bound() -> None:
    judgement = judge(measured(compared(3, 2, 4, engine=0.4), compared(6, 4, 8)), LIMITS)
    assert judgement.reasons == (
        "mAP50 is 40.0, at least 50.0 is wanted",
        "mAP50-95 loses 3.00 points [2.00, 4.00], at most 1 is allowed",
        "mAP50 loses 3.00 points [2.00, 4.00], at most 1 is allowed",
        "short: AP50-95 loses 6.00 points [4.00, 8.00], at most 3 is allowed",
    )


def test_a_set_with_hardly_a_label_decides_nothing() -> None:
    found = replace(measured(), boxes=5)
    assert judge(found, LIMITS).reasons == ("set has 5 labelled boxes, fewer than 20",)


def test_comparing_keeps_sides_apart_and_counts_labels() -> None:
    box = Box(10, 10, 20, 20)
    truth = [[("open", box)], [("open", box), ("short", Box(50, 50, 9, 9))], []]
    good = [[Detection("open", 0.9, box)], [Detection("open", 0.9, box)], []]
    poor = [[Detection("open", 0.9, box)], [], []]
    found = compare(Trial("three", "0" * 64, truth, poor, good, (9.0, 3.0)), ("open", "short", "spur"), resamples=200)
    assert (found.images, found.boxes, found.engine_fps, found.reference_fps) == (3, 3, 9.0, 3.0)
    first, second = found.classes
    assert (first.label, first.boxes, first.images) == ("open", 2, 2)
    assert (second.label, second.boxes, second.map50.engine.value) == ("short", 1, 0.0)
    assert first.map50.reference.value == 1.0
    assert first.map50.engine.value == pytest.approx(51 / 101)
    assert first.map50.loss.value == pytest.approx(50 / 101)
    assert found.map50.loss.value == pytest.approx(25 / 101)
