"""Static post-training quantisation of a detector: FP32 ONNX in, ONNX with Q/DQ around its convolutions out.

Weights are int8, symmetric, one scale an output channel; activations have one scale a tensor, shared across a concat;
biases, activation functions and the decode arithmetic stay in float. The file runs in any runtime that understands
QuantizeLinear and DequantizeLinear.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from gistline.detection.model_file import ModelFile, read_model
from gistline.detection.placement import Placement, place
from gistline.detection.preprocess import letterbox
from gistline.detection.ranges import Affine, Method, Range, RangeTable, affine, choose_range
from gistline.errors import ModelRejected

_PREFIX: Final = "gistline."


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a table of histograms becomes an INT8 model.

    ``weight_steps`` is the largest weight, 127 or less. CPUs with AVX2 but without VNNI add two u8 x s8 products in 16
    bits: with weights up to 64 that sum cannot saturate, with 127 it can. ``symmetric`` takes int8 activations with
    zero point 0 (TensorRT's form) in place of uint8 ones with a zero point. ``keep_float`` names further convolutions,
    by output tensor, that stay in float.
    """

    method: Method = Method.MSE
    percentile: float = 99.99
    symmetric: bool = False
    weight_steps: int = 64
    keep_float: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class QuantisationResult:
    """What was written: the file, its digest, how many convolutions take eight bits, and the range of each tensor."""

    path: Path
    sha256: str
    recipe: Recipe
    images: int
    convolutions: int
    quantised_convolutions: int
    ranges: dict[str, Range]


def quantise(
    model: Path, images: Iterable[NDArray[np.uint8]], *, out: Path, recipe: Recipe | None = None
) -> QuantisationResult:
    """Calibrate on images and write the INT8 model.

    Args:
        model: FP32 ONNX detector.
        images: uint8 ``[h, w]`` or ``[h, w, 3]`` RGB of what the cameras show; 100 to 300, never those measured on.
        out: file to write.
        recipe: how ranges are chosen and what stays in float.

    Raises:
        ModelRejected: the file is no float detector, or there was no image.

    """
    return write_quantised(model, collect_ranges(model, images), out=out, recipe=recipe or Recipe())


def collect_ranges(model: Path, images: Iterable[NDArray[np.uint8]]) -> RangeTable:
    """Histograms of every tensor that may be quantised, from one float run over the images.

    Raises:
        ModelRejected: the file is no float detector, or there was no image.

    """
    # Loaded here: writing from a table that was saved needs no runtime.
    from gistline.detection.openvino_engine import probe

    checked = _float_model(model)
    names = place(onnx.load_model_from_string(checked.content).graph).tensors
    table = RangeTable()
    boxed = (letterbox(image, checked.input_size)[0] for image in images)
    for tensors in probe(checked, names, boxed):
        table.add(tensors)
    if not table.images:
        raise ModelRejected(
            f"{model.name} cannot be quantised without calibration images.", cure="Give 100 to 300 of your frames."
        )
    return table


def write_quantised(model: Path, table: RangeTable, *, out: Path, recipe: Recipe) -> QuantisationResult:
    """Write the INT8 model that a recipe makes of a range table.

    Raises:
        ModelRejected: the file is no float detector, or the table was not taken from it.

    """
    checked = _float_model(model)
    proto = onnx.load_model_from_string(checked.content)
    placement = place(proto.graph, keep_float=recipe.keep_float)
    missing = set(placement.tensors) - table.histograms.keys()
    if missing:
        raise ModelRejected(
            f"The range table lacks {len(missing)} tensors of {model.name}, first {min(missing)!r}.",
            cure="Calibrate this very file.",
        )
    ranges = _ranges(proto.graph, placement, table, recipe=recipe)
    _Writer(proto.graph, recipe).write(placement, ranges)
    _note(proto, checked, table, recipe=recipe)
    content = _serialised(proto)
    out.write_bytes(content)
    return QuantisationResult(
        path=out,
        sha256=hashlib.sha256(content).hexdigest(),
        recipe=recipe,
        images=table.images,
        convolutions=checked.convolutions,
        quantised_convolutions=len(placement.convolutions),
        ranges=ranges,
    )


def _float_model(path: Path) -> ModelFile:
    checked = read_model(path)
    if checked.quantised_convolutions:
        raise ModelRejected(
            f"{checked.name} is quantised already ({checked.quantised_convolutions} convolutions).",
            cure="Quantise the FP32 model.",
        )
    return checked


def _ranges(graph: Any, placement: Placement, table: RangeTable, *, recipe: Recipe) -> dict[str, Range]:
    """The range of each tensor. Pixels are known beforehand to lie in 0..1 in 255 steps, which uint8 meets exactly."""
    pixels = {value.name for value in graph.input}
    ranges: dict[str, Range] = {}
    for group in placement.groups:
        covered = choose_range(
            table.joint(group), recipe.method, percentile=recipe.percentile, symmetric=recipe.symmetric
        )
        ranges.update(dict.fromkeys(group, Range(0.0, 1.0) if pixels.issuperset(group) else covered))
    return ranges


