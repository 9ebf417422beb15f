"""Where a detector is quantised: which convolutions, and which tensors carry their eight bits.

Each tensor that feeds a quantised convolution is traced back through operators that only move values (concat, split,
pooling, nearest resize, reshape) to the operators that made them; Q/DQ stands there, once, and everything that a concat
joins shares one scale. So activations (SiLU, ReLU) stay in float in their convolution's epilogue, the decode arithmetic
stays in float, and what lies between two convolutions travels in eight bits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

_MOVES_VALUES: Final = frozenset(
    {"Concat", "Split", "Slice", "MaxPool", "Resize", "Upsample", "Reshape", "Transpose", "Identity", "Squeeze"}
)


@dataclass(frozen=True, slots=True)
class Placement:
    """``convolutions`` are named by their output tensor; ``groups`` are tensors to quantise, one scale a group."""

    convolutions: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]

    @property
    def tensors(self) -> tuple[str, ...]:
        """Every tensor that is quantised."""
        return tuple(name for group in self.groups for name in group)


def place(graph: Any, *, keep_float: Iterable[str] = ()) -> Placement:
    """Placement for an ONNX graph (``onnx.GraphProto``).

    The last convolution of each branch of the head stays in float: its output goes into the decode arithmetic, where
    a step of eight bits would be pixels. ``keep_float`` names the outputs of further convolutions to leave out.
    """
    made_by = {name: node for node in graph.node for name in node.output}
    spared = _last_convolutions(graph, made_by) | set(keep_float)
    convolutions = [node for node in graph.node if node.op_type == "Conv" and node.output[0] not in spared]
    groups = _Groups()
    for node in convolutions:
        _trace(node.input[0], made_by, groups)
    return Placement(tuple(node.output[0] for node in convolutions), groups.listed())


def _last_convolutions(graph: Any, made_by: dict[str, Any]) -> set[str]:
    """Outputs of the convolutions that no other lies behind, and of those before a one-channel decode convolution.

    YOLOv8's expectation over the distance bins is written as a 1x1 convolution with one output channel.
    """
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    found: set[str] = set()
    seen: set[str] = set()
    ahead = [value.name for value in graph.output]
    while ahead:
        name = ahead.pop()
        node = made_by.get(name)
        if node is None or name in seen:
            continue
        seen.add(name)
        if node.op_type == "Conv":
            found.add(name)
            if shapes.get(node.input[1], (0,))[0] != 1:
                continue
        ahead.extend(node.input)
    return found


def _trace(name: str, made_by: dict[str, Any], groups: _Groups) -> None:
    """Walk back to the operators that make the values of a tensor and put them into one group."""
    origins: list[str] = []
    ahead = [name]
    while ahead:
        name = ahead.pop()
        node = made_by.get(name)
        if node is None or node.op_type not in _MOVES_VALUES or not _is_exact(node):
            origins.append(name)
        else:
            ahead.extend(node.input if node.op_type == "Concat" else node.input[:1])
    groups.join(origins)


def _is_exact(node: Any) -> bool:
    """Whether the operator hands on values unchanged: a linear or cubic resize makes new ones."""
    modes = [attribute.s for attribute in node.attribute if attribute.name == "mode"]
    return node.op_type != "Resize" or modes in ([], [b"nearest"])


class _Groups:
    """Sets of tensor names, joined as concats demand, in the order of their first appearance."""

    def __init__(self) -> None:
        self._members: dict[str, list[str]] = {}

    def join(self, names: Iterable[str]) -> None:
        joined: list[str] = []
        for name in names:
            for member in self._members.get(name, [name]):
                if member not in joined:
                    joined.append(member)
        for member in joined:
            self._members[member] = joined

    def listed(self) -> tuple[tuple[str, ...], ...]:
        unique = {id(group): tuple(group) for group in self._members.values()}
        return tuple(unique.values())
