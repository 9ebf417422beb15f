"""Detectors small enough to reason about, built with ``onnx`` so that no test needs trained weights.

``spot_detector`` answers what its input shows and can be checked by hand; ``yolo`` has the shape of a YOLOv8 with
random weights, for everything that concerns structure (quantisation, speed) rather than meaning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

COLOURS = ("red", "green", "blue")


class Graph:
    """Collects nodes and initialisers; every method returns the name of the tensor it made."""

    def __init__(self, seed: int = 0) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initialisers: list[onnx.TensorProto] = []
        self.random = np.random.default_rng(seed)
        self._count = 0

    def constant(self, values: NDArray[np.generic]) -> str:
        name = self._name("const")
        self.initialisers.append(numpy_helper.from_array(values, name))
        return name

    def ints(self, *values: int) -> str:
        return self.constant(np.array(values, dtype=np.int64))

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        return self.ops(kind, *inputs, outputs=outputs, **attributes)[0]

    def ops(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> list[str]:
        names = [self._name(kind.lower()) for _ in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=names[0], **attributes))
        return names

    def conv(
        self, source: str, channels: tuple[int, int], *, kernel: int = 1, stride: int = 1, act: str = "silu"
    ) -> str:
        """Convolution of ``channels`` (in, out) with random weights and, unless ``act`` is "none", its activation."""
        channels_in, channels_out = channels
        spread = np.sqrt(2.0 / (channels_in * kernel * kernel))
        weights = self.random.normal(0, spread, (channels_out, channels_in, kernel, kernel)).astype(np.float32)
        bias = self.random.normal(0, 0.1, channels_out).astype(np.float32)
        pad = kernel // 2
        made = self.op(
            "Conv",
            source,
            self.constant(weights),
            self.constant(bias),
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[pad] * 4,
        )
        if act == "silu":
            return self.op("Mul", made, self.op("Sigmoid", made))
        return self.op("Relu", made) if act == "relu" else made

    def _name(self, stem: str) -> str:
        self._count += 1
        return f"{stem}_{self._count}"


def save(
    graph: Graph,
    output: str,
    *,
    path: Path,
    labels: Sequence[str],
    input_size: tuple[int, int],
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write the model with dynamic batch and the metadata that ultralytics' exporter writes."""
    height, width = input_size
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, height, width])
    graph.nodes.append(helper.make_node("Identity", [output], ["output0"], name="output0"))
    result = helper.make_tensor_value_info("output0", TensorProto.FLOAT, ["batch", 4 + len(labels), "anchors"])
    built = helper.make_graph(graph.nodes, "detector", [images], [result], graph.initialisers)
    model = helper.make_model(built, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    names = dict(enumerate(labels))
    properties = {"names": repr(names), "stride": "32", "imgsz": repr([height, width])}
    properties.update(metadata or {})
    helper.set_model_props(model, properties)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


def spot_detector(
    path: Path,
    *,
    input_size: tuple[int, int] = (128, 128),
    cell: int = 32,
    scale: float = 1.0,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """A detector of red, green and blue cells.

    Each ``cell`` x ``cell`` square of the input is one anchor whose box is the square itself; the score of class *c*
    is ``scale`` x the mean of colour channel *c* there, in [0, 1].
    """
    rows, columns = input_size[0] // cell, input_size[1] // cell
    graph = Graph()
    weights = np.zeros((3, 3, cell, cell), np.float32)
    for channel in range(3):
        weights[channel, channel] = scale / (cell * cell)
    means = graph.op("Conv", "images", graph.constant(weights), kernel_shape=[cell, cell], strides=[cell, cell])
    scores = graph.op("Reshape", means, graph.ints(0, 3, rows * columns))
    y, x = np.mgrid[0:rows, 0:columns].reshape(2, -1)
    boxes = np.stack([(x + 0.5) * cell, (y + 0.5) * cell, np.full(x.size, cell), np.full(x.size, cell)])
    nothing = graph.op("Mul", graph.op("Slice", scores, graph.ints(0), graph.ints(1), graph.ints(1)), _zero(graph))
    placed = graph.op("Add", nothing, graph.constant(boxes[None].astype(np.float32)))
    joined = graph.op("Concat", placed, scores, axis=1)
    return save(graph, joined, path=path, labels=COLOURS, input_size=input_size, metadata=metadata)


def _zero(graph: Graph) -> str:
    return graph.constant(np.zeros(1, np.float32))


class _Yolo(Graph):
    """The blocks of YOLOv8: C2f, SPPF and the decoupled head."""

    act = "silu"

    def block(self, source: str, channels: tuple[int, int], *, kernel: int = 1, stride: int = 1) -> str:
        return self.conv(source, channels, kernel=kernel, stride=stride, act=self.act)

    def c2f(self, source: str, channels: tuple[int, int], *, depth: int, shortcut: bool) -> str:
        half = channels[1] // 2
        first = self.block(source, channels)
        parts = self.ops("Split", first, self.ints(half, half), outputs=2, axis=1)
        for _ in range(depth):
            inner = self.block(self.block(parts[-1], (half, half), kernel=3), (half, half), kernel=3)
            parts.append(self.op("Add", parts[-1], inner) if shortcut else inner)
        return self.block(self.op("Concat", *parts, axis=1), ((2 + depth) * half, channels[1]))

    def down(self, source: str, channels: tuple[int, int]) -> str:
        return self.block(source, channels, kernel=3, stride=2)

    def merge(self, first: str, second: str, channels: tuple[int, int]) -> str:
        return self.c2f(self.op("Concat", first, second, axis=1), channels, depth=1, shortcut=False)

    def sppf(self, source: str, channels: int) -> str:
        parts = [self.block(source, (channels, channels // 2))]
        for _ in range(3):
            parts.append(self.op("MaxPool", parts[-1], kernel_shape=[5, 5], strides=[1, 1], pads=[2, 2, 2, 2]))
        return self.block(self.op("Concat", *parts, axis=1), (channels * 2, channels))

    def upsample(self, source: str) -> str:
        scales = self.constant(np.array([1, 1, 2, 2], np.float32))
        return self.op("Resize", source, "", scales, mode="nearest", coordinate_transformation_mode="asymmetric")

    def branch(self, source: str, channels: tuple[int, int, int]) -> str:
        """One half of the head on one level; ``channels`` in, hidden, out."""
        inner = self.block(self.block(source, channels[:2], kernel=3), (channels[1], channels[1]), kernel=3)
        return self.conv(inner, channels[1:], act="none")

    def decode(self, levels: Sequence[str], grid: Sequence[tuple[int, int, int]], *, labels: int, bins: int) -> str:
        """Distribution over ``bins`` distances per side -> boxes (centre, size) in input pixels; sigmoid scores."""
        flat = [self.op("Reshape", level, self.ints(0, 4 * bins + labels, -1)) for level in levels]
        joined = self.op("Concat", *flat, axis=2)
        sides, scores = self.ops("Split", joined, self.ints(4 * bins, labels), outputs=2, axis=1)
        spread = self.op("Softmax", self.op("Reshape", sides, self.ints(0, 4, bins, -1)), axis=2)
        weighted = self.op("Mul", spread, self.constant(np.arange(bins, dtype=np.float32).reshape(1, 1, bins, 1)))
        distance = self.op("ReduceSum", weighted, self.ints(2), keepdims=0)
        near, far = self.ops("Split", distance, self.ints(2, 2), outputs=2, axis=1)
        cells = [np.mgrid[0:h, 0:w].reshape(2, -1)[::-1] + 0.5 for h, w, _ in grid]
        strides = [np.full(h * w, stride, np.float32) for h, w, stride in grid]
        anchors = self.constant(np.concatenate(cells, 1)[None].astype(np.float32))
        low, high = self.op("Sub", anchors, near), self.op("Add", anchors, far)
        centre = self.op("Mul", self.op("Add", low, high), self.constant(np.array([0.5], np.float32)))
        boxes = self.op("Concat", centre, self.op("Sub", high, low), axis=1)
        scaled = self.op("Mul", boxes, self.constant(np.concatenate(strides)[None, None].astype(np.float32)))
        return self.op("Concat", scaled, self.op("Sigmoid", scores), axis=1)


def yolo(
    path: Path,
    *,
    labels: Sequence[str] = ("open", "short", "mousebite", "spur", "copper", "pin-hole"),
    input_size: tuple[int, int] = (64, 64),
    width: int = 8,
    act: str = "silu",
) -> Path:
    """The shape of YOLOv8 with random weights; ``width`` 16 makes it the n size (3.0 M parameters)."""
    g = _Yolo()
    g.act = act
    w = [width * factor for factor in (1, 2, 4, 8, 16)]
    stem = g.down(g.down("images", (3, w[0])), (w[0], w[1]))
    p3 = g.c2f(
        g.down(g.c2f(stem, (w[1], w[1]), depth=1, shortcut=True), (w[1], w[2])), (w[2], w[2]), depth=2, shortcut=True
    )
    p4 = g.c2f(g.down(p3, (w[2], w[3])), (w[3], w[3]), depth=2, shortcut=True)
    p5 = g.sppf(g.c2f(g.down(p4, (w[3], w[4])), (w[4], w[4]), depth=1, shortcut=True), w[4])
    n4 = g.merge(g.upsample(p5), p4, (w[4] + w[3], w[3]))
    o3 = g.merge(g.upsample(n4), p3, (w[3] + w[2], w[2]))
    o4 = g.merge(g.down(o3, (w[2], w[2])), n4, (w[2] + w[3], w[3]))
    o5 = g.merge(g.down(o4, (w[3], w[3])), p5, (w[3] + w[4], w[4]))
    levels, bins = [], 16
    for feature, channels in ((o3, w[2]), (o4, w[3]), (o5, w[4])):
        sides = g.branch(feature, (channels, 4 * width, 4 * bins))
        scores = g.branch(feature, (channels, 4 * width, len(labels)))
        levels.append(g.op("Concat", sides, scores, axis=1))
    grid = [(input_size[0] // s, input_size[1] // s, s) for s in (8, 16, 32)]
    output = g.decode(levels, grid, labels=len(labels), bins=bins)
    return save(g, output, path=path, labels=labels, input_size=input_size)
