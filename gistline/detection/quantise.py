"""Static post-training quantisation of a detector: FP32 ONNX in, ONNX with explicit Q/DQ around its convolutions out.

Weights are int8, symmetric, one scale an output channel; activations have one scale a tensor, shared across a concat;
biases, activation functions and the decode arithmetic stay in float. One table of ranges serves both targets: the
runtimes want other zero points and Q/DQ in other places, but the same ranges.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from gistline.detection.calibration import CalibrationCheck
from gistline.detection.half import raised, to_half
from gistline.detection.model_file import ModelFile, read_model
from gistline.detection.placement import Head, Placement, Spare, Style, place
from gistline.detection.preprocess import letterbox
from gistline.detection.qdq import Form, insert
from gistline.detection.ranges import Method, Range, RangeTable, choose_range
from gistline.errors import ModelRejected

_PREFIX: Final = "gistline."


class Target(StrEnum):
    """The runtime that the file is written for."""

    OPENVINO = "openvino"
    TENSORRT = "tensorrt"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a table of histograms becomes an INT8 model.

    ``weight_steps`` is the largest weight, 127 or less. CPUs with AVX2 but without VNNI add two u8 x s8 products in 16
    bits: with weights up to 64 that sum cannot saturate, with 127 it can. ``symmetric`` takes int8 activations with
    zero point 0 in place of uint8 ones with a zero point. TensorRT's target is always symmetric with 127 steps.
    ``clamp`` saturates every activation there, which makes a ReLU a ReLU6 when it is 6. ``half`` types what is not
    quantised in float16, up to the decode arithmetic. ``spare`` says which convolutions stay in float.
    """

    method: Method = Method.MSE
    percentile: float = 99.99
    target: Target = Target.OPENVINO
    symmetric: bool = False
    weight_steps: int = 64
    per_channel: bool = True
    clamp: float | None = None
    half: bool = False
    spare: Spare = field(default_factory=Spare)

    @property
    def form(self) -> Form:
        """How the eight bits are written."""
        if self.target is Target.TENSORRT:
            return Form(symmetric=True, weight_steps=127, per_channel=self.per_channel, half=self.half)
        return Form(self.symmetric, self.weight_steps, self.per_channel, self.half)

    @property
    def style(self) -> Style:
        """Where Q/DQ stands."""
        return Style.INPUTS if self.target is Target.TENSORRT else Style.PRODUCERS


@dataclass(frozen=True, slots=True)
class QuantisationResult:
    """What was written.

    The file, its digest, how many convolutions take eight bits, the range of each tensor, and why the other
    convolutions (by output tensor) stay in float.
    """

    path: Path
    sha256: str
    recipe: Recipe
    images: int
    convolutions: int
    quantised_convolutions: int
    ranges: dict[str, Range]
    kept: dict[str, str] = field(default_factory=dict)


def quantise(
    model: Path, images: Iterable[NDArray[np.uint8]], *, out: Path, recipe: Recipe | None = None
) -> QuantisationResult:
    """Calibrate on images and write the INT8 model.

    Args:
        model: FP32 ONNX detector.
        images: uint8 ``[h, w]`` or ``[h, w, 3]`` RGB of what the cameras show; 100 to 500, never those measured on.
        out: file to write.
        recipe: how ranges are chosen and what stays in float.

    Raises:
        ModelRejected: the file is no float detector, or there was no image.

    """
    return write_quantised(model, collect_ranges(model, images), out=out, recipe=recipe or Recipe())


def collect_ranges(
    model: Path, images: Iterable[NDArray[np.uint8]], *, look: CalibrationCheck | None = None
) -> RangeTable:
    """Histograms of every tensor that any recipe may quantise, from one float run over the images.

    Args:
        model: FP32 ONNX detector.
        images: as in :func:`quantise`; drawn one by one.
        look: is shown every image.

    Raises:
        ModelRejected: the file is no float detector, or there was no image.

    """
    # Loaded here: writing from a table that was saved needs no runtime.
    from gistline.detection.openvino_engine import probe

    checked = float_model(model)
    everything = place(onnx.load_model_from_string(checked.content).graph, Spare(Head.NONE), style=Style.INPUTS)
    table, check = RangeTable(), look or CalibrationCheck()

    def boxed() -> Iterator[NDArray[np.uint8]]:
        for image in images:
            check.see(image)
            yield letterbox(image, checked.input_size)[0]

    for tensors in probe(checked, everything.tensors, boxed()):
        table.add(tensors)
    table.digest = check.digest if table.images else ""
    if not table.images:
        raise ModelRejected(
            f"{model.name} cannot be quantised without calibration images.", cure="Give 100 to 500 of your frames."
        )
    return table


