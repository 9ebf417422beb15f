"""The rules that each runtime's Q/DQ file must keep, proven on the graphs, and what the files answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, version_converter
from onnx.reference import ReferenceEvaluator

from gistline.detection.emulation import emulated
from gistline.detection.model_file import read_model
from gistline.detection.openvino_engine import OpenVinoEngine
from gistline.detection.placement import Head, Spare
from gistline.detection.quantise import Recipe, Target, collect_ranges, write_quantised
from gistline.detection.ranges import Method, RangeTable
from gistline.errors import ModelRejected
from tests.support.onnx_models import yolo
from tests.support.textures import textures

SINGLE = Recipe(target=Target.TENSORRT, method=Method.MINMAX)
HALF = Recipe(target=Target.TENSORRT, method=Method.MINMAX, half=True)
U8 = Recipe(target=Target.OPENVINO, method=Method.MINMAX, weight_steps=127)


@pytest.fixture(scope="module", params=["silu", "relu"])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return yolo(tmp_path_factory.mktemp("models") / "yolo.onnx", act=request.param)


@pytest.fixture(scope="module")
def table(source: Path) -> RangeTable:
    return collect_ranges(source, textures(12))


@pytest.fixture(scope="module")
def files(source: Path, table: RangeTable, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same table in both runtimes' forms."""
    folder = tmp_path_factory.mktemp("int8")
    recipes = {"single": SINGLE, "half": HALF, "u8": U8}
    return {
        name: write_quantised(source, table, out=folder / f"{name}.onnx", recipe=recipe).path
        for name, recipe in recipes.items()
    }


class Read:
    """A file's graph with the look-ups that the rules need."""

    def __init__(self, path: Path) -> None:
        self.proto = onnx.load(str(path))
        self.nodes = list(self.proto.graph.node)
        self.constants = {t.name: numpy_helper.to_array(t) for t in self.proto.graph.initializer}
        self.made_by = {name: node for node in self.nodes for name in node.output}
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def of(self, kind: str) -> list[onnx.NodeProto]:
        return [node for node in self.nodes if node.op_type == kind]

    def producer(self, name: str) -> str:
        return self.made_by[name].op_type if name in self.made_by else "input"

    def is_quantised(self, convolution: onnx.NodeProto) -> bool:
        return self.producer(convolution.input[1]) == "DequantizeLinear"

    def scale_behind(self, name: str) -> float:
        """Scale of the QuantizeLinear that the tensor passed last."""
        return float(self.constants[self.made_by[name].input[1]])


