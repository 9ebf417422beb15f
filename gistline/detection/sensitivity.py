"""How much noise each layer's eight bits put into a detector's answers, and how much of its arithmetic a layer is.

Each layer is quantised alone, everything else in float, and the outputs of the head's last convolutions are held
against the float model's. That costs one compilation and a few dozen inferences a layer, no labels, and ranks layers;
what a ranking is worth, only the average precision of whole models says (:mod:`gistline.detection.search`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from gistline.detection.emulation import emulated
from gistline.detection.graph_walk import Walk
from gistline.detection.model_file import ModelFile, read_model
from gistline.detection.placement import place
from gistline.detection.preprocess import letterbox
from gistline.detection.quantise import Recipe, Target, float_model, write_quantised
from gistline.detection.ranges import RangeTable

MOST_LAYERS: Final = 64
"""Convolutions of larger networks are taken together by module, so that the search stays short."""

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Layer:
    """Convolutions that are quantised together or not at all.

    ``convolutions`` are output tensors; ``cost`` is their share of the network's multiplications, in [0, 1]; ``noise``
    the mean squared error that their eight bits alone leave in the head's last outputs, over those outputs' variance.
    """

    name: str
    convolutions: tuple[str, ...]
    cost: float
    noise: float = 0.0

    @property
    def decibels(self) -> float:
        """Signal over noise."""
        return -10 * float(np.log10(max(self.noise, 1e-12)))


def measure_layers(
    model: Path,
    table: RangeTable,
    images: Sequence[NDArray[np.uint8]],
    recipe: Recipe,
    *,
    progress: Progress = lambda _: None,
) -> list[Layer]:
    """Noise and cost of every layer that the recipe quantises, noisiest first.

    Args:
        model: FP32 ONNX detector.
        table: its ranges.
        images: one to a few dozen, of any size.
        recipe: how the layers are quantised; what it spares is left out.
        progress: told each layer's name as its turn comes.

    """
    checked = float_model(model)
    walk = Walk(onnx.load_model_from_string(checked.content).graph)
    boxed = [letterbox(image, checked.input_size)[0] for image in images]
    layers = layers_of(checked, recipe, boxed[0])
    everything = {name for layer in layers for name in layer.convolutions}
    exact = _outputs(checked, walk.last, boxed)
    measured = []
    with tempfile.TemporaryDirectory() as folder:
        for layer in layers:
            progress(layer.name)
            others = tuple(sorted(everything - set(layer.convolutions)))
            alone = replace(recipe, spare=replace(recipe.spare, tensors=recipe.spare.tensors + others))
            path = write_quantised(model, table, out=Path(folder) / "alone.onnx", recipe=alone).path
            found = _outputs(as_run_here(read_model(path), recipe), walk.last, boxed)
            measured.append(replace(layer, noise=_noise(found, exact)))
    return sorted(measured, key=lambda layer: (-layer.noise, layer.name))


def as_run_here(model: ModelFile, recipe: Recipe) -> ModelFile:
    """The model as this machine can judge it: a file for a GPU in float arithmetic with every rounding."""
    return emulated(model) if recipe.target is Target.TENSORRT else model


def layers_of(model: ModelFile, recipe: Recipe, image: NDArray[np.uint8]) -> list[Layer]:
    """The convolutions that a recipe quantises, with their shares of the work; modules where there are many."""
    graph = onnx.load_model_from_string(model.content).graph
    walk = Walk(graph)
    work = _multiplications(model, walk, image)
    total = sum(work.values())
    quantised = set(place(graph, recipe.spare, style=recipe.style).convolutions)
    nodes = [node for node in walk.convolutions if node.output[0] in quantised]
    names = [node.name or node.output[0] for node in nodes]
    grouped: dict[str, list[str]] = {}
    for key, node in zip(modules(names, MOST_LAYERS), nodes, strict=True):
        grouped.setdefault(key, []).append(node.output[0])
    return [Layer(key, tuple(members), sum(work[name] for name in members) / total) for key, members in grouped.items()]


def modules(names: Sequence[str], most: int) -> list[str]:
    """A key for each node name, at most ``most`` different ones: the longest common path that is short enough.

    ``/model/blocks.2/chain.0/conv`` is cut at slashes from the right until few enough different paths are left. Names
    without a path are put together in runs.
    """
    if len(names) <= most:
        return list(names)
    for depth in range(max(name.count("/") for name in names), 1, -1):
        keys = ["/".join(name.split("/")[: depth + 1]) for name in names]
        if len(set(keys)) <= most:
            return keys
    run = -(-len(names) // most)
    return [names[index - index % run] for index in range(len(names))]


def _multiplications(model: ModelFile, walk: Walk, image: NDArray[np.uint8]) -> dict[str, float]:
    """Of each convolution, for one image."""
    made = {node.output[0]: node for node in walk.convolutions}
    shapes = {name: values.shape for name, values in _run(model, tuple(made), [image])[0].items()}
    work = {}
    for name, node in made.items():
        weights = walk.weight_shape(node) or (1, 1)
        work[name] = float(np.prod(weights)) * float(np.prod(shapes[name][2:]))
    return work


def _outputs(
    model: ModelFile, names: Sequence[str], images: Sequence[NDArray[np.uint8]]
) -> list[dict[str, NDArray[np.float32]]]:
    return _run(model, tuple(names), images)


def _run(
    model: ModelFile, names: tuple[str, ...], images: Sequence[NDArray[np.uint8]]
) -> list[dict[str, NDArray[Any]]]:
    from gistline.detection.openvino_engine import probe

    return list(probe(model, names, images))


def _noise(found: Sequence[dict[str, NDArray[np.float32]]], exact: Sequence[dict[str, NDArray[np.float32]]]) -> float:
    """Mean over the tensors of squared error over variance, each over all images."""
    ratios = []
    for name in exact[0]:
        truth = np.stack([one[name] for one in exact])
        error = np.stack([one[name] for one in found]) - truth
        ratios.append(float(np.mean(error**2) / max(float(truth.var()), 1e-12)))
    return float(np.mean(ratios))