def write_quantised(model: Path, table: RangeTable, *, out: Path, recipe: Recipe) -> QuantisationResult:
    """Write the INT8 model that a recipe makes of a range table.

    Raises:
        ModelRejected: the file is no float detector, the table was not taken from it, a pattern names no convolution,
            or float16 was asked for and does not hold a weight.

    """
    checked = float_model(model)
    proto = onnx.load_model_from_string(checked.content)
    if recipe.half:
        proto = raised(proto, checked.name)
    placement = place(proto.graph, recipe.spare, style=recipe.style)
    missing = set(placement.tensors) - table.histograms.keys()
    if missing:
        raise ModelRejected(
            f"The range table lacks {len(missing)} tensors of {model.name}, first {min(missing)!r}.",
            cure="Calibrate this very file.",
        )
    ranges = _ranges(proto.graph, placement, table, recipe=recipe)
    insert(proto.graph, placement, ranges, recipe.form)
    if recipe.half:
        to_half(proto, checked.name)
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
        kept=placement.kept,
    )


def float_model(path: Path) -> ModelFile:
    """Read a detector that is not quantised.

    Raises:
        ModelRejected: it is no detector that is understood, quantised already, or in float16.

    """
    checked = read_model(path)
    graph = onnx.load_model_from_string(checked.content).graph
    if checked.quantised_convolutions or any(node.op_type == "QuantizeLinear" for node in graph.node):
        raise ModelRejected(
            f"{checked.name} is quantised already ({checked.quantised_convolutions} of {checked.convolutions} "
            "convolutions): rounding its scales again would undo what they were trained or calibrated for.",
            cure="Quantise the FP32 model; a quantised one is used as it is.",
        )
    if any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in graph.initializer):
        raise ModelRejected(
            f"{checked.name} is in float16; ranges are measured and weights rounded from float32.",
            cure="Export the model in float32 (ultralytics: without half=True).",
        )
    return checked


def _ranges(graph: Any, placement: Placement, table: RangeTable, *, recipe: Recipe) -> dict[str, Range]:
    """The range of each tensor. Pixels are known beforehand to lie in 0..1 in 255 steps, which uint8 meets exactly."""
    pixels = {value.name for value in graph.input}
    ranges: dict[str, Range] = {}
    for group in placement.groups:
        covered = choose_range(
            table.joint(group), recipe.method, percentile=recipe.percentile, symmetric=recipe.form.symmetric
        )
        if recipe.clamp is not None:
            covered = Range(max(covered.low, -recipe.clamp), min(covered.high, recipe.clamp))
        ranges.update(dict.fromkeys(group, Range(0.0, 1.0) if pixels.issuperset(group) else covered))
    return ranges


def _note(proto: Any, source: ModelFile, table: RangeTable, *, recipe: Recipe) -> None:
    """Write into the file where it came from; its other metadata (names, stride, imgsz) stays."""
    facts = {
        "source_sha256": source.sha256,
        "method": recipe.method.value,
        "percentile": str(recipe.percentile) if recipe.method is Method.PERCENTILE else "",
        "calibration_images": str(table.images),
        "calibration_sha256": table.digest,
        "calibration_looks": table.looks,
        "target": recipe.target.value,
        "activations": "int8 symmetric" if recipe.form.symmetric else "uint8",
        "weights": "per channel" if recipe.per_channel else "per tensor",
        "weight_steps": str(recipe.form.weight_steps),
        "clamp": "" if recipe.clamp is None else f"{recipe.clamp:g}",
    }
    for key, value in facts.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = _PREFIX + key, value


def _serialised(proto: Any) -> bytes:
    onnx.checker.check_model(proto)
    return bytes(proto.SerializeToString(deterministic=True))
