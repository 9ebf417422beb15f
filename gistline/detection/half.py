"""Types an ONNX detector in float16 from its input to its last convolutions, as strongly typed TensorRT wants it.

A runtime that takes precisions from the file runs whatever a float32 file leaves unquantised in float32, which costs
speed (a fifth, where it was measured). The decode arithmetic stays in float32: float16 places an edge beyond pixel 512
to half a pixel only.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, version_converter

from gistline.detection.graph_walk import Walk
from gistline.errors import ModelRejected

LEAST_OPSET: Final = 19
"""From here on QuantizeLinear and DequantizeLinear take float16."""
_NOT_TYPED: Final = {"Resize": (1, 2), "Upsample": (1,)}
"""Inputs that are float32 whatever the data are: regions and scales."""


def raised(proto: Any, name: str) -> Any:
    """The model in opset 19 or later.

    Raises:
        ModelRejected: ONNX cannot convert it.

    """
    opset = next((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if opset >= LEAST_OPSET:
        return proto
    try:
        converted = version_converter.convert_version(proto, LEAST_OPSET)
    except (RuntimeError, ValueError) as error:
        raise ModelRejected(
            f"{name} has opset {opset}; float16 around Q/DQ needs {LEAST_OPSET}, and ONNX cannot convert it: "
            f"{str(error).strip().splitlines()[0]}",
            cure=f"Export it with opset {LEAST_OPSET} or later, or keep the body in float32.",
        ) from error
    del converted.metadata_props[:]
    converted.metadata_props.extend(proto.metadata_props)
    return converted


def to_half(proto: Any, name: str) -> None:
    """Type the body in float16, in place; input and output stay float32, with a Cast behind and before them.

    Raises:
        ModelRejected: a weight does not fit into float16.

    """
    body = _Body(proto, name)
    body.type_constants()
    body.cast_borders()
    del proto.graph.value_info[:]


class _Body:
    """Nodes that the last convolutions are computed by, and everything else: the decode arithmetic."""

    def __init__(self, proto: Any, name: str) -> None:
        graph = proto.graph
        self._graph = graph
        self._name = name
        walk = Walk(graph)
        before = walk.before(walk.last)
        self._constants = walk.constants
        self._inputs = [value.name for value in graph.input if value.name not in walk.constants]
        self._nodes = [node for node in walk.nodes if node.op_type != "Constant" and before.intersection(node.output)]
        self._inside = {output for node in self._nodes for output in node.output}
        self._float = _float_tensors(proto)

    def type_constants(self) -> None:
        """Read float32 constants as float16 copies, and turn Casts to float32 into Casts to float16."""
        copies: dict[str, str] = {}
        for node in self._nodes:
            for index, name in enumerate(node.input):
                tensor = self._constants.get(name)
                if tensor is None or tensor.data_type != TensorProto.FLOAT or index in _NOT_TYPED.get(node.op_type, ()):
                    continue
                if name not in copies:
                    copies[name] = self._half_copy(name, tensor)
                node.input[index] = copies[name]
            for attribute in node.attribute:
                if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                    attribute.i = TensorProto.FLOAT16
                elif node.op_type == "ConstantOfShape" and attribute.t.data_type == TensorProto.FLOAT:
                    attribute.t.CopyFrom(self._as_half(attribute.t, attribute.t.name))
        self._drop_unread()

    def cast_borders(self) -> None:
        """Cast the input to float16, and to float32 whatever is read out of the body."""
        for name in self._inputs:
            self._reread(name, f"{name}.half", [node for node in self._nodes if node.op_type != "Shape"])
        nodes = [_cast(name, f"{name}.half", TensorProto.FLOAT16) for name in self._inputs]
        outside = [node for node in self._graph.node if node.output[0] not in self._inside and node.op_type != "Shape"]
        answers = {value.name for value in self._graph.output}
        for node in self._graph.node:
            nodes.append(node)
            for index, name in enumerate(node.output):
                if name not in self._inside or name not in self._float:
                    continue
                if name in answers:
                    node.output[index] = f"{name}.half"
                    self._reread(name, f"{name}.half", self._nodes)
                    nodes.append(_cast(f"{name}.half", name, TensorProto.FLOAT))
                elif self._reread(name, f"{name}.single", outside):
                    nodes.append(_cast(name, f"{name}.single", TensorProto.FLOAT))
        del self._graph.node[:]
        self._graph.node.extend(nodes)

    @staticmethod
    def _reread(name: str, other: str, readers: list[Any]) -> bool:
        found = False
        for node in readers:
            for index, read in enumerate(node.input):
                if read == name:
                    node.input[index], found = other, True
        return found

    def _half_copy(self, name: str, tensor: Any) -> str:
        copy = f"{name}.float16"
        self._graph.initializer.append(self._as_half(tensor, copy))
        return copy

    def _as_half(self, tensor: Any, name: str) -> Any:
        values = numpy_helper.to_array(tensor)
        if np.abs(values).max(initial=0) > float(np.finfo(np.float16).max):
            raise ModelRejected(
                f"{self._name} holds {np.abs(values).max():g} in {tensor.name or name!r}, more than float16 can.",
                cure="Keep the body in float32.",
            )
        return numpy_helper.from_array(values.astype(np.float16), name)

    def _drop_unread(self) -> None:
        read = {name for node in self._graph.node for name in node.input}
        kept = [tensor for tensor in self._graph.initializer if tensor.name in read]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)


def _cast(source: str, made: str, kind: int) -> Any:
    return helper.make_node("Cast", [source], [made], name=f"{made}.cast", to=kind)


def _float_tensors(proto: Any) -> set[str]:
    """Names of the float32 tensors, by type inference."""
    inferred = onnx.shape_inference.infer_shapes(proto).graph
    return {
        value.name
        for value in (*inferred.value_info, *inferred.output)
        if value.type.tensor_type.elem_type == TensorProto.FLOAT
    }
