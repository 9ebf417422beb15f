"""Writes QuantizeLinear and DequantizeLinear into an ONNX graph where a placement says.

The form that both runtimes take: weights stored as int8, symmetric, behind a DequantizeLinear alone; activations one
scale a tensor; zero points always written out; biases in float, since TensorRT refuses a quantised one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from gistline.detection.graph_walk import Walk
from gistline.detection.placement import Placement, Point
from gistline.detection.ranges import SMALLEST_SCALE, Affine, Range, affine

_SMALLEST_HALF: Final = 2.0**-14
"""Smaller float16 numbers are subnormal: they lose digits, and some hardware takes them for 0."""


@dataclass(frozen=True, slots=True)
class Form:
    """How the eight bits are written.

    ``symmetric``: int8 activations with zero point 0, otherwise uint8 with a zero point. ``weight_steps``: the largest
    weight. ``per_channel``: one weight scale an output channel, otherwise one a tensor. ``half``: every scale is a
    float16 number, so that a float16 file means the same.
    """

    symmetric: bool
    weight_steps: int
    per_channel: bool = True
    half: bool = False

    def scale(self, scale: float) -> float:
        """The scale as the file will hold it."""
        return float(np.float16(max(scale, _SMALLEST_HALF))) if self.half else scale

    def scales(self, scales: NDArray[np.float32]) -> NDArray[np.float32]:
        """The same of several."""
        return np.maximum(scales, _SMALLEST_HALF).astype(np.float16).astype(np.float32) if self.half else scales


def insert(graph: Any, placement: Placement, ranges: dict[str, Range], form: Form) -> None:
    """Quantise a graph in place; nodes stay in topological order.

    Args:
        graph: ``onnx.GraphProto`` in float32.
        placement: what is quantised, made from this graph.
        ranges: of each tensor of the placement.
        form: how it is written.

    """
    _Writer(graph, form).write(placement, ranges)


def quantise_weights(
    weights: NDArray[np.float32], steps: int = 127, *, form: Form | None = None
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Symmetric int8 weights and one scale an output channel (axis 0), or a single one where ``form`` says so.

    ``weights ~ int8 * scale``; the largest of a channel becomes ``steps``. A channel of zeros gets a scale above 0.
    """
    how = form or Form(symmetric=False, weight_steps=steps)
    apart = np.abs(weights).reshape(weights.shape[0], -1).max(axis=1)
    largest = apart if how.per_channel else apart.max()
    scales = how.scales(np.maximum(largest / how.weight_steps, SMALLEST_SCALE).astype(np.float32))
    spread = scales.reshape(-1, *[1] * (weights.ndim - 1))
    return np.clip(np.rint(weights / spread), -how.weight_steps, how.weight_steps).astype(np.int8), scales


class _Writer:
    def __init__(self, graph: Any, form: Form) -> None:
        self._graph = graph
        self._form = form
        self._constants = Walk(graph).constants
        self._weights: set[str] = set()

    def write(self, placement: Placement, ranges: dict[str, Range]) -> None:
        convolutions = set(placement.convolutions)
        points = {point.tensor: point for point in placement.points}
        rewired = {reader: _back(point.tensor) for point in placement.points for reader in point.readers}
        covered = [ranges[group[0]] for group in placement.groups]
        nodes: list[Any] = []
        for value in self._graph.input:
            nodes.extend(self._activation(points.get(value.name), covered))
        for node in self._graph.node:
            for index in range(len(node.input)):
                node.input[index] = rewired.get((node.output[0], index), node.input[index])
            if node.output[0] in convolutions:
                nodes.extend(self._weight(node))
            nodes.append(node)
            for name in node.output:
                nodes.extend(self._activation(points.get(name), covered))
        del self._graph.node[:]
        self._graph.node.extend(nodes)
        self._drop_unused()

    def _activation(self, point: Point | None, covered: list[Range]) -> list[Any]:
        if point is None:
            return []
        name, symmetric = point.tensor, self._form.symmetric
        scale, zero = self._scalars(name, affine(covered[point.group], signed=symmetric, symmetric=symmetric))
        quantised = f"{name}.quantised"
        return [
            helper.make_node("QuantizeLinear", [name, scale, zero], [quantised], name=quantised),
            helper.make_node("DequantizeLinear", [quantised, scale, zero], [_back(name)], name=_back(name)),
        ]

    def _scalars(self, name: str, how: Affine) -> tuple[str, str]:
        kind = np.int8 if how.signed else np.uint8
        scale = self._constant(f"{name}.scale", np.array(self._form.scale(how.scale), np.float32))
        return scale, self._constant(f"{name}.zero_point", np.array(how.zero_point, kind))

    def _weight(self, node: Any) -> list[Any]:
        """Store a convolution's weights as int8 and let it read them through a DequantizeLinear."""
        name = node.input[1]
        node.input[1] = _back(name)
        if name in self._weights:
            return []
        self._weights.add(name)
        quantised, scales = quantise_weights(numpy_helper.to_array(self._constants[name]), form=self._form)
        inputs = [
            self._constant(f"{name}.int8", quantised),
            self._constant(f"{name}.scale", scales),
            self._constant(f"{name}.zero_point", np.zeros(scales.shape, np.int8)),
        ]
        axis: dict[str, Any] = {"axis": 0} if self._form.per_channel else {}
        return [helper.make_node("DequantizeLinear", inputs, [_back(name)], name=_back(name), **axis)]

    def _constant(self, name: str, values: NDArray[Any]) -> str:
        self._graph.initializer.append(numpy_helper.from_array(values, name))
        return name

    def _drop_unused(self) -> None:
        """The float weights are read no more."""
        used = {name for node in self._graph.node for name in node.input}
        used |= {value.name for value in self._graph.output}
        kept = [tensor for tensor in self._graph.initializer if tensor.name in used]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)
        nodes = [node for node in self._graph.node if node.op_type != "Constant" or node.output[0] in used]
        del self._graph.node[:]
        self._graph.node.extend(nodes)


def _back(name: str) -> str:
    return f"{name}.dequantised"
