from __future__ import annotations

import numpy as np
import onnx
import pytest

from gistline.detection.graph_walk import Walk
from gistline.detection.placement import Head, Spare, Style, place
from gistline.errors import ModelRejected
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
    without = place(graph, Spare(tensors=(first,)))
    assert first not in without.convolutions
    assert "images" not in without.tensors
    assert without.kept[first] == "found by the search"


def test_patterns_name_nodes_tensors_and_weights(graph: onnx.GraphProto) -> None:
    node = next(node for node in graph.node if node.op_type == "Conv")
    for pattern in (node.name, node.output[0], node.input[1], f"{node.input[1][:-1]}?"):
        kept = place(graph, Spare(patterns=(pattern,))).kept
        assert kept[node.output[0]] == f"named by {pattern!r}"
    assert place(graph, Spare(patterns=("conv_*",))).convolutions == ()


def test_pattern_without_a_convolution_is_refused(graph: onnx.GraphProto) -> None:
    with pytest.raises(ModelRejected, match=r"'\*/head/\*' names none of the 63 convolutions"):
        place(graph, Spare(patterns=("*/head/*",)))


def test_every_spared_convolution_has_a_reason(graph: onnx.GraphProto) -> None:
    everything = {node.output[0] for node in graph.node if node.op_type == "Conv"}
    for spare in (Spare(Head.NONE), Spare(Head.LAST), Spare(Head.WHOLE), Spare(least_channels=16)):
        placement = place(graph, spare)
        assert set(placement.convolutions) | set(placement.kept) == everything
        assert not set(placement.convolutions) & set(placement.kept)


def test_how_much_of_the_head_stays_in_float(graph: onnx.GraphProto) -> None:
    """Three levels, two branches each, three convolutions a branch."""
    kept = {head: len(place(graph, Spare(head)).kept) for head in Head}
    assert kept == {Head.NONE: 0, Head.LAST: 6, Head.WHOLE: 18}


def test_narrow_convolutions_stay_in_float_on_wish(graph: onnx.GraphProto) -> None:
    walk = Walk(graph)
    narrow = {name for name, why in place(graph, Spare(Head.NONE, least_channels=16)).kept.items() if "fewer" in why}
    shapes = {node.output[0]: walk.weight_shape(node) for node in walk.convolutions}
    assert narrow == {name for name, shape in shapes.items() if shape is not None and min(shape[:2]) < 16}
    assert len(narrow) > 3


def test_before_each_convolution_where_the_runtime_wants_it_there(graph: onnx.GraphProto) -> None:
    """TensorRT: at the input of every quantised convolution, and at one operand of each residual add."""
    placement = place(graph, style=Style.INPUTS)
    quantised = set(placement.convolutions)
    convolutions = {(n.output[0], 0): n for n in graph.node if n.op_type == "Conv" and n.output[0] in quantised}
    adds = {n.output[0]: n for n in graph.node if n.op_type == "Add"}
    readers = {reader: point for point in placement.points for reader in point.readers}
    assert len(readers) == sum(len(point.readers) for point in placement.points)
    assert {reader for reader in readers if reader[0] not in adds} == set(convolutions)
    residual = [reader for reader in readers if reader[0] in adds]
    assert len(residual) == 1 + 2 + 2 + 1
    made_by = {name: node.op_type for node in graph.node for name in node.output}
    for name, index in residual:
        assert made_by[adds[name].input[index]] in ("Split", "Add")
        assert made_by[adds[name].input[1 - index]] == "Mul"


def test_both_styles_need_the_same_ranges(graph: onnx.GraphProto) -> None:
    assert set(place(graph).tensors) == set(place(graph, style=Style.INPUTS).tensors)


