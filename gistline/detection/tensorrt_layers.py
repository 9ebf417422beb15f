"""What a built engine really runs, out of the description that TensorRT's engine inspector writes."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

_PRECISIONS: Final = (
    ("INT8", re.compile(r"int8|uint8", re.IGNORECASE)),
    ("FP8", re.compile(r"fp8", re.IGNORECASE)),
    ("BF16", re.compile(r"bf16|bfloat", re.IGNORECASE)),
    ("FP16", re.compile(r"fp16|half|float16", re.IGNORECASE)),
    ("FP32", re.compile(r"fp32|float", re.IGNORECASE)),
)
_CONVOLUTION: Final = re.compile(r"conv(?!ert)", re.IGNORECASE)
_REFORMAT: Final = re.compile(r"reformat", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Layers:
    """Convolutions by the precision that they read, most frequent first; layers in all; layers that only reformat."""

    convolutions: tuple[tuple[str, int], ...]
    total: int
    reformats: int

    @property
    def int8(self) -> int:
        """Convolutions that read INT8."""
        return dict(self.convolutions).get("INT8", 0)

    @property
    def count(self) -> int:
        """All convolutions."""
        return sum(number for _, number in self.convolutions)


def read_layers(text: str) -> Layers:
    """The inspector's JSON -> what runs in what.

    An engine that was built without details lists names only; its convolutions are unknown then, and none is counted.
    """
    layers = json.loads(text).get("Layers", [])
    known = [layer for layer in layers if isinstance(layer, Mapping)]
    counts = Counter(precision_of(layer) for layer in known if _is_convolution(layer))
    return Layers(
        convolutions=tuple(counts.most_common()),
        total=len(layers),
        reformats=sum(bool(_REFORMAT.search(str(layer.get("LayerType", "")))) for layer in known),
    )


def precision_of(layer: Mapping[str, Any]) -> str:
    """What a layer computes in: the type of what it reads, or of its weights where the format is open."""
    for described in (*_formats(layer.get("Inputs", ())), str(_weights(layer))):
        for name, pattern in _PRECISIONS:
            if pattern.search(described):
                return name
    return "unknown"


def _is_convolution(layer: Mapping[str, Any]) -> bool:
    kind = str(layer.get("ParameterType", "")) + " " + str(layer.get("LayerType", ""))
    return bool(_CONVOLUTION.search(kind)) and not _REFORMAT.search(kind)


def _formats(tensors: Iterable[Any]) -> list[str]:
    """The first tensor is what is convolved; others are what is added to the result."""
    first = [tensor for tensor in tensors if isinstance(tensor, Mapping)][:1]
    return [f"{tensor.get('Format/Datatype', '')} {tensor.get('Datatype', '')}" for tensor in first]


def _weights(layer: Mapping[str, Any]) -> Any:
    weights = layer.get("Weights")
    return weights.get("Type", "") if isinstance(weights, Mapping) else ""
