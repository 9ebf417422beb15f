"""Quantisation end to end: calibrate, write, compile, compare with the float model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from gistline.detection.model_file import read_model
from gistline.detection.openvino_engine import OpenVinoEngine
from gistline.detection.placement import Head, Spare
from gistline.detection.quantise import Recipe, collect_ranges, quantise, write_quantised
from gistline.detection.ranges import Method, Range, RangeTable
from gistline.errors import ModelRejected
from tests.support.onnx_models import Graph, save, yolo
from tests.support.textures import textures


@pytest.fixture(scope="module", params=["silu", "relu"])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return yolo(tmp_path_factory.mktemp("models") / "yolo.onnx", act=request.param)


@pytest.fixture(scope="module")
def table(source: Path) -> RangeTable:
    return collect_ranges(source, textures(8))


@pytest.mark.long
def test_int8_answers_like_float_and_runs_in_int8(source: Path, tmp_path: Path) -> None:
    result = quantise(source, textures(8), out=tmp_path / "int8.onnx", recipe=Recipe(method=Method.MINMAX))
    assert (result.convolutions, result.quantised_convolutions, result.images) == (63, 57, 8)
    model = read_model(result.path)
    assert (model.quantised_convolutions, model.sha256) == (57, result.sha256)
    engine = OpenVinoEngine(model)
    assert engine.info.precision == "INT8"
    assert engine.info.int8_convolutions == 57
    batch = np.stack([image for image in textures(6) if image.ndim == 3])
    exact = OpenVinoEngine(read_model(source)).infer(batch)
    error = np.abs(engine.infer(batch) - exact)
    for rows in (slice(2, 4), slice(4, None)):
        assert error[:, rows].mean() < 0.1 * exact[:, rows].std()


@pytest.mark.long
@pytest.mark.parametrize("method", list(Method))
def test_every_method_writes_a_model_that_runs(source: Path, table: RangeTable, tmp_path: Path, method: Method) -> None:
    result = write_quantised(source, table, out=tmp_path / "int8.onnx", recipe=Recipe(method=method))
    engine = OpenVinoEngine(read_model(result.path))
    assert engine.info.int8_convolutions == 57
    assert np.isfinite(engine.infer(np.zeros((1, 64, 64, 3), np.uint8))).all()


@pytest.mark.long
def test_file_is_small_keeps_its_metadata_and_says_where_it_came_from(
    source: Path, table: RangeTable, tmp_path: Path
) -> None:
    result = write_quantised(source, table, out=tmp_path / "int8.onnx", recipe=Recipe(method=Method.ENTROPY))
    assert result.path.stat().st_size < 0.4 * source.stat().st_size
    facts = {entry.key: entry.value for entry in onnx.load(str(result.path)).metadata_props}
    assert facts["names"].startswith("{0: 'open'")
    assert facts["gistline.source_sha256"] == read_model(source).sha256
    assert (facts["gistline.method"], facts["gistline.calibration_images"]) == ("entropy", "8")


def test_structure_of_the_file(source: Path, table: RangeTable, tmp_path: Path) -> None:
    """u8 activations, s8 weights per channel with zero points 0, float biases, pixels in 255 steps."""
    result = write_quantised(source, table, out=tmp_path / "int8.onnx", recipe=Recipe())
    graph = onnx.load(str(result.path)).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    activations = [node for node in graph.node if node.op_type == "QuantizeLinear"]
    weights = [node for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] in constants]
    assert len(weights) == 57
    for node in weights:
        assert constants[node.input[0]].dtype == np.int8
        assert np.abs(constants[node.input[0]]).max() == 64
        assert constants[node.input[1]].shape == (constants[node.input[0]].shape[0],)
        assert not constants[node.input[2]].any()
    assert all(constants[node.input[2]].dtype == np.uint8 for node in activations)
    pixels = next(node for node in activations if node.input[0] == "images")
    assert float(constants[pixels.input[1]]) == pytest.approx(1 / 255)
    assert int(constants[pixels.input[2]]) == 0
    biases = [constants[node.input[2]] for node in graph.node if node.op_type == "Conv"]
    assert {bias.dtype for bias in biases} == {np.dtype(np.float32)}


@pytest.mark.long
def test_symmetric_form_has_no_zero_points(source: Path, table: RangeTable, tmp_path: Path) -> None:
    result = write_quantised(source, table, out=tmp_path / "int8.onnx", recipe=Recipe(symmetric=True))
    zero_points = [t for t in onnx.load(str(result.path)).graph.initializer if t.name.endswith(".zero_point")]
    assert zero_points
    assert all(not numpy_helper.to_array(t).any() for t in zero_points)
    assert {t.data_type for t in zero_points} == {onnx.TensorProto.INT8}


@pytest.mark.long
def test_same_table_and_recipe_make_the_same_bytes(source: Path, table: RangeTable, tmp_path: Path) -> None:
    table.save(tmp_path / "ranges.npz")
    first = write_quantised(source, table, out=tmp_path / "a.onnx", recipe=Recipe())
    second = write_quantised(source, RangeTable.load(tmp_path / "ranges.npz"), out=tmp_path / "b.onnx", recipe=Recipe())
    assert first.sha256 == second.sha256


def test_pixels_keep_their_range_whatever_the_images_show(source: Path, tmp_path: Path) -> None:
    dark = [np.full((64, 64), 20, np.uint8)]
    result = quantise(source, dark, out=tmp_path / "int8.onnx", recipe=Recipe(method=Method.MINMAX))
    assert result.ranges["images"] == Range(0, 1)


def all_ones(path: Path) -> Path:
    """Three 1x1 convolutions that average 64 equal channels: a white image answers 1 everywhere."""
    graph = Graph()

    def average(source: str, channels_in: int, channels: int) -> str:
        weights = np.full((channels, channels_in, 1, 1), 1 / channels_in, np.float32)
        return graph.op("Conv", source, graph.constant(weights), kernel_shape=[1, 1])

    hidden = graph.op("Relu", average("images", 3, 64))
    hidden = graph.op("Relu", average(hidden, 64, 64))
    output = graph.op("Reshape", average(hidden, 64, 7), graph.ints(0, 7, -1))
    return save(graph, output, path=path, labels=("a", "b", "c"), input_size=(32, 32))


def test_products_do_not_saturate_on_any_cpu(tmp_path: Path) -> None:
    """White pixels and the largest weights: without VNNI two such products are added in 16 bits.

    With weights up to 127 such a CPU answers about 0.5 here; 64 steps keep 2 x 255 x 64 below 2**15.
    """
    white = np.full((1, 32, 32, 3), 255, np.uint8)
    result = quantise(all_ones(tmp_path / "m.onnx"), list(white), out=tmp_path / "int8.onnx")
    engine = OpenVinoEngine(read_model(result.path))
    assert engine.info.int8_convolutions == 2
    assert engine.infer(white) == pytest.approx(1, abs=0.01)


@pytest.mark.long
def test_recipe_says_what_stays_in_float(source: Path, table: RangeTable, tmp_path: Path) -> None:
    counts = {}
    for head in Head:
        recipe = Recipe(spare=Spare(head))
        result = write_quantised(source, table, out=tmp_path / "int8.onnx", recipe=recipe)
        counts[head] = result.quantised_convolutions
        assert len(result.kept) == 63 - result.quantised_convolutions
        assert OpenVinoEngine(read_model(result.path)).info.int8_convolutions == counts[head]
    assert counts == {Head.NONE: 63, Head.LAST: 57, Head.WHOLE: 45}


@pytest.mark.long
def test_nothing_left_to_quantise_is_the_float_model(source: Path, table: RangeTable, tmp_path: Path) -> None:
    result = write_quantised(
        source, table, out=tmp_path / "same.onnx", recipe=Recipe(spare=Spare(patterns=("conv_*",)))
    )
    white = np.full((1, 64, 64, 3), 255, np.uint8)
    same, exact = (OpenVinoEngine(read_model(path)).infer(white) for path in (result.path, source))
    assert result.quantised_convolutions == 0
    np.testing.assert_array_equal(same, exact)


def test_clamp_saturates_activations_and_leaves_pixels(source: Path, table: RangeTable, tmp_path: Path) -> None:
    recipe = Recipe(method=Method.MINMAX, clamp=0.5)
    result = write_quantised(source, table, out=tmp_path / "int8.onnx", recipe=recipe)
    assert result.ranges["images"] == Range(0, 1)
    highest = {covered.high for name, covered in result.ranges.items() if name != "images"}
    assert max(highest) == 0.5
    assert min(covered.low for covered in result.ranges.values()) >= -0.5


@pytest.mark.long
def test_quantised_model_is_not_quantised_again(source: Path, table: RangeTable, tmp_path: Path) -> None:
    result = write_quantised(source, table, out=tmp_path / "int8.onnx", recipe=Recipe())
    with pytest.raises(ModelRejected, match="quantised already"):
        quantise(result.path, textures(2), out=tmp_path / "again.onnx")


def test_table_of_another_model_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelRejected, match="lacks"):
        write_quantised(source, RangeTable(images=1), out=tmp_path / "int8.onnx", recipe=Recipe())


@pytest.mark.long
def test_calibration_needs_images(source: Path) -> None:
    with pytest.raises(ModelRejected, match="without calibration images"):
        collect_ranges(source, [])