@pytest.mark.parametrize("name", ["single", "half"])
class TestTensorRt:
    @pytest.fixture
    def read(self, files: dict[str, Path], name: str) -> Read:
        return Read(files[name])

    def test_every_zero_point_is_written_out_as_an_int8_zero(self, read: Read) -> None:
        for node in (*read.of("QuantizeLinear"), *read.of("DequantizeLinear")):
            zero = read.constants[node.input[2]]
            assert zero.dtype == np.int8
            assert not zero.any()

    def test_scales_are_above_zero(self, read: Read) -> None:
        for node in (*read.of("QuantizeLinear"), *read.of("DequantizeLinear")):
            assert (read.constants[node.input[1]] > 0).all()

    def test_weights_are_int8_a_scale_each_channel_and_127_steps(self, read: Read) -> None:
        quantised = [node for node in read.of("Conv") if read.is_quantised(node)]
        assert len(quantised) == 57
        for node in quantised:
            stored = read.made_by[node.input[1]]
            weights, scales = read.constants[stored.input[0]], read.constants[stored.input[1]]
            assert weights.dtype == np.int8
            assert np.abs(weights).max() == 127
            assert scales.shape == weights.shape[:1]
            assert [a.i for a in stored.attribute if a.name == "axis"] == [0]

    def test_no_bias_is_quantised(self, read: Read) -> None:
        for node in read.of("Conv"):
            assert read.constants[node.input[2]].dtype in (np.float32, np.float16)

    def test_each_quantised_convolution_reads_a_dequantised_tensor_directly(self, read: Read) -> None:
        """So no Slice or Split stands between the DequantizeLinear and the convolution."""
        for node in read.of("Conv"):
            feeds = read.producer(node.input[0])
            assert (feeds == "DequantizeLinear") == read.is_quantised(node)

    def test_activations_are_quantised_and_dequantised_by_one_scale(self, read: Read) -> None:
        for node in read.of("QuantizeLinear"):
            for reader in read.readers[node.output[0]]:
                assert reader.op_type == "DequantizeLinear"
                assert list(reader.input[1:]) == list(node.input[1:])
            assert read.constants[node.input[1]].shape == ()

    def test_nothing_stands_between_convolution_and_activation_or_inside_silu(self, read: Read) -> None:
        for node in read.of("QuantizeLinear"):
            made_by = read.producer(node.input[0])
            assert made_by not in ("Conv", "Sigmoid"), node.name
        for node in (*read.of("Sigmoid"), *read.of("Relu")):
            assert read.producer(node.input[0]) != "DequantizeLinear"

    def test_residual_adds_are_quantised_on_the_identity_branch_only(self, read: Read) -> None:
        adds = [node for node in read.of("Add") if any(read.producer(n) == "DequantizeLinear" for n in node.input)]
        assert len(adds) == 6
        for node in adds:
            assert sorted(read.producer(n) == "DequantizeLinear" for n in node.input) == [False, True]
            plain = next(n for n in node.input if read.producer(n) != "DequantizeLinear")
            assert read.producer(plain) in ("Mul", "Relu")

    def test_what_a_concat_joins_has_the_scale_of_what_it_makes(self, read: Read) -> None:
        compared = 0
        for node in read.of("Concat"):
            here = [n for n in read.readers.get(node.output[0], ()) if n.op_type == "QuantizeLinear"]
            for part in node.input if here else ():
                for other in read.readers[part]:
                    if other.op_type == "QuantizeLinear":
                        assert float(read.constants[other.input[1]]) == float(read.constants[here[0].input[1]])
                        compared += 1
        assert compared >= 8

    def test_last_convolutions_and_decode_stay_in_float(self, read: Read) -> None:
        assert sum(not read.is_quantised(node) for node in read.of("Conv")) == 6
        first = min(read.nodes.index(node) for node in read.of("Softmax"))
        assert all(node.op_type not in ("QuantizeLinear", "DequantizeLinear") for node in read.nodes[first:])

    def test_no_reshape_or_transpose_in_eight_bits(self, read: Read) -> None:
        for node in (*read.of("Reshape"), *read.of("Transpose")):
            assert read.producer(node.input[0]) != "DequantizeLinear"

    def test_checker_and_strict_shape_inference_accept_it(self, read: Read, name: str) -> None:
        onnx.checker.check_model(read.proto, full_check=True)
        inferred = onnx.shape_inference.infer_shapes(read.proto, strict_mode=True, data_prop=True)
        kinds = {v.name: v.type.tensor_type.elem_type for v in inferred.graph.value_info}
        body = TensorProto.FLOAT16 if name == "half" else TensorProto.FLOAT
        assert {kinds[node.output[0]] for node in read.of("Conv")} == {body}
        assert inferred.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
        assert inferred.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT

    def test_answers_like_float_in_exact_arithmetic(self, source: Path, files: dict[str, Path], name: str) -> None:
        engine = OpenVinoEngine(emulated(read_model(files[name])))
        assert engine.info.int8_convolutions == 0
        close_to_float(engine, source)


def close_to_float(engine: OpenVinoEngine, source: Path) -> None:
    batch = np.stack([image for image in textures(12) if image.ndim == 3])
    exact, found = OpenVinoEngine(read_model(source)).infer(batch), engine.infer(batch)
    for rows in (slice(2, 4), slice(4, None)):
        assert np.abs(found - exact)[:, rows].mean() < 0.12 * exact[:, rows].std()


