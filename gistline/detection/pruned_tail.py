"""Compute boxes only where a score reaches the threshold: a change to an OpenVINO graph, right before it is compiled.

A detector decodes every cell of its grid - softmax over distances, arithmetic of boxes, a copy into another layout -
although a handful of cells in thousands score. Everything behind the last convolutions works on each cell by itself, so
it can as well work on the chosen cells alone. What is chosen leaves the graph in the cells' order, as columns of the
same numbers; with a threshold of 0 it is the whole prediction.

OpenVINO is handed in, since one file alone imports it.
"""

from __future__ import annotations

import functools
from typing import Any, Final

import numpy as np

THRESHOLD: Final = "gistline.threshold"
"""Name of the added input: float32 ``[1]``."""
_HAND_ON: Final = frozenset({"Identity", "Convert"})
_EACH_BY_ITSELF: Final = _HAND_ON | frozenset(
    {"Add", "Subtract", "Multiply", "Divide", "Power", "Negative", "Exp", "Sigmoid", "Relu", "Clamp", "Sqrt"}
)
_ALONG_AN_AXIS: Final = frozenset(
    {"Softmax", "ReduceSum", "ReduceMean", "ReduceMax", "Concat", "Split", "VariadicSplit"}
)


def prune_tail(graph: Any, classes: int, *, opset: Any) -> bool:
    """Change a graph with static shapes, batch 1 and one output ``[1, 4 + classes, cells]`` in place.

    Afterwards it has a second input, :data:`THRESHOLD`, and its output is ``[1, 4 + classes, chosen]``. It also has a
    second output, float32 ``[1]``: the sum of all that goes into the decoding, finite only if every number is.

    Returns:
        False, with the graph unchanged, where the output is put together in a way that is not understood.

    """
    result = graph.get_results()[0]
    cells = int(result.get_output_shape(0)[-1])
    joined = result.input_value(0).get_node()
    while joined.get_type_name() in _HAND_ON:
        joined = joined.input_value(0).get_node()
    *boxes, scores = _inputs(joined)
    if joined.get_type_name() != "Concat" or list(scores.get_shape()) != [1, classes, cells]:
        return False
    tail = _Tail(cells, spared=_behind(scores))
    for part in boxes:
        tail.follow(part)
    if not tail.nodes or any(source.get_element_type().get_type_name() != "f32" for source in tail.sources.values()):
        return False
    _rewire(graph, joined, tail, opset)
    return True


def _inputs(node: Any) -> list[Any]:
    return [node.input_value(index) for index in range(node.get_input_size())]


def _behind(output: Any) -> set[str]:
    """Names of every node that a tensor is computed from."""
    found: set[str] = set()
    ahead = [output.get_node()]
    while ahead:
        node = ahead.pop()
        if node.get_name() not in found:
            found.add(node.get_name())
            ahead.extend(tensor.get_node() for tensor in _inputs(node))
    return found


class _Tail:
    """The nodes that treat each cell by itself, and the tensors that they start from, by name of node and output.

    Nodes of the ``spared`` names stay as they are: the scores, which decide on what is chosen, come from them.
    """

    def __init__(self, cells: int, *, spared: set[str]) -> None:
        self.cells = cells
        self._spared = spared
        self.nodes: dict[str, Any] = {}
        self.sources: dict[tuple[str, int], Any] = {}

    def follow(self, output: Any) -> None:
        """Walk from a tensor with cells towards the inputs of the graph."""
        node = output.get_node()
        if node.get_name() in self._spared or not self._treats_each_cell_by_itself(node):
            self.sources[node.get_name(), output.get_index()] = output
            return
        if node.get_name() not in self.nodes:
            self.nodes[node.get_name()] = node
            for index in self._with_cells(node):
                self.follow(node.input_value(index))

    def _with_cells(self, node: Any) -> list[int]:
        """Indices of a node's inputs that have an axis of cells."""
        return [i for i in range(node.get_input_size()) if self.axis(node.input_value(i)) is not None]

    def axis(self, output: Any) -> int | None:
        """The axis of cells, counted from the back, where there is exactly one as long as that."""
        shape = list(output.get_shape())
        return shape.index(self.cells) - len(shape) if shape.count(self.cells) == 1 else None

    def _treats_each_cell_by_itself(self, node: Any) -> bool:
        kind, outputs = node.get_type_name(), [node.output(i) for i in range(node.get_output_size())]
        inputs = [node.input_value(i) for i in self._with_cells(node)]
        if not inputs or any(self.axis(output) is None for output in outputs):
            return False
        at = {self.axis(tensor) for tensor in (*inputs, *outputs)}
        if kind in _EACH_BY_ITSELF:
            return len(at) == 1
        if kind == "Reshape":
            return at == {-1}
        return kind in _ALONG_AN_AXIS and at == {-1} and self._other_axis(node)

    def _other_axis(self, node: Any) -> bool:
        """The node works along another axis than that of the cells, which is the last."""
        rank = len(node.input_value(0).get_shape())
        attributes = node.get_attributes()
        if "axis" in attributes:
            axes = [int(attributes["axis"])]
        else:
            constant = node.input_value(1).get_node()
            if constant.get_type_name() != "Constant":
                return False
            axes = [int(axis) for axis in np.atleast_1d(constant.get_data())]
        return all(axis % rank != rank - 1 for axis in axes)


