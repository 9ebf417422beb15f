from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from gistline.detection.evaluation import COCO_THRESHOLDS, THRESHOLDS, LabelledBox, measure, operating_point
from gistline.domain import Box, Detection

LABELS = ("open", "short", "spur")


def random_set(seed: int) -> tuple[list[list[Detection]], list[list[LabelledBox]]]:
    """Labels with shifted, doubled, mislabelled and invented detections; some images hold nothing."""
    random = np.random.default_rng(seed)

    def box() -> Box:
        return Box(*map(float, random.uniform(0, 500, 2)), *map(float, random.uniform(20, 60, 2)))

    truth: list[list[LabelledBox]] = []
    predictions: list[list[Detection]] = []
    for _ in range(40):
        labelled = [(str(random.choice(LABELS)), box()) for _ in range(random.integers(0, 9))]
        found = []
        for label, b in labelled:
            for _ in range(random.integers(0, 4)):
                near = np.array([b.x, b.y, b.w, b.h]) + random.normal(0, 4, 4)
                name = label if random.random() < 0.9 else str(random.choice(LABELS))
                found.append(Detection(name, float(random.random()), Box(*near.tolist())))
        found += [Detection(str(random.choice(LABELS)), float(random.random()), box()) for _ in range(3)]
        truth.append(labelled)
        predictions.append(found)
    return predictions, truth


def reference(
    predictions: Sequence[Sequence[Detection]], truth: Sequence[Sequence[LabelledBox]]
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """faster-coco-eval's average precision, ``[class, threshold]``."""
    coco = pytest.importorskip("faster_coco_eval")
    boxes = [(image, label, box) for image, labelled in enumerate(truth) for label, box in labelled]
    wanted = coco.COCO(
        {
            "images": [{"id": image + 1, "width": 640, "height": 640} for image in range(len(truth))],
            "categories": [{"id": index + 1, "name": label} for index, label in enumerate(LABELS)],
            "annotations": [
                {
                    "id": number + 1,
                    "image_id": image + 1,
                    "category_id": LABELS.index(label) + 1,
                    "bbox": [box.x, box.y, box.w, box.h],
                    "area": box.w * box.h,
                    "iscrowd": 0,
                }
                for number, (image, label, box) in enumerate(boxes)
            ],
        }
    )
    found = [
        {
            "image_id": image + 1,
            "category_id": LABELS.index(one.label) + 1,
            "bbox": [one.box.x, one.box.y, one.box.w, one.box.h],
            "score": one.confidence,
        }
        for image, detections in enumerate(predictions)
        for one in detections
    ]
    run = coco.COCOeval_faster(wanted, wanted.loadRes(found), "bbox")
    run.params.iouThrs = np.array(THRESHOLDS)
    run.evaluate()
    run.accumulate()
    return np.asarray(run.eval["precision"][:, :, :, 0, -1].mean(axis=1).T)


@pytest.mark.parametrize("seed", range(4))
def test_figures_are_those_of_faster_coco_eval(seed: int) -> None:
    predictions, truth = random_set(seed)
    measured = measure(predictions, truth, LABELS)
    assert measured.average_precision == pytest.approx(reference(predictions, truth), abs=1e-9)
    assert 0.1 < measured.map50_95 < measured.map50 < measured.map33 < 0.9


def test_perfect_detections_score_one() -> None:
    _, truth = random_set(0)
    perfect = [[Detection(label, 0.9, box) for label, box in labelled] for labelled in truth]
    measured = measure(perfect, truth, LABELS)
    assert measured.map50_95 == pytest.approx(1)
    assert operating_point(perfect, truth, min_confidence=0.5).f_score == 1


def test_by_hand() -> None:
    """Ranked: hit, false alarm, hit; two labels. Precision 1 up to recall 1/2, then 2/3: (51 x 1 + 50 x 2/3) / 101."""
    truth = [[("open", Box(0, 0, 10, 10)), ("open", Box(50, 50, 10, 10))]]
    predictions = [
        [
            Detection("open", 0.9, Box(0, 0, 10, 10)),
            Detection("open", 0.8, Box(200, 0, 10, 10)),
            Detection("open", 0.7, Box(50, 50, 10, 10)),
        ]
    ]
    measured = measure(predictions, truth, ("open",))
    assert measured.map50 == pytest.approx((51 + 50 * 2 / 3) / 101)
    point = operating_point(predictions, truth, min_confidence=0.75)
    assert (point.hits, point.false_alarms, point.misses) == (1, 1, 1)
    assert (point.precision, point.recall, point.f_score) == (0.5, 0.5, 0.5)


def test_second_detection_of_one_label_is_a_false_alarm() -> None:
    truth = [[("open", Box(0, 0, 10, 10))]]
    twice = [[Detection("open", 0.9, Box(0, 0, 10, 10)), Detection("open", 0.8, Box(0, 0, 10, 9))]]
    assert operating_point(twice, truth, min_confidence=0.1).false_alarms == 1


def test_class_without_labels_does_not_count() -> None:
    truth: list[list[LabelledBox]] = [[("open", Box(0, 0, 10, 10))]]
    found = [[Detection("open", 0.9, Box(0, 0, 10, 10)), Detection("spur", 0.9, Box(0, 0, 10, 10))]]
    measured = measure(found, truth, LABELS)
    assert measured.map50 == pytest.approx(1)
    assert np.isnan(measured.of_class("spur", *COCO_THRESHOLDS))
    assert measured.of_class("open", 0.5) == pytest.approx(1)


def test_nothing_found_scores_zero_and_nothing_wanted_is_no_number() -> None:
    truth: list[list[LabelledBox]] = [[("open", Box(0, 0, 10, 10))]]
    assert measure([[]], truth, LABELS).map50 == 0
    assert np.isnan(measure([[]], [[]], LABELS).map50)
    assert operating_point([[]], [[]], min_confidence=0.5).f_score == 1


def test_different_numbers_of_images_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="zip"):
        measure([[]], [[], []], LABELS)