def chain(*nodes: tuple[str, list[str], list[str]], weights: dict[str, tuple[int, ...]]) -> onnx.GraphProto:
    """A graph of those operators from ``images`` to ``output0``; weights count 0, 1, 2, ..."""
    value = onnx.helper.make_tensor_value_info
    return onnx.helper.make_graph(
        [onnx.helper.make_node(kind, inputs, outputs) for kind, inputs, outputs in nodes],
        "chain",
        [value("images", onnx.TensorProto.FLOAT, [1, 3, 8, 8])],
        [value("output0", onnx.TensorProto.FLOAT, None)],
        [
            onnx.numpy_helper.from_array(np.arange(np.prod(shape), dtype=np.float32).reshape(shape), name)
            for name, shape in weights.items()
        ],
    )


def test_branch_of_one_class_is_no_decode_arithmetic() -> None:
    """A score branch of a single class ends in one channel too; only weights 0, 1, 2, ... are an expectation."""
    graph = chain(
        ("Conv", ["images", "w1"], ["hidden"]),
        ("Relu", ["hidden"], ["active"]),
        ("Conv", ["active", "w2"], ["score"]),
        ("Sigmoid", ["score"], ["output0"]),
        weights={"w1": (4, 3, 1, 1), "w2": (1, 4, 3, 3)},
    )
    assert place(graph).convolutions == ("hidden",)
    assert set(place(graph).kept) == {"score"}


def test_activation_of_a_bare_convolution_reads_it_in_float() -> None:
    """A tensor read by both a convolution and an activation is quantised for the convolution only."""
    graph = chain(
        ("Conv", ["images", "w1"], ["bare"]),
        ("Sigmoid", ["bare"], ["gate"]),
        ("Conv", ["bare", "w2"], ["second"]),
        ("Mul", ["second", "gate"], ["gated"]),
        ("Conv", ["gated", "w3"], ["output0"]),
        weights={"w1": (4, 3, 1, 1), "w2": (4, 4, 1, 1), "w3": (5, 4, 1, 1)},
    )
    for style in Style:
        points = {point.tensor: point.readers for point in place(graph, style=style).points}
        assert points["bare"] == {("second", 0)}, style


def test_shapes_that_the_decode_asks_for_are_no_values() -> None:
    """Anchors computed from a feature map's size do not make its convolution one of the last."""
    graph = chain(
        ("Conv", ["images", "w1"], ["feature"]),
        ("Relu", ["feature"], ["active"]),
        ("Conv", ["active", "w2"], ["last"]),
        ("Shape", ["active"], ["size"]),
        ("Reshape", ["last", "size"], ["output0"]),
        weights={"w1": (4, 3, 1, 1), "w2": (4, 4, 1, 1)},
    )
    assert set(place(graph).kept) == {"last"}


def test_linear_resize_makes_new_values() -> None:
    graph = chain(
        ("Conv", ["images", "w1"], ["feature"]),
        ("Resize", ["feature", "", "w1"], ["larger"]),
        ("Conv", ["larger", "w2"], ["second"]),
        ("Conv", ["second", "w2"], ["output0"]),
        weights={"w1": (4, 3, 1, 1), "w2": (4, 4, 1, 1)},
    )
    assert "feature" in place(graph).tensors
    graph.node[1].attribute.append(onnx.helper.make_attribute("mode", "linear"))
    assert "larger" in place(graph).tensors
    assert "feature" not in place(graph).tensors


def test_expectation_over_distances_is_looked_through() -> None:
    """YOLOv8 writes it as a 1x1 convolution with the weights 0, 1, 2, ...: the real last one lies before it."""
    graph = chain(
        ("Conv", ["images", "w1"], ["hidden"]),
        ("Relu", ["hidden"], ["active"]),
        ("Conv", ["active", "w2"], ["last"]),
        ("Softmax", ["last"], ["spread"]),
        ("Conv", ["spread", "bins"], ["output0"]),
        weights={"w1": (4, 3, 1, 1), "w2": (16, 4, 1, 1), "bins": (1, 16, 1, 1)},
    )
    placement = place(graph)
    assert (placement.convolutions, placement.groups) == (("hidden",), (("images",),))
    assert set(placement.kept) == {"last", "output0"}
    assert place(graph, Spare(Head.NONE)).convolutions == ("hidden", "last")
