"""Reads a detector's ONNX file and refuses, before anything runs, one that would be misunderstood.

Understood is what ultralytics' exporter writes for YOLOv8 and YOLO11 detection: one float32 RGB input
``[batch, 3, height, width]`` scaled to 0..1, one output ``[batch, 4 + classes, anchors]`` without built-in NMS, and the
class names in the metadata property ``names``.
"""

from __future__ import annotations

import ast
import hashlib
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from gistline.detection.layouts import Layout, recognise
from gistline.errors import ModelRejected
from gistline.settings import DetectionSettings

BUNDLED: Final = {"fp32": "pcb.onnx", "int8": "pcb.int8.onnx"}
UNDERSTOOD: Final = (
    "Understood: one float32 input [batch, 3, height, width], one output [batch, 4 + classes, anchors] and the class "
    "names in the metadata property 'names' (ultralytics: export(format='onnx', nms=False))."
)


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A detector's file, read and checked.

    ``input_size`` is ``(height, width)`` in pixels; ``quantised_convolutions`` of ``convolutions`` read weights stored
    in eight bits in a graph that also quantises activations: they are meant to run in INT8. ``layout`` says how its
    predictions are read. ``max_batch`` is the batch built into the file, None where it takes any. ``float16``: what is
    not quantised is typed FP16. ``content`` has one input and one output.
    """

    name: str
    sha256: str
    labels: tuple[str, ...]
    input_size: tuple[int, int]
    convolutions: int
    quantised_convolutions: int
    content: bytes = field(repr=False)
    layout: Layout
    max_batch: int | None = None
    float16: bool = False


def load_model(settings: DetectionSettings) -> ModelFile:
    """Read the file that the settings name, or the bundled one of the precision wished.

    Raises:
        ModelRejected: the file is missing, damaged, or of a layout that is not understood.

    """
    return read_model(Path(settings.model) if settings.model else bundled_path(settings.precision))


def bundled_path(precision: str) -> Path:
    """Path of the bundled circuit-board detector; ``precision`` is ``"fp32"`` or ``"int8"``.

    Raises:
        ModelRejected: no such precision is bundled, or the installation lacks its file.

    """
    if precision not in BUNDLED:
        raise ModelRejected(f"No detector is bundled in {precision!r}.", cure=f"Choose one of {sorted(BUNDLED)}.")
    path = Path(str(files("gistline.detection"))) / "weights" / BUNDLED[precision]
    if not path.is_file():
        raise ModelRejected(
            f"The bundled detector {path.name} is missing from the installation.",
            cure="Install Gistline again, or name a model (GISTLINE_DETECTION__MODEL).",
        )
    return path


def read_model(path: Path) -> ModelFile:
    """Read and check one ONNX file.

    Raises:
        ModelRejected: says what was seen in the file and what is understood.

    """
    return read_content(path.name, _read_bytes(path))


def read_content(name: str, content: bytes) -> ModelFile:
    """Check the bytes of an ONNX file; ``name`` is what it is called in messages and findings.

    Raises:
        ModelRejected: says what was seen in the file and what is understood.

    """
    model = _parse(name, content)
    labels = _labels(name, model)
    batch, input_size = _input(name, model)
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    return ModelFile(
        name=name,
        sha256=hashlib.sha256(content).hexdigest(),
        labels=labels,
        input_size=input_size,
        convolutions=len(convolutions),
        quantised_convolutions=_quantised(model, convolutions),
        content=content,
        layout=_layout(name, model, len(labels), input_size=input_size),
        max_batch=batch,
        float16=_is_float16(model),
    )


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelRejected(
            f"The model file {path} cannot be read: {error.strerror or error}.",
            cure="Check the path in GISTLINE_DETECTION__MODEL.",
        ) from error


def _parse(name: str, content: bytes) -> Any:
    try:
        model = onnx.load_model_from_string(content)
    except DecodeError as error:
        raise ModelRejected(f"{name} is no ONNX file ({len(content)} bytes).", cure=UNDERSTOOD) from error
    if not model.graph.node:
        raise ModelRejected(f"{name} holds no ONNX graph ({len(content)} bytes).", cure=UNDERSTOOD)
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise ModelRejected(f"{name} keeps its weights in other files.", cure="Save it as one file.")
    return model


def _labels(name: str, model: Any) -> tuple[str, ...]:
    """Class names in the order of the score rows; the property is a dict or list written as a Python literal."""
    written = {entry.key: entry.value for entry in model.metadata_props}.get("names", "")
    try:
        names = ast.literal_eval(written)
        ordered = [names[key] for key in sorted(names, key=int)] if isinstance(names, dict) else list(names)
        indices = sorted(int(key) for key in names) if isinstance(names, dict) else range(len(ordered))
    except (ValueError, SyntaxError, TypeError) as error:
        raise ModelRejected(f"{name} has names = {written[:80]!r}.", cure=UNDERSTOOD) from error
    if not ordered or list(indices) != list(range(len(ordered))) or not all(isinstance(n, str) and n for n in ordered):
        raise ModelRejected(f"{name} has names = {written[:80]!r}.", cure=UNDERSTOOD)
    return tuple(ordered)


def _input(name: str, model: Any) -> tuple[int | None, tuple[int, int]]:
    """The batch, None where it is dynamic, and height and width."""
    initialisers = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in initialisers]
    shapes = [_shape(value) for value in inputs]
    one = len(shapes) == 1 and len(shapes[0]) == 4 and inputs[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    if not one or shapes[0][1] != 3 or not all(isinstance(side, int) and side > 0 for side in shapes[0][2:]):
        seen = ", ".join(f"{value.name} {_kind(value)} {shape}" for value, shape in zip(inputs, shapes, strict=True))
        raise ModelRejected(f"{name} takes {seen or 'no input'}.", cure=UNDERSTOOD)
    batch = shapes[0][0]
    return batch if isinstance(batch, int) else None, (int(shapes[0][2]), int(shapes[0][3]))


def _layout(name: str, model: Any, classes: int, *, input_size: tuple[int, int]) -> Layout:
    outputs = list(model.graph.output)
    shapes = [_shape(value) for value in outputs]
    if len(shapes) != 1:
        seen = ", ".join(f"{value.name} {shape}" for value, shape in zip(outputs, shapes, strict=True))
        raise ModelRejected(f"{name} answers {seen or 'nothing'}.", cure=UNDERSTOOD)
    try:
        return recognise(shapes[0], classes, input_size=input_size)
    except ModelRejected as error:
        raise ModelRejected(f"{name}: {error.message}", cure=error.cure) from error


def _is_float16(model: Any) -> bool:
    """A weight, or the scale of one, is FP16."""
    half = {t.name for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT16}
    return any(
        name in half for node in model.graph.node if node.op_type in ("Conv", "DequantizeLinear") for name in node.input
    )


def _quantised(model: Any, convolutions: list[Any]) -> int:
    if not any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        return 0
    dequantised = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    return sum(node.input[1] in dequantised for node in convolutions)


def _shape(value: Any) -> list[int | str]:
    """Dimensions as written: numbers, or names ('?' where there is none) of the dynamic ones."""
    return [
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?" for dim in value.type.tensor_type.shape.dim
    ]


def _kind(value: Any) -> str:
    return str(onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type)).lower()
