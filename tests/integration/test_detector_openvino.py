"""The CPU engine and the detector on it, with a model whose answers can be checked by hand."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from gistline.detection.detector import Detector, open_detector, open_model
from gistline.detection.model_file import load_model, read_model
from gistline.detection.openvino_engine import OpenVinoEngine
from gistline.domain import Box
from gistline.errors import EngineUnavailable, ModelRejected
from gistline.settings import DetectionSettings
from tests.support.onnx_models import COLOURS, spot_detector, yolo


def spot(colour: str, row: int, column: int) -> NDArray[np.uint8]:
    """128 x 128 black with one cell of the model's grid lit."""
    image = np.zeros((128, 128, 3), np.uint8)
    image[32 * row : 32 * row + 32, 32 * column : 32 * column + 32, COLOURS.index(colour)] = 255
    return image


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return spot_detector(tmp_path_factory.mktemp("models") / "spots.onnx")


@pytest.fixture(scope="module")
def detector(model: Path) -> Iterator[Detector]:
    with open_detector(DetectionSettings(model=str(model))) as opened:
        opened.warm_up()
        yield opened


def test_info_tells_what_runs(detector: Detector, model: Path) -> None:
    info = detector.info
    assert (info.model, info.labels, info.input_size) == ("spots.onnx", COLOURS, (128, 128))
    assert (info.precision, info.convolutions, info.int8_convolutions) == ("FP32", 1, 0)
    assert info.runtime.startswith("OpenVINO 20")
    assert info.weights_sha256 == read_model(model).sha256
    assert info.device
    assert detector.in_flight >= 1


@pytest.mark.parametrize("colour", COLOURS)
def test_colour_place_and_scale(detector: Detector, colour: str) -> None:
    [[found]] = detector.detect([spot(colour, 1, 2)])
    assert found.label == colour
    assert found.confidence == pytest.approx(1.0)
    assert found.box == Box(64, 32, 32, 32)