def test_half_body_ends_before_the_decode_arithmetic(files: dict[str, Path]) -> None:
    """float16 holds pixel 600 to half a pixel: boxes are computed in float32."""
    read = Read(files["half"])
    opset = next(entry.version for entry in read.proto.opset_import if entry.domain == "")
    assert opset >= 19
    kinds = {
        value.name: value.type.tensor_type.elem_type
        for value in onnx.shape_inference.infer_shapes(read.proto, strict_mode=True).graph.value_info
    }
    assert {kinds[node.output[0]] for node in read.of("Softmax")} == {TensorProto.FLOAT}
    casts = [(read.producer(n.input[0]), n.attribute[0].i) for n in read.of("Cast")]
    assert sorted(casts) == [("Conv", TensorProto.FLOAT)] * 6 + [("input", TensorProto.FLOAT16)]
    assert all(read.constants[node.input[1]].dtype == np.float16 for node in read.of("QuantizeLinear"))
    resize = read.of("Resize")[0]
    assert read.constants[resize.input[2]].dtype == np.float32


def test_both_forms_come_from_the_same_ranges(source: Path, table: RangeTable, tmp_path: Path) -> None:
    single, u8 = (write_quantised(source, table, out=tmp_path / "x.onnx", recipe=recipe) for recipe in (SINGLE, U8))
    assert set(single.ranges) == set(u8.ranges)
    for name, (low, high) in u8.ranges.items():
        if name != "images":
            assert single.ranges[name].high == pytest.approx(max(-low, high))


def test_openvino_form(source: Path, files: dict[str, Path]) -> None:
    """Unsigned activations with a zero point, Q/DQ once behind each computed tensor."""
    read = Read(files["u8"])
    made = [node.input[0] for node in read.of("QuantizeLinear")]
    assert len(made) == len(set(made))
    assert {read.constants[node.input[2]].dtype for node in read.of("QuantizeLinear")} == {np.dtype(np.uint8)}
    assert {read.producer(name) for name in made} <= {"Mul", "Relu", "Add", "input"}
    close_to_float(OpenVinoEngine(emulated(read_model(files["u8"]))), source)


@pytest.mark.long
@pytest.mark.parametrize("name", ["single", "u8"])
def test_onnx_reference_agrees_with_the_emulation(files: dict[str, Path], name: str) -> None:
    """ONNX's own evaluator executes the file's QuantizeLinear and DequantizeLinear literally."""
    image = next(image for image in textures(12) if image.ndim == 3)
    pixels = image.transpose(2, 0, 1)[None].astype(np.float32) / 255
    proto = version_converter.convert_version(onnx.load(str(files[name])), 19)
    (expected,) = list(ReferenceEvaluator(proto).run(None, {"images": pixels}))
    found = OpenVinoEngine(emulated(read_model(files[name]))).infer(image[None])
    assert np.abs(found - expected).mean() < 0.01 * expected.std()


def trained_elsewhere(source: Path, path: Path, *, weight_nodes: bool) -> Path:
    """A Q/DQ file as quantisation-aware training exports it: learnt scales that no calibration would choose.

    ``weight_nodes``: weights in float behind their own QuantizeLinear, as PyTorch's exporters leave them.
    """
    result = write_quantised(
        source,
        collect_ranges(source, textures(4)),
        out=path,
        recipe=Recipe(target=Target.TENSORRT, spare=Spare(Head.NONE)),
    )
    proto = onnx.load(str(result.path))
    del proto.metadata_props[:]
    helper.set_model_props(
        proto, {"names": "{0: 'open', 1: 'short', 2: 'mousebite', 3: 'spur', 4: 'copper', 5: 'pin-hole'}"}
    )
    for tensor in proto.graph.initializer:
        if tensor.name.endswith(".scale"):
            learnt = numpy_helper.to_array(tensor) * np.float32(1.0371)
            tensor.CopyFrom(numpy_helper.from_array(learnt, tensor.name))
    if weight_nodes:
        quantise_by_nodes(proto.graph)
    onnx.checker.check_model(proto)
    onnx.save(proto, str(path))
    return path


