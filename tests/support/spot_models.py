"""The detector of coloured cells in every layout that is understood, and with every trait that exports differ in.

As in ``onnx_models.spot_detector``, each square cell of the input is one prediction whose box is the square itself, and
the score of class *c* is the mean of colour channel *c* there; with objectness that is half of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from gistline.detection.layouts import LayoutKind
from tests.support.onnx_models import COLOURS, Graph

OBJECTNESS = 0.5


@dataclass(frozen=True)
class Form:
    """How the file is written. ``batch`` is a number or a dynamic axis' name; ``sides`` names dynamic sides.

    ``written`` takes the place of the output's shape, ``heads`` adds outputs that are not decoded, ``logits`` leaves
    the sigmoid out, ``shares`` writes boxes in shares of the image.
    """

    kind: LayoutKind
    size: tuple[int, int] = (128, 128)
    cell: int = 32
    batch: int | str = "batch"
    half: bool = False
    labels: Sequence[str] | None = COLOURS
    metadata: Mapping[str, str] = field(default_factory=dict)
    sides: tuple[str, str] | None = None
    transposed: bool = False
    written: Sequence[int | str] | None = None
    heads: int = 0
    logits: bool = False
    shares: bool = False

    @property
    def cells(self) -> tuple[int, int]:
        return self.size[0] // self.cell, self.size[1] // self.cell

    @property
    def number(self) -> int:
        return self.cells[0] * self.cells[1]

    @property
    def dtype(self) -> np.dtype[np.generic]:
        return np.dtype(np.float16 if self.half else np.float32)

    def shape(self) -> list[int | str]:
        axes = {
            LayoutKind.ANCHOR_FREE: [7, self.number],
            LayoutKind.OBJECTNESS: [self.number, 8],
            LayoutKind.END_TO_END: [self.number, 6],
        }[self.kind]
        return [self.batch, *(reversed(axes) if self.transposed else axes)]


def spots(path: Path, form: Form) -> Path:
    """Write the model."""
    graph = _Spots(form)
    answer = {
        LayoutKind.ANCHOR_FREE: graph.anchor_free,
        LayoutKind.OBJECTNESS: graph.objectness,
        LayoutKind.END_TO_END: graph.end_to_end,
    }[form.kind]()
    if form.transposed:
        answer = graph.op("Transpose", answer, perm=[0, 2, 1])
    return _save(graph, answer, form, path)


class _Spots(Graph):
    def __init__(self, form: Form) -> None:
        super().__init__()
        self.form = form

    def floats(self, values: NDArray[np.generic]) -> str:
        return self.constant(values.astype(self.form.dtype))

    def scores(self) -> str:
        """``[batch, 3, cells]``."""
        form, cell = self.form, self.form.cell
        weights = np.zeros((3, 3, cell, cell))
        for channel in range(3):
            weights[channel, channel] = 1 / (cell * cell)
        means = self.op("Conv", "images", self.floats(weights), kernel_shape=[cell, cell], strides=[cell, cell])
        # An exporter with a fixed batch bakes it into its reshapes; one with a dynamic batch does not.
        batch = form.batch if isinstance(form.batch, int) else 0
        flat = self.op("Reshape", means, self.ints(batch, 3, form.number))
        if not form.logits:
            return flat
        return self.op("Sub", self.op("Mul", flat, self.floats(np.array([20.0]))), self.floats(np.array([10.0])))

    def boxes(self, scores: str, *, corners: bool) -> str:
        """``[batch, 4, cells]``; added to the scores' zero so that they have their batch."""
        form, cell = self.form, self.form.cell
        y, x = np.mgrid[0 : form.cells[0], 0 : form.cells[1]].reshape(2, -1) * cell
        values = [x, y, x + cell, y + cell] if corners else [x + cell / 2, y + cell / 2, 0 * x + cell, 0 * x + cell]
        sides = np.array([form.size[1], form.size[0]] * 2)[:, None] if form.shares else 1
        first = self.op("Slice", scores, self.ints(0), self.ints(1), self.ints(1))
        zero = self.op("Mul", first, self.floats(np.zeros(1)))
        return self.op("Add", zero, self.floats((np.stack(values) / sides)[None]))

    def anchor_free(self) -> str:
        scores = self.scores()
        return self.op("Concat", self.boxes(scores, corners=False), scores, axis=1)

    def objectness(self) -> str:
        scores = self.scores()
        boxes = self.boxes(scores, corners=False)
        half = self.op(
            "Add", self.op("Mul", self._first(boxes), self.floats(np.zeros(1))), self.floats(np.array([0.5]))
        )
        return self.op("Transpose", self.op("Concat", boxes, half, scores, axis=1), perm=[0, 2, 1])

    def end_to_end(self) -> str:
        """Strongest first, as such networks answer."""
        scores = self.scores()
        best = self.op("ReduceMax", scores, axes=[1], keepdims=1)
        kind = TensorProto.FLOAT16 if self.form.half else TensorProto.FLOAT
        classes = self.op("Cast", self.op("ArgMax", scores, axis=1, keepdims=1), to=kind)
        joined = self.op("Concat", self.boxes(scores, corners=True), best, classes, axis=1)
        rows = self.op("Transpose", joined, perm=[0, 2, 1])
        flat = self.op("Squeeze", best, self.ints(1))
        _, order = self.ops("TopK", flat, self.ints(self.form.number), outputs=2, axis=1)
        index = self.op("Expand", self.op("Unsqueeze", order, self.ints(2)), self.ints(1, 1, 6))
        return self.op("GatherElements", rows, index, axis=1)

    def _first(self, boxes: str) -> str:
        return self.op("Slice", boxes, self.ints(0), self.ints(1), self.ints(1))


def _save(graph: _Spots, answer: str, form: Form, path: Path) -> Path:
    kind = TensorProto.FLOAT16 if form.half else TensorProto.FLOAT
    sides = form.sides or form.size
    images = helper.make_tensor_value_info("images", kind, [form.batch, 3, *sides])
    graph.nodes.append(helper.make_node("Identity", [answer], ["output0"], name="output0"))
    results = [helper.make_tensor_value_info("output0", kind, form.written or form.shape())]
    for number in range(form.heads):
        name = f"head{number}"
        source = graph.op("Unsqueeze", graph.op("Unsqueeze", "output0", graph.ints(1)), graph.ints(1))
        graph.nodes.append(helper.make_node("Identity", [source], [name], name=name))
        results.append(helper.make_tensor_value_info(name, kind, [form.batch, 1, 1, *form.shape()[1:]]))
    built = helper.make_graph(graph.nodes, "detector", [images], results, graph.initialisers)
    model = helper.make_model(built, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    properties = dict(form.metadata)
    if form.labels is not None:
        properties["names"] = repr(dict(enumerate(form.labels)))
    helper.set_model_props(model, properties)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path
