"""A Q/DQ model written out in float arithmetic: what a runtime with exact INT8 answers, run on any CPU.

For files that are meant for other hardware. A CPU without VNNI saturates in its own INT8 arithmetic, and would judge a
TensorRT file by a fault that the GPU does not have.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from gistline.detection.graph_walk import Walk
from gistline.detection.model_file import ModelFile


def emulated(model: ModelFile) -> ModelFile:
    """The same detector with every QuantizeLinear and DequantizeLinear written as the float operators that define it.

    ``round(x / scale) + zero point``, clipped to the eight bits, and back; constants are computed beforehand. Sums are
    those of float32 instead of int32, which agree to its rounding.
    """
    proto = onnx.load_model_from_string(model.content)
    walk = Walk(proto.graph)
    writer = _Writer({name: numpy_helper.to_array(tensor) for name, tensor in walk.constants.items()})
    nodes: list[Any] = []
    for node in walk.nodes:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            nodes.extend(writer.written_out(node))
        else:
            nodes.append(node)
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    proto.graph.initializer.extend(writer.added)
    del proto.graph.value_info[:]
    return replace(model, content=proto.SerializeToString(), quantised_convolutions=0)


class _Writer:
    def __init__(self, constants: dict[str, NDArray[Any]]) -> None:
        self._constants = constants
        self.added: list[Any] = []

    def written_out(self, node: Any) -> list[Any]:
        """Float operators in place of one node; none where its input is constant."""
        scale = self._constants[node.input[1]]
        zero = self._constants[node.input[2]] if len(node.input) > 2 else np.zeros(scale.shape, np.uint8)
        values = self._constants.get(node.input[0])
        if node.op_type == "QuantizeLinear":
            if values is not None:
                return self._constant(node, _quantised(values, _along(node, scale, values), _along(node, zero, values)))
            return self._quantise(node, scale, zero)
        if values is not None:
            steps = values.astype(np.float32) - _along(node, zero, values).astype(np.float32)
            return self._constant(node, (steps * _along(node, scale, values)).astype(scale.dtype))
        return self._dequantise(node, scale, zero)

    def _constant(self, node: Any, values: NDArray[Any]) -> list[Any]:
        self._constants[node.output[0]] = values
        self.added.append(numpy_helper.from_array(values, node.output[0]))
        return []

    def _quantise(self, node: Any, scale: NDArray[Any], zero: NDArray[Any]) -> list[Any]:
        made, kind = node.output[0], scale.dtype
        limits = np.iinfo(zero.dtype)
        low, high, offset, by = (
            self._number(f"{made}.{name}", value, kind)
            for name, value in (("low", limits.min), ("high", limits.max), ("offset", zero), ("by", scale))
        )
        return [
            helper.make_node("Div", [node.input[0], by], [f"{made}.scaled"]),
            helper.make_node("Round", [f"{made}.scaled"], [f"{made}.rounded"]),
            helper.make_node("Add", [f"{made}.rounded", offset], [f"{made}.moved"]),
            helper.make_node("Clip", [f"{made}.moved", low, high], [made]),
        ]

    def _dequantise(self, node: Any, scale: NDArray[Any], zero: NDArray[Any]) -> list[Any]:
        made, kind = node.output[0], scale.dtype
        offset, by = self._number(f"{made}.offset", zero, kind), self._number(f"{made}.by", scale, kind)
        return [
            helper.make_node("Sub", [node.input[0], offset], [f"{made}.steps"]),
            helper.make_node("Mul", [f"{made}.steps", by], [made]),
        ]

    def _number(self, name: str, value: Any, kind: Any) -> str:
        self.added.append(numpy_helper.from_array(np.array(value, kind), name))
        return name


def _along(node: Any, factors: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
    """Scales or zero points of an axis, shaped to multiply the values."""
    if factors.ndim == 0:
        return factors
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
    return factors.reshape([-1 if place == axis % values.ndim else 1 for place in range(values.ndim)])


def _quantised(values: NDArray[Any], scale: NDArray[Any], zero: NDArray[Any]) -> NDArray[Any]:
    limits = np.iinfo(zero.dtype)
    return np.asarray(np.clip(np.rint(values / scale) + zero, limits.min, limits.max), zero.dtype)