def _rewire(graph: Any, joined: Any, tail: _Tail, opset: Any) -> None:
    """Let the tail start from chosen cells."""
    last = joined.input(joined.get_input_size() - 1)
    scores = last.get_source_output()
    threshold = opset.parameter([1], np.float32, name=THRESHOLD)
    chosen = _chosen(scores, threshold, opset)
    sums = [_sum(scores, opset)]
    for source in tail.sources.values():
        rows = _rows(source, opset)
        if source.get_node().get_type_name() != "Constant":
            sums.append(_sum(source if rows is None else rows, opset))
        picked = _pick(source, rows, chosen, axis=tail.axis(source) or 0, opset=opset)
        for target in source.get_target_inputs():
            if target.get_node().get_name() in tail.nodes:
                target.replace_source_output(picked)
    _forget_lengths(tail, opset)
    last.replace_source_output(opset.gather(scores, chosen, np.int64(-1)).output(0))
    health = opset.reshape(functools.reduce(opset.add, sums), np.array([1]), special_zero=False)
    graph.add_parameters([threshold])
    graph.add_results([opset.result(health)])
    graph.validate_nodes_and_infer_types()


def _chosen(scores: Any, threshold: Any, opset: Any) -> Any:
    """Indices of the cells whose best score is not below the threshold; so worded, NaN is chosen too."""
    best = opset.reduce_max(scores, np.array([0, 1]), keep_dims=False)
    wanted = opset.logical_not(opset.less(best, threshold))
    return opset.reshape(opset.non_zero(wanted, output_type="i64"), np.array([-1]), special_zero=False)


def _sum(tensor: Any, opset: Any) -> Any:
    return opset.reduce_sum(tensor, np.arange(len(tensor.get_shape())), keep_dims=False)


def _rows(source: Any, opset: Any) -> Any | None:
    """A tensor ``[1, n, cells]`` made of grids as ``[cells, n]``, which is how convolutions leave them in memory."""
    node = source.get_node()
    if node.get_type_name() == "Concat" and int(node.get_attributes()["axis"]) in {-1, 2}:
        parts = [_rows(part, opset) for part in _inputs(node)]
        if any(part is None for part in parts):
            return None
        return parts[0] if len(parts) == 1 else opset.concat(parts, 0).output(0)
    if node.get_type_name() != "Reshape":
        return None
    grid, shape = node.input_value(0), list(source.get_shape())
    if len(shape) != 3 or len(grid.get_shape()) != 4 or list(grid.get_shape())[:2] != shape[:2]:
        return None
    last = opset.transpose(grid, np.array([0, 2, 3, 1]))
    return opset.reshape(last, np.array([shape[2], shape[1]]), special_zero=False).output(0)


def _pick(source: Any, rows: Any | None, chosen: Any, *, axis: int, opset: Any) -> Any:
    """The chosen cells of a tensor, in its own order of axes."""
    if rows is None:
        return opset.gather(source, chosen, np.int64(axis)).output(0)
    turned = opset.transpose(opset.gather(rows, chosen, np.int64(0)), np.array([1, 0]))
    return opset.unsqueeze(turned, np.int64(0)).output(0)


def _forget_lengths(tail: _Tail, opset: Any) -> None:
    """Let what reshapes in the tail work out the number of cells, which the file wrote down."""
    for node in tail.nodes.values():
        if node.get_type_name() == "Reshape":
            shape = [-1 if side == tail.cells else side for side in node.get_output_shape(0)]
            node.input(1).replace_source_output(opset.constant(np.array(shape, np.int64)).output(0))
