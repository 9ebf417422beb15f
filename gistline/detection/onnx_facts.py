"""What an ONNX file says of itself: tensors at its ends, metadata, weights."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from gistline.detection.layouts import Shape
from gistline.errors import ModelRejected

_LONGEST_AXIS: Final = 20
NOT_ONNX: Final = "Understood: one ONNX file with its weights inside (ultralytics: export(format='onnx'))."


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output: its name, element type in lower case, and its shape as written."""

    name: str
    kind: str
    shape: Shape

    def __str__(self) -> str:
        return f"{self.name} {self.kind} [{', '.join(map(str, self.shape))}]"


def parse(name: str, content: bytes) -> Any:
    """The model in an ONNX file's bytes; ``name`` is for messages.

    Raises:
        ModelRejected: it is no ONNX file, holds no graph, or keeps its weights elsewhere.

    """
    try:
        model = onnx.load_model_from_string(content)
    except DecodeError as error:
        raise ModelRejected(f"{name} is no ONNX file ({len(content)} bytes).", cure=NOT_ONNX) from error
    if not model.graph.node:
        raise ModelRejected(f"{name} holds no ONNX graph ({len(content)} bytes).", cure=NOT_ONNX)
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise ModelRejected(f"{name} keeps its weights in other files.", cure="Save it as one file.")
    return model


def metadata(model: Any) -> dict[str, str]:
    """The file's properties."""
    return {entry.key: entry.value for entry in model.metadata_props}


def inputs(model: Any) -> list[Tensor]:
    """What the graph takes, weights left out."""
    initialisers = {tensor.name for tensor in model.graph.initializer}
    return [_tensor(value) for value in model.graph.input if value.name not in initialisers]


def outputs(model: Any) -> list[Tensor]:
    """What the graph answers."""
    return [_tensor(value) for value in model.graph.output]


def named_classes(facts: Mapping[str, str]) -> tuple[str, ...] | None:
    """Class names in the property ``names``, a dict or list written as a Python literal; None where there is none.

    Raises:
        ValueError: the property is there and cannot be read.

    """
    written = facts.get("names", "")
    if not written:
        return None
    try:
        return ordered_names(ast.literal_eval(written))
    except (ValueError, SyntaxError, TypeError) as error:
        raise ValueError(f"names = {written[:80]!r}") from error


def ordered_names(names: Any) -> tuple[str, ...]:
    """Class names by index, from a list or from a dict whose keys are 0, 1, 2 and so on.

    Raises:
        ValueError: another form, an empty or doubled name, or an index that is missing.
        TypeError: a key is no number.

    """
    if isinstance(names, dict):
        by_index = {int(key): name for key, name in names.items()}
        if sorted(by_index) != list(range(len(names))):
            raise ValueError(f"the indices are {sorted(by_index)} instead of 0..{len(names) - 1}")
        names = [by_index[index] for index in range(len(names))]
    if not isinstance(names, list | tuple) or not names:
        raise ValueError("there are no class names")
    strange = [name for name in names if not isinstance(name, str) or not name.strip()]
    if strange:
        raise ValueError(f"{strange[0]!r} is no class name")
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise ValueError(f"the name {doubled[0]!r} stands there {names.count(doubled[0])} times")
    return tuple(names)


def image_size(facts: Mapping[str, str]) -> tuple[int, int] | None:
    """``(height, width)`` of the property ``imgsz``, written ``[480, 640]`` or ``640``; None where it says nothing."""
    try:
        sides = ast.literal_eval(facts.get("imgsz", ""))
    except (ValueError, SyntaxError):
        return None
    sides = [sides, sides] if isinstance(sides, int) else sides
    if not isinstance(sides, list | tuple) or len(sides) != 2:
        return None
    if not all(isinstance(side, int) and side > 0 for side in sides):
        return None
    return sides[0], sides[1]


def quantised_convolutions(model: Any) -> int:
    """Convolutions whose weights are stored in eight bits, in a graph that quantises activations too."""
    nodes = model.graph.node
    if not any(node.op_type == "QuantizeLinear" for node in nodes):
        return 0
    dequantised = {node.output[0] for node in nodes if node.op_type == "DequantizeLinear"}
    return sum(node.input[1] in dequantised for node in nodes if node.op_type == "Conv")


def is_float16(model: Any) -> bool:
    """A convolution's weights, or the scale of a quantised tensor, are FP16."""
    half = {tensor.name for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT16}
    readers = (node for node in model.graph.node if node.op_type in ("Conv", "DequantizeLinear"))
    return any(name in half for node in readers for name in node.input)


def _tensor(value: Any) -> Tensor:
    kind = value.type.tensor_type
    dims = kind.shape.dim
    shape = [dim.dim_value if dim.HasField("dim_value") else _dynamic(dim.dim_param) for dim in dims]
    return Tensor(value.name, str(onnx.TensorProto.DataType.Name(kind.elem_type)).lower(), tuple(shape))


def _dynamic(name: str) -> str:
    """A dynamic axis' name; exporters also write whole formulas there, which nobody wants in a message."""
    return name if 0 < len(name) <= _LONGEST_AXIS else "?"