def test_grey_and_dimmed(detector: Detector) -> None:
    [dimmed, grey] = detector.detect([spot("green", 0, 0) // 2, spot("red", 3, 3)[..., 0]])
    assert dimmed[0].confidence == pytest.approx(127 / 255, abs=1e-3)
    assert grey[0].box == Box(96, 96, 32, 32)


def test_mixed_sizes_come_back_in_order_in_their_own_pixels(detector: Detector) -> None:
    images = []
    for index in range(16):
        image = spot("blue", index // 4, index % 4)
        images.append(np.kron(image, np.ones((1 + index % 3, 1 + index % 3, 1), np.uint8)))
    for index, (found,) in enumerate(detector.detect(images)):
        side = 32 * (1 + index % 3)
        assert found.box == Box(side * (index % 4), side * (index // 4), side, side)


def test_no_image_and_no_finding(detector: Detector) -> None:
    assert detector.detect([]) == []
    assert detector.detect([np.zeros((50, 50), np.uint8)]) == [[]]


def test_threshold_of_one_call(detector: Detector) -> None:
    dim = [spot("red", 0, 0) // 8]
    assert detector.detect(dim) == [[]]
    assert len(detector.detect(dim, min_confidence=0.1)[0]) == 1
    assert detector.detect(dim) == [[]]


def test_images_are_drawn_while_earlier_ones_run(detector: Detector) -> None:
    """A generator is asked for the next image before the first answer is needed, yet never for all of them at once."""
    drawn = 0

    def images() -> Iterator[NDArray[np.uint8]]:
        nonlocal drawn
        for _ in range(20):
            drawn += 1
            yield spot("red", 0, 0)

    for _ in detector._engine.stream(images(), 0.25):
        assert 1 < drawn <= detector.in_flight + 2
        break
    assert len(detector.detect([spot("red", 0, 0)])[0]) == 1


def test_threads_share_one_detector(detector: Detector) -> None:
    def inspect(row: int) -> bool:
        images = [spot("green", row, column) for column in (0, 1, 2, 3) * 10]
        found = detector.detect(images)
        return [one.box.x for (one,) in found] == [0, 32, 64, 96] * 10 and {one.box.y for (one,) in found} == {32 * row}

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(inspect, [0, 1, 2, 3]))


def test_read_only_pixels(detector: Detector) -> None:
    image = spot("red", 0, 1)
    image.flags.writeable = False
    assert detector.detect([image])[0][0].box == Box(32, 0, 32, 32)


def test_a_bad_image_stops_the_call_and_nothing_else(detector: Detector) -> None:
    for _ in range(5):
        with pytest.raises(ValueError, match="float64"):
            detector.detect([spot("red", 0, 0), np.zeros((8, 8)), spot("red", 0, 0)])  # type: ignore[list-item]
    assert len(detector.detect([spot("red", 0, 0)] * 8)) == 8


def test_engine_batch_has_the_documented_shape(detector: Detector) -> None:
    answer = detector._engine.infer(np.stack([spot("red", 0, 0)] * 3))
    assert answer.shape == (3, 7, 16)
    assert answer.dtype == np.float32


def test_engine_refuses_another_size(model: Path) -> None:
    engine = OpenVinoEngine(read_model(model))
    with pytest.raises(EngineUnavailable, match=r"\[64, 64, 3\]"):
        engine.infer(np.zeros((1, 64, 64, 3), np.uint8))
    assert engine.infer(np.zeros((2, 128, 128, 3), np.uint8)).shape[0] == 2


def test_streams_are_a_setting(model: Path) -> None:
    with open_detector(DetectionSettings(model=str(model), streams=1)) as opened:
        assert opened.in_flight == 1
        assert len(opened.detect([spot("red", 0, 0)] * 5)) == 5


def test_closed_detector_refuses(model: Path) -> None:
    opened = open_detector(DetectionSettings(model=str(model)))
    opened.close()
    with pytest.raises(EngineUnavailable, match="closed"):
        opened.detect([spot("red", 0, 0)])


def test_nan_is_never_nothing_found(tmp_path: Path) -> None:
    settings = DetectionSettings(model=str(spot_detector(tmp_path / "m.onnx", scale=float("nan"))))
    with pytest.raises(EngineUnavailable, match="NaN"):
        open_detector(settings)
    with open_model(load_model(settings), settings) as opened:
        with pytest.raises(EngineUnavailable, match="NaN"):
            opened.detect([spot("red", 0, 0)])
        with pytest.raises(EngineUnavailable, match="NaN"):
            opened.warm_up()


def test_engine_that_would_not_run_in_int8_is_refused(tmp_path: Path) -> None:
    """A file that promises 63 quantised convolutions and compiles to none of them."""
    promising = replace(read_model(yolo(tmp_path / "yolo.onnx")), quantised_convolutions=63)
    with pytest.raises(ModelRejected, match=r"63 quantised convolutions.*only 0 in INT8"):
        OpenVinoEngine(promising)


def test_graph_that_does_not_compile(tmp_path: Path) -> None:
    path = spot_detector(tmp_path / "m.onnx")
    model = onnx.load(str(path))
    model.graph.node[0].op_type = "Convolute"
    onnx.save(model, str(path))
    with pytest.raises(ModelRejected, match=r"cannot compile m\.onnx"):
        open_detector(DetectionSettings(model=str(path)))


def test_compiled_model_is_kept_where_asked(model: Path, tmp_path: Path) -> None:
    OpenVinoEngine(read_model(model), cache_dir=tmp_path)
    assert list(tmp_path.iterdir())
    again = OpenVinoEngine(read_model(model), cache_dir=tmp_path)
    assert again.info.convolutions == 1
    assert again.infer(spot("red", 0, 0)[None])[0, 4].max() == pytest.approx(1)


@pytest.mark.skipif(find_spec("tensorrt") is not None, reason="TensorRT is installed")
def test_runtime_is_a_setting(model: Path) -> None:
    """Without a GPU's packages auto takes the CPU; asked for by name the GPU is never silently replaced."""
    runtimes: tuple[Literal["auto", "openvino"], ...] = ("auto", "openvino")
    for runtime in runtimes:
        with open_detector(DetectionSettings(model=str(model), runtime=runtime)) as opened:
            assert opened.info.runtime.startswith("OpenVINO")
    with pytest.raises(EngineUnavailable, match="TensorRT cannot be loaded"):
        open_detector(DetectionSettings(model=str(model), runtime="tensorrt"))
