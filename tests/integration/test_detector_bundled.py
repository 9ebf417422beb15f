"""The bundled weights, both files, on boards whose defects are known."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import onnx
import pytest

from gistline.detection.detector import Detector, open_detector
from gistline.detection.evaluation import operating_point
from gistline.detection.model_file import bundled_path, read_model
from gistline.settings import DetectionSettings
from gistline.simulator.boards import DEFECTS, Board, render_board

SEED = 21_000_000


@pytest.fixture(scope="module")
def boards() -> list[Board]:
    return [render_board(np.random.default_rng(SEED + number), defects=3) for number in range(12)]


@pytest.fixture(scope="module", params=["int8", "fp32"])
def detector(request: pytest.FixtureRequest) -> Iterator[Detector]:
    with open_detector(DetectionSettings(precision=request.param)) as opened:
        yield opened


def test_planted_defects_are_found(detector: Detector, boards: list[Board]) -> None:
    found = detector.detect([board.image for board in boards])
    point = operating_point(found, [list(board.defects) for board in boards], min_confidence=0.5)
    assert point.hits + point.misses >= 30
    assert point.f_score > 0.8


def test_defects_are_found_at_another_size(detector: Detector, boards: list[Board]) -> None:
    """Twice the size in RGB: the same findings, in pixels twice as many."""
    image = boards[0].image
    large = np.repeat(np.kron(image, np.ones((2, 2), np.uint8))[..., None], 3, axis=2)
    small_found, large_found = detector.detect([image, large], min_confidence=0.6)
    assert [one.label for one in small_found]
    for one in small_found:
        near = [two for two in large_found if two.label == one.label]
        assert min(abs(two.box.centre[0] - 2 * one.box.centre[0]) for two in near) < 8


def test_precision_is_what_was_asked_for(detector: Detector) -> None:
    info = detector.info
    assert info.labels == DEFECTS
    assert info.input_size == (640, 640)
    if info.precision == "INT8":
        assert info.int8_convolutions >= 0.9 * info.convolutions
    else:
        assert (info.precision, info.int8_convolutions) == ("FP32", 0)


def test_record_speaks_of_these_files() -> None:
    fp32, int8 = read_model(bundled_path("fp32")), read_model(bundled_path("int8"))
    facts = json.loads(bundled_path("fp32").with_suffix(".json").read_text())
    ranges = json.loads(bundled_path("int8").with_suffix(".ranges.json").read_text())
    assert facts["int8"]["sha256"] == ranges["int8_sha256"] == int8.sha256
    noted = {entry.key: entry.value for entry in onnx.load_model_from_string(int8.content).metadata_props}
    assert noted["gistline.source_sha256"] == fp32.sha256
    assert ranges["ranges"]["images"] == [0, 1]
