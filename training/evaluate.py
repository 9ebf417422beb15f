"""Measures a detector by COCO's rules, at DeepPCB's own threshold too, from predictions of any runtime.

Predictions are judged as the product makes them: each anchor votes for its best class, suppression is class-wise.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from gistline.detection.evaluation import DEEPPCB_THRESHOLD
from gistline.detection.evaluation import measure as average_precision
from gistline.domain import Box, Detection
from gistline.simulator.boards import DEFECTS as LABELS
from training.data import (
    TEST_BOARDS_SEED,
    Pictures,
    Truth,
    board_numbers,
    hold_out,
    read_deeppcb,
    render_boards,
)

LEAST_SCORE = 0.001
SUPPRESS_ABOVE = 0.65
MOST_DETECTIONS = 300

Prediction = tuple[int, float, tuple[float, float, float, float]]
"""Class, score, (x, y, w, h) in pixels."""


@dataclass(frozen=True)
class Scores:
    """Mean average precision over the classes, and each class's at IoU 0.33 (DeepPCB's criterion) and 0.50."""

    images: int
    boxes: int
    map33: float
    map50: float
    map50_95: float
    by_class33: dict[str, float]
    by_class50: dict[str, float]
    best_f33: float
    best_threshold: float


def decode(output: NDArray[np.float32]) -> list[Prediction]:
    """One picture's ``[4 + classes, anchors]`` to predictions: threshold 0.001, best class, class-wise suppression."""
    scores, labels = output[4:].max(0), output[4:].argmax(0)
    kept = np.flatnonzero(scores > LEAST_SCORE)
    if len(kept) == 0:
        return []
    kept = kept[np.argsort(-scores[kept], kind="stable")[:2000]]
    cx, cy, w, h = output[:4, kept]
    boxes = np.stack([cx - w / 2, cy - h / 2, w, h], 1).astype(np.float64)
    shifted = boxes + labels[kept, None] * np.array([4096.0, 0, 0, 0])
    picked = cv2.dnn.NMSBoxes(shifted.tolist(), scores[kept].tolist(), LEAST_SCORE, SUPPRESS_ABOVE)
    answer = []
    for index in np.asarray(picked, int).ravel()[:MOST_DETECTIONS]:
        x, y, wide, high = (float(value) for value in boxes[index])
        answer.append((int(labels[kept[index]]), float(scores[kept[index]]), (x, y, wide, high)))
    return answer


def measure(truth: Sequence[Sequence[Truth]], found: Sequence[Sequence[Prediction]]) -> Scores:
    """Judge predictions; ``truth`` and ``found`` hold one list a picture, in the same order."""
    predictions = [[Detection(LABELS[label], score, Box(*box)) for label, score, box in row] for row in found]
    accuracy = average_precision(
        predictions, [[(LABELS[label], Box(*box)) for label, box in row] for row in truth], LABELS
    )
    best_f, threshold = best_f_score(truth, found)
    return Scores(
        images=len(truth),
        boxes=sum(len(row) for row in truth),
        map33=round(accuracy.map33, 4),
        map50=round(accuracy.map50, 4),
        map50_95=round(accuracy.map50_95, 4),
        by_class33={label: round(accuracy.of_class(label, DEEPPCB_THRESHOLD), 4) for label in LABELS},
        by_class50={label: round(accuracy.of_class(label, 0.5), 4) for label in LABELS},
        best_f33=best_f,
        best_threshold=threshold,
    )


def best_f_score(truth: Sequence[Sequence[Truth]], found: Sequence[Sequence[Prediction]]) -> tuple[float, float]:
    """Largest F1 over all thresholds at IoU 0.33, all classes together, and the threshold that gives it."""
    hits = sorted((pair for t, f in zip(truth, found, strict=True) for pair in _match(t, f)), reverse=True)
    wanted = sum(len(row) for row in truth)
    right, best, threshold = 0, 0.0, 1.0
    for count, (score, hit) in enumerate(hits, 1):
        right += hit
        f_score = 2 * right / (count + wanted)
        if f_score > best:
            best, threshold = f_score, score
    return round(best, 4), round(threshold, 3)


def _match(truth: Sequence[Truth], found: Sequence[Prediction]) -> list[tuple[float, bool]]:
    free, answer = list(truth), []
    for label, score, box in sorted(found, key=lambda item: -item[1]):
        rated = [(_iou(box, other), index) for index, (kind, other) in enumerate(free) if kind == label]
        iou, index = max(rated, default=(0.0, -1))
        if iou > 0.33:
            free.pop(index)
        answer.append((score, iou > 0.33))
    return answer


def _iou(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    wide = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    high = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    common = max(0.0, wide) * max(0.0, high)
    return common / (a[2] * a[3] + b[2] * b[3] - common)


def predict_openvino(path: Path, images: Iterable[NDArray[np.uint8]]) -> list[list[Prediction]]:
    """Run an ONNX model, float or INT8, on grey ``[640, 640]`` pictures; what is not quantised runs in FP32."""
    import openvino as ov

    compiled = ov.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    answer = []
    for image in images:
        pixels = np.repeat(image[None, None].astype(np.float32) / 255, 3, 1)
        answer.append(decode(compiled({0: pixels})[0][0]))
    return answer


def load_split(name: str, deeppcb: Path | None) -> Pictures:
    """The pictures to measure on; all but ``boards`` (200 simulated ones) need DeepPCB's folder.

    ``held-out`` are 100 pictures of ``trainval`` kept from training; ``test_public`` the public test half,
    ``test-known`` and ``test-new`` its pictures of boards that ``trainval`` shows and does not show.
    """
    if name == "boards":
        return render_boards(200, TEST_BOARDS_SEED)
    if deeppcb is None:
        raise SystemExit(f"{name} needs --deeppcb FOLDER")
    if name == "held-out":
        return hold_out(deeppcb)[1]
    if name in ("test-known", "test-new"):
        known = board_numbers(deeppcb, "trainval")
        return read_deeppcb(deeppcb, "test_public", keep=lambda board: (board in known) == (name == "test-known"))
    return read_deeppcb(deeppcb, name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("onnx", type=Path)
    parser.add_argument("--deeppcb", type=Path)
    parser.add_argument("--splits", nargs="+", default=["held-out", "boards"])
    parser.add_argument("--json", type=Path, help="write the scores here as well")
    options = parser.parse_args()
    scores = {}
    for name in options.splits:
        pictures = load_split(name, options.deeppcb)
        scores[name] = asdict(measure(pictures.truth(), predict_openvino(options.onnx, pictures.images)))
        print(name, json.dumps(scores[name]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(scores, indent=2) + "\n")


if __name__ == "__main__":
    main()
