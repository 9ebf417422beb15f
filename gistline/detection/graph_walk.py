"""A detector's ONNX graph as its convolutions see it: who made what, who reads it, where the head ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, Final

import numpy as np
from onnx import numpy_helper

_MOVES_VALUES: Final = frozenset(
    {
        "Concat",
        "Split",
        "Slice",
        "MaxPool",
        "Resize",
        "Upsample",
        "Reshape",
        "Transpose",
        "Identity",
        "Squeeze",
        "Unsqueeze",
        "Flatten",
    }
)
_MEETINGS: Final = frozenset({"Concat", "Split", "Slice", "Add"})
"""Operators at which several paths meet or part; a branch of the head is a chain without any."""


def moves_values(node: Any) -> bool:
    """Whether an operator hands on values unchanged: a linear or cubic resize makes new ones."""
    if node.op_type not in _MOVES_VALUES:
        return False
    modes = [attribute.s for attribute in node.attribute if attribute.name == "mode"]
    return node.op_type not in ("Resize", "Upsample") or modes in ([], [b"nearest"])


class Walk:
    """Look-ups over an ``onnx.GraphProto`` that must not change meanwhile; nodes are named by an output tensor."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self.nodes: list[Any] = list(graph.node)
        self.made_by: dict[str, Any] = {name: node for node in self.nodes for name in node.output}
        self.constants: dict[str, Any] = {tensor.name: tensor for tensor in graph.initializer}
        for node in self.nodes:
            if node.op_type == "Constant":
                self.constants.update((node.output[0], a.t) for a in node.attribute if a.name == "value")
        self.readers: dict[str, list[tuple[Any, int]]] = {}
        for node in self.nodes:
            for index, name in enumerate(node.input):
                self.readers.setdefault(name, []).append((node, index))
        self._depths: dict[str, int] = {}

    @cached_property
    def convolutions(self) -> list[Any]:
        """In the graph's order."""
        return [node for node in self.nodes if node.op_type == "Conv"]

    def weight_shape(self, node: Any) -> tuple[int, ...] | None:
        """``(out, in / groups, ...)`` of a convolution, None when its weights are computed at run time."""
        tensor = self.constants.get(node.input[1])
        return None if tensor is None else tuple(tensor.dims)

    @staticmethod
    def groups(node: Any) -> int:
        """The convolution's attribute ``group``."""
        return next((int(attribute.i) for attribute in node.attribute if attribute.name == "group"), 1)

    @cached_property
    def _ends(self) -> tuple[list[str], list[str]]:
        """Last convolutions before the graph's outputs, and those of the decode arithmetic behind them."""
        last: list[str] = []
        decoding: list[str] = []
        seen: set[str] = set()
        ahead = [value.name for value in self.graph.output]
        while ahead:
            name = ahead.pop()
            node = self.made_by.get(name)
            if node is None or name in seen or node.op_type == "Shape":
                continue
            seen.add(name)
            if node.op_type == "Conv" and not self._is_expectation(node):
                last.append(name)
                continue
            if node.op_type == "Conv":
                decoding.append(name)
            ahead.extend(node.input)
        return last, decoding

    @property
    def last(self) -> list[str]:
        """Outputs of the convolutions that no other lies behind."""
        return self._ends[0]

    @property
    def decoding(self) -> list[str]:
        """Outputs of convolutions that are decode arithmetic: expectations over distance bins."""
        return self._ends[1]

    def _is_expectation(self, node: Any) -> bool:
        """YOLOv8 writes the expectation over its distance bins as a 1x1 convolution with the weights 0, 1, 2, ..."""
        tensor = self.constants.get(node.input[1])
        if tensor is None or tensor.dims[0] != 1 or int(np.prod(tensor.dims)) != tensor.dims[1] or tensor.dims[1] < 2:
            return False
        return bool((numpy_helper.to_array(tensor).ravel() == np.arange(tensor.dims[1])).all())

    @cached_property
    def head(self) -> list[str]:
        """Outputs of the convolutions that serve one branch of the head alone, the last ones included."""
        serves = self._branches_served()
        found: list[str] = []
        ahead = list(self.last)
        while ahead:
            name = ahead.pop()
            node = self.made_by.get(name)
            if node is None or len(serves.get(name, ())) != 1 or node.op_type in _MEETINGS or name in found:
                continue
            if node.op_type == "Conv":
                found.append(name)
            ahead.extend(node.input)
        return found

    def _branches_served(self) -> dict[str, set[str]]:
        serves: dict[str, set[str]] = {name: {name} for name in self.last}
        for node in reversed(self.nodes):
            reached: set[str] = set().union(*(serves.get(name, set()) for name in node.output))
            if node.op_type != "Shape":
                for name in node.input:
                    serves.setdefault(name, set()).update(reached)
        return serves

    def origins(self, name: str) -> list[str]:
        """The computed tensors whose values a tensor holds."""
        found: list[str] = []
        ahead = [name]
        while ahead:
            name = ahead.pop()
            node = self.made_by.get(name)
            if node is None or not moves_values(node):
                found.append(name)
            else:
                ahead.extend(node.input if node.op_type == "Concat" else node.input[:1])
        return found

    def depth(self, name: str) -> int:
        """Most convolutions on a way from the input to a tensor."""
        if not self._depths:
            for node in self.nodes:
                deepest = max((self._depths.get(source, 0) for source in node.input), default=0)
                self._depths |= dict.fromkeys(node.output, deepest + (node.op_type == "Conv"))
        return self._depths.get(name, 0)

    def before(self, names: Iterable[str]) -> set[str]:
        """Those tensors and everything that they are computed from."""
        return _reached(names, lambda name: self.made_by[name].input if name in self.made_by else ())

    def behind(self, names: Iterable[str]) -> set[str]:
        """Those tensors and everything that is computed from them."""
        return _reached(names, lambda name: [made for node, _ in self.readers.get(name, ()) for made in node.output])


def _reached(names: Iterable[str], onward: Callable[[str], Iterable[str]]) -> set[str]:
    seen: set[str] = set()
    ahead = list(names)
    while ahead:
        name = ahead.pop()
        if name not in seen:
            seen.add(name)
            ahead.extend(onward(name))
    return seen