def _note(proto: Any, source: ModelFile, table: RangeTable, *, recipe: Recipe) -> None:
    """Write into the file where it came from; its other metadata (names, stride, imgsz) stays."""
    facts = {
        "source_sha256": source.sha256,
        "method": recipe.method.value,
        "percentile": str(recipe.percentile) if recipe.method is Method.PERCENTILE else "",
        "calibration_images": str(table.images),
        "activations": "int8 symmetric" if recipe.symmetric else "uint8",
        "weight_steps": str(recipe.weight_steps),
    }
    for key, value in facts.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = _PREFIX + key, value


def _serialised(proto: Any) -> bytes:
    onnx.checker.check_model(proto)
    return bytes(proto.SerializeToString(deterministic=True))


class _Writer:
    """Inserts Q/DQ into a graph in place."""

    def __init__(self, graph: Any, recipe: Recipe) -> None:
        self._graph = graph
        self._recipe = recipe
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._weights: dict[str, str] = {}

    def write(self, placement: Placement, ranges: dict[str, Range]) -> None:
        """Quantise the placement's tensors and weights; nodes stay in topological order."""
        convolutions = set(placement.convolutions)
        replaced = {name: f"{name}.dequantised" for name in placement.tensors}
        nodes: list[Any] = []
        for value in self._graph.input:
            nodes.extend(self._activation(value.name, ranges))
        for node in self._graph.node:
            for index, name in enumerate(node.input):
                if name in replaced:
                    node.input[index] = replaced[name]
            if node.output[0] in convolutions:
                nodes.extend(self._weight(node))
            nodes.append(node)
            for name in node.output:
                nodes.extend(self._activation(name, ranges))
        del self._graph.node[:]
        self._graph.node.extend(nodes)
        self._drop_unused()

    def _activation(self, name: str, ranges: dict[str, Range]) -> list[Any]:
        if name not in ranges:
            return []
        symmetric = self._recipe.symmetric
        how = affine(ranges[name], signed=symmetric, symmetric=symmetric)
        scale, zero = self._scalars(name, how)
        quantised, back = f"{name}.quantised", f"{name}.dequantised"
        return [
            helper.make_node("QuantizeLinear", [name, scale, zero], [quantised], name=quantised),
            helper.make_node("DequantizeLinear", [quantised, scale, zero], [back], name=back),
        ]

    def _scalars(self, name: str, how: Affine) -> tuple[str, str]:
        kind = np.int8 if how.signed else np.uint8
        scale = self._constant(f"{name}.scale", np.array(how.scale, np.float32))
        return scale, self._constant(f"{name}.zero_point", np.array(how.zero_point, kind))

    def _weight(self, node: Any) -> list[Any]:
        """Store a convolution's weights as int8 and let it read them through a DequantizeLinear."""
        name = node.input[1]
        if name not in self._constants:
            raise ModelRejected(
                f"Convolution {node.output[0]!r} computes its weights at run time.",
                cure="Export the model with folded constants.",
            )
        back = f"{name}.dequantised"
        node.input[1] = back
        if name in self._weights:
            return []
        self._weights[name] = back
        weights = numpy_helper.to_array(self._constants[name])
        quantised, scales = quantise_weights(weights, self._recipe.weight_steps)
        inputs = [
            self._constant(f"{name}.int8", quantised),
            self._constant(f"{name}.scale", scales),
            self._constant(f"{name}.zero_point", np.zeros(scales.size, np.int8)),
        ]
        return [helper.make_node("DequantizeLinear", inputs, [back], name=back, axis=0)]

    def _constant(self, name: str, values: NDArray[Any]) -> str:
        self._graph.initializer.append(numpy_helper.from_array(values, name))
        return name

    def _drop_unused(self) -> None:
        """The float weights are read no more."""
        used = {name for node in self._graph.node for name in node.input}
        kept = [tensor for tensor in self._graph.initializer if tensor.name in used]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)


def quantise_weights(weights: NDArray[np.float32], steps: int = 127) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Symmetric int8 weights and one scale an output channel (axis 0).

    ``weights ~ int8 * scale``; the largest of a channel becomes ``steps``. A channel of zeros gets a scale above 0.
    """
    largest = np.abs(weights).reshape(weights.shape[0], -1).max(axis=1)
    scales = np.maximum(largest / steps, 2.0**-24).astype(np.float32)
    spread = scales.reshape(-1, *[1] * (weights.ndim - 1))
    return np.clip(np.rint(weights / spread), -steps, steps).astype(np.int8), scales
