"""The graph that computes less answers what the whole one answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from openvino import opset13

from gistline.detection.candidates import Candidates, select
from gistline.detection.model_file import ModelFile, bundled_path, read_model
from gistline.detection.openvino_engine import OpenVinoEngine
from gistline.detection.pruned_tail import prune_tail
from gistline.detection.whole_splits import keep_splits_whole
from gistline.errors import EngineUnavailable
from tests.support.onnx_models import yolo

SIZE = (96, 128)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelFile:
    return read_model(yolo(tmp_path_factory.mktemp("models") / "yolo.onnx", input_size=SIZE))


def pictures(count: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, *size, 3), dtype=np.uint8)


def as_written(model: ModelFile, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Raw predictions of the file as it is, nothing changed."""
    core = openvino.Core()
    compiled = core.compile_model(
        core.read_model(model.content, b""), "CPU", {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": 1}
    )
    values = images.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    return np.concatenate([compiled(image[None])[0] for image in values])


def graph_of(model: ModelFile) -> Any:
    graph = openvino.Core().read_model(model.content, b"")
    graph.reshape([1, 3, *model.input_size])
    return graph


def test_the_tail_of_a_yolo_is_pruned(model: ModelFile) -> None:
    graph = graph_of(model)
    assert prune_tail(graph, len(model.labels), opset=opset13)
    shape = graph.outputs[0].get_partial_shape()
    assert (shape[1].get_length(), shape[2].is_dynamic) == (10, True)


def test_without_a_threshold_the_prediction_is_whole(model: ModelFile) -> None:
    images = pictures(3, SIZE)
    engine = OpenVinoEngine(model)
    np.testing.assert_allclose(engine.infer(images), as_written(model, images), rtol=1e-4, atol=1e-4)


def median_score(raw: NDArray[np.float32]) -> float:
    return float(np.median(raw[:, 4:].max(axis=1)))


@pytest.mark.long
@pytest.mark.parametrize("where", ["below", "median", "above"])
def test_what_scores_is_the_same(model: ModelFile, where: str) -> None:
    images = pictures(4, SIZE)
    raws = as_written(model, images)
    threshold = {"below": 0.0, "median": median_score(raws), "above": 1.0}[where]
    found = list(OpenVinoEngine(model).stream(images, threshold))
    assert {"below": 4 * 252, "above": 0}.get(where, sum(len(one.scores) for one in found)) == sum(
        len(one.scores) for one in found
    )
    for one, raw in zip(found, raws, strict=True):
        same(one, raw, model, threshold)


def same(found: Candidates, raw: NDArray[np.float32], model: ModelFile, threshold: float) -> None:
    """The candidates are those of the whole prediction; a score at the very threshold may fall to either side."""
    boxes, scores, classes = select(raw, model.layout, max(0.0, threshold - 1e-5))
    clear = scores > threshold + 1e-5
    assert len(found.scores) >= clear.sum()
    order = [int(np.abs(boxes - box).sum(axis=1).argmin()) for box in found.boxes]
    np.testing.assert_allclose(found.boxes, boxes[order], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(found.scores, scores[order], rtol=1e-4)
    assert (found.classes == classes[order]).all()


def test_the_bundled_detector_is_pruned_and_unchanged() -> None:
    model = read_model(bundled_path("fp32"))
    graph = graph_of(model)
    assert keep_splits_whole(graph, opset=opset13) > 0
    assert prune_tail(graph, len(model.labels), opset=opset13)
    images = pictures(1, model.input_size)
    np.testing.assert_allclose(OpenVinoEngine(model).infer(images), as_written(model, images), rtol=1e-3, atol=1e-3)


def test_splits_that_are_joined_again_are_not_made(model: ModelFile) -> None:
    graph = graph_of(model)
    assert keep_splits_whole(graph, opset=opset13) == 8
    assert keep_splits_whole(graph, opset=opset13) == 0


@pytest.mark.parametrize("classes", [5, 7])
def test_an_output_that_is_not_understood_is_left_alone(model: ModelFile, classes: int) -> None:
    graph = graph_of(model)
    before = [node.get_friendly_name() for node in graph.get_ordered_ops()]
    assert not prune_tail(graph, classes, opset=opset13)
    assert before == [node.get_friendly_name() for node in graph.get_ordered_ops()]


def test_a_damaged_box_far_from_any_score_is_still_noticed(model: ModelFile, tmp_path: Path) -> None:
    """One bias of the box branch is NaN: no score is touched, and no cell is chosen."""
    proto = onnx.load_model_from_string(model.content)
    biases = [tensor for tensor in proto.graph.initializer if list(tensor.dims) == [64]]
    last = next(
        node for node in proto.graph.node if node.op_type == "Conv" and node.input[2] in {b.name for b in biases}
    )
    damaged = next(tensor for tensor in biases if tensor.name == last.input[2])
    values = numpy_helper.to_array(damaged).copy()
    values[5] = np.nan
    damaged.CopyFrom(numpy_helper.from_array(values, damaged.name))
    path = tmp_path / "damaged.onnx"
    onnx.save(proto, str(path))
    engine = OpenVinoEngine(read_model(path))
    with pytest.raises(EngineUnavailable, match="NaN or infinity"):
        list(engine.stream(pictures(1, SIZE), 0.99))
