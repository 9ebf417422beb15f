"""Reads a detector's ONNX file and refuses, before anything runs, one that would be misunderstood.

:func:`read_model` takes a file that says everything itself. :func:`adopt` takes any of the usual exports with what its
owner says of it, and writes that into the file, so that from then on it says everything itself.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Final

from gistline.detection import onnx_facts
from gistline.detection.labels_file import read_labels
from gistline.detection.layouts import Layout
from gistline.detection.rewriting import rewrite
from gistline.detection.understanding import Understood, Wishes, understand
from gistline.errors import ModelRejected
from gistline.settings import DetectionSettings

BUNDLED: Final = {"fp32": "pcb.onnx", "int8": "pcb.int8.onnx"}


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


@dataclass(frozen=True, slots=True)
class Adopted:
    """A model taken in, and what was changed in its file, one sentence each."""

    model: ModelFile
    changes: tuple[str, ...] = ()


def load_model(settings: DetectionSettings) -> ModelFile:
    """Read the file that the settings name, or the bundled one of the precision wished.

    Raises:
        ModelRejected: the file is missing, damaged, or of a layout that is not understood.

    """
    if settings.model:
        path = Path(settings.model)
        wishes = Wishes(labels=read_labels(Path(settings.labels)) if settings.labels else None)
        return adopt(path.name, read_bytes(path), wishes).model
    if settings.labels:
        raise ModelRejected(
            "detection.labels is set and detection.model is not; the bundled detector names its classes itself.",
            cure="Name the model that the labels belong to, or leave them out.",
        )
    return read_model(bundled_path(settings.precision))


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
    """Read and check one ONNX file that says everything itself.

    Raises:
        ModelRejected: says what was seen in the file and what is understood.

    """
    return read_content(path.name, read_bytes(path))


def read_content(name: str, content: bytes) -> ModelFile:
    """Check the bytes of an ONNX file that says everything itself; ``name`` is what it is called in messages.

    Raises:
        ModelRejected: says what was seen in the file and what is understood.

    """
    model = onnx_facts.parse(name, content)
    understood = understand(name, model, Wishes())
    if understood.dropped or understood.seen.transposed:
        what = "outputs beside the boxes" if understood.dropped else "an output whose axes are exchanged"
        raise ModelRejected(f"{name} has {what}.", cure="'gistline model add' takes it and mends that.")
    convolutions = sum(node.op_type == "Conv" for node in model.graph.node)
    return ModelFile(
        name=name,
        sha256=hashlib.sha256(content).hexdigest(),
        labels=understood.labels,
        input_size=understood.size,
        convolutions=convolutions,
        quantised_convolutions=onnx_facts.quantised_convolutions(model),
        content=content,
        layout=understood.seen.layout,
        max_batch=understood.batch,
        float16=onnx_facts.is_float16(model),
    )


def adopt(name: str, content: bytes, wishes: Wishes) -> Adopted:
    """Take an export with what its owner says of it.

    Where the file alone does not tell it all (labels, layout, size), the answer is written into its metadata; outputs
    of no use are cut off and an output with exchanged axes is turned. A file that needs none of it keeps its bytes.

    Raises:
        ModelRejected: says what was seen in the file and what is understood.
        EngineUnavailable: the shapes had to be inferred, and no runtime can be loaded.

    """
    model = onnx_facts.parse(name, content)
    understood = understand(name, model, wishes, lambda shape: _inferred_shapes(content, shape))
    as_it_is = _alone(name, content)
    if as_it_is is not None and _says(as_it_is, understood):
        return Adopted(as_it_is)
    return Adopted(read_content(name, rewrite(model, understood)), _changes(understood))


def _alone(name: str, content: bytes) -> ModelFile | None:
    """The file as it speaks for itself; None when it does not."""
    try:
        return read_content(name, content)
    except ModelRejected:
        return None


def _changes(understood: Understood) -> tuple[str, ...]:
    changes = ["its class names, layout and size were written into its metadata"]
    if understood.dropped:
        changes.append(f"{understood.output} is read; cut off: {', '.join(understood.dropped)}")
    if understood.seen.transposed:
        changes.append(f"the axes of {understood.output} were exchanged")
    return tuple(changes)


def _says(model: ModelFile, understood: Understood) -> bool:
    wanted = understood.labels, understood.size, understood.seen.layout.kind
    return wanted == (model.labels, model.input_size, model.layout.kind)


def _inferred_shapes(content: bytes, shape: tuple[int, ...]) -> dict[str, tuple[int | str, ...]]:
    # Loaded only for files that leave their shapes open.
    from gistline.detection.openvino_engine import output_shapes

    return output_shapes(content, shape)


def read_bytes(path: Path) -> bytes:
    """A model file's bytes.

    Raises:
        ModelRejected: it cannot be read.

    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelRejected(
            f"The model file {path} cannot be read: {error.strerror or error}.",
            cure="Check the path in GISTLINE_DETECTION__MODEL.",
        ) from error
