from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from gistline.detection.placement import Placement, place
from tests.support.onnx_models import yolo


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> onnx.GraphProto:
    return onnx.load(str(yolo(tmp_path_factory.mktemp("models") / "yolo.onnx"))).graph


def test_the_last_convolution_of_each_branch_stays_in_float(graph: onnx.GraphProto) -> None:
    placement = place(graph)
    spared = {node.output[0] for node in graph.node if node.op_type == "Conv"} - set(placement.convolutions)
    consumers = {name: node.op_type for node in graph.node for name in node.input}
    assert len(spared) == 6
    assert {consumers[name] for name in spared} == {"Concat"}


def test_nothing_is_quantised_between_convolution_and_activation(graph: onnx.GraphProto) -> None:
    made_by = {name: node.op_type for node in graph.node for name in node.output}
    kinds = {made_by.get(name, "input") for name in place(graph).tensors}
    assert kinds == {"Mul", "Add", "input"}


def test_concat_inputs_share_a_scale(graph: onnx.GraphProto) -> None:
    placement = place(graph)
    group_of = {name: index for index, group in enumerate(placement.groups) for name in group}
    made_by = {name: node for node in graph.node for name in node.output}

    def origins(name: str) -> set[str]:
        node = made_by.get(name)
        if name in group_of or node is None:
            return {name}
        inputs = node.input if node.op_type == "Concat" else node.input[:1]
        return set().union(*(origins(one) for one in inputs))

    quantised = set(placement.convolutions)
    fed = [node for node in graph.node if node.op_type == "Conv" and node.output[0] in quantised]
    for node in fed:
        assert len({group_of[name] for name in origins(node.input[0])}) == 1, node.name
    assert max(map(len, placement.groups)) > 2


def test_every_tensor_stands_in_one_group(graph: onnx.GraphProto) -> None:
    tensors = place(graph).tensors
    assert len(tensors) == len(set(tensors))


def test_named_convolutions_stay_in_float_too(graph: onnx.GraphProto) -> None:
    first = place(graph).convolutions[0]
    assert first not in place(graph, keep_float=[first]).convolutions
    assert "images" not in place(graph, keep_float=[first]).tensors


def test_decode_convolution_with_one_channel_is_looked_through(tmp_path: Path) -> None:
    """YOLOv8's expectation over distances: the real last convolution lies before it."""
    nodes = [
        onnx.helper.make_node("Conv", ["images", "w1"], ["hidden"]),
        onnx.helper.make_node("Relu", ["hidden"], ["active"]),
        onnx.helper.make_node("Conv", ["active", "w2"], ["last"]),
        onnx.helper.make_node("Softmax", ["last"], ["spread"], axis=1),
        onnx.helper.make_node("Conv", ["spread", "bins"], ["output0"]),
    ]
    value = onnx.helper.make_tensor_value_info
    weights = [
        onnx.helper.make_tensor(name, onnx.TensorProto.FLOAT, shape, [0.0] * (shape[0] * shape[1]))
        for name, shape in (("w1", (4, 3, 1, 1)), ("w2", (16, 4, 1, 1)), ("bins", (1, 16, 1, 1)))
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "decode",
        [value("images", onnx.TensorProto.FLOAT, [1, 3, 8, 8])],
        [value("output0", onnx.TensorProto.FLOAT, [1, 1, 8, 8])],
        weights,
    )
    assert place(graph) == Placement(("hidden",), (("images",),))