def quantise_by_nodes(graph: Any) -> None:
    constants = {tensor.name: tensor for tensor in graph.initializer}
    added = []
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in constants:
            name, scale = node.input[0], numpy_helper.to_array(constants[node.input[1]])
            values = numpy_helper.to_array(constants[name]).astype(np.float32) * scale[:, None, None, None]
            constants[name].CopyFrom(numpy_helper.from_array(values.astype(np.float32), name))
            node.input[0] = f"{name}.q"
            added.append(helper.make_node("QuantizeLinear", [name, *node.input[1:]], [f"{name}.q"], axis=0))
    nodes = [*added, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


@pytest.mark.long
@pytest.mark.parametrize("weight_nodes", [False, True])
def test_model_trained_in_eight_bits_elsewhere_is_taken_as_it_is(
    source: Path, table: RangeTable, tmp_path: Path, weight_nodes: bool
) -> None:
    path = trained_elsewhere(source, tmp_path / "qat.onnx", weight_nodes=weight_nodes)
    before = path.read_bytes()
    model = read_model(path)
    assert model.content == before
    assert (model.quantised_convolutions, model.convolutions) == (63, 63)
    with pytest.raises(ModelRejected, match="quantised already"):
        write_quantised(path, table, out=tmp_path / "again.onnx", recipe=Recipe())
    assert not (tmp_path / "again.onnx").exists()
    assert path.read_bytes() == before
    engine = OpenVinoEngine(model)
    assert engine.info.precision == "INT8"
    assert np.isfinite(engine.infer(np.zeros((1, 64, 64, 3), np.uint8))).all()


def test_float16_exports_are_refused(source: Path, table: RangeTable, tmp_path: Path) -> None:
    proto = onnx.load(str(source))
    proto.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float16), "left"))
    onnx.save(proto, str(tmp_path / "half.onnx"))
    with pytest.raises(ModelRejected, match="float16"):
        write_quantised(tmp_path / "half.onnx", table, out=tmp_path / "int8.onnx", recipe=Recipe())


def test_weight_too_large_for_float16_is_refused(source: Path, table: RangeTable, tmp_path: Path) -> None:
    proto = onnx.load(str(source))
    bias = next(node.input[2] for node in proto.graph.node if node.op_type == "Conv")
    tensor = next(tensor for tensor in proto.graph.initializer if tensor.name == bias)
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + np.float32(1e6), bias))
    onnx.save(proto, str(tmp_path / "huge.onnx"))
    with pytest.raises(ModelRejected, match="more than float16 can"):
        write_quantised(tmp_path / "huge.onnx", table, out=tmp_path / "int8.onnx", recipe=HALF)


def test_constants_kept_in_nodes_are_quantised_too(source: Path, table: RangeTable, tmp_path: Path) -> None:
    """Some exporters write weights as Constant nodes instead of initialisers."""
    proto = onnx.load(str(source))
    weights = {node.input[1] for node in proto.graph.node if node.op_type == "Conv"}
    tensors = [tensor for tensor in proto.graph.initializer if tensor.name in weights]
    nodes = [helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in tensors] + list(
        proto.graph.node
    )
    kept = [tensor for tensor in proto.graph.initializer if tensor.name not in weights]
    del proto.graph.node[:], proto.graph.initializer[:]
    proto.graph.node.extend(nodes)
    proto.graph.initializer.extend(kept)
    onnx.save(proto, str(tmp_path / "nodes.onnx"))
    for recipe in (SINGLE, HALF, U8):
        result = write_quantised(tmp_path / "nodes.onnx", table, out=tmp_path / "int8.onnx", recipe=recipe)
        assert result.quantised_convolutions == 57
        assert result.path.stat().st_size < 0.4 * (tmp_path / "nodes.onnx").stat().st_size
