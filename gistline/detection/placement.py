"""Where a detector is quantised: which convolutions, and at which tensors Q/DQ stands.

What feeds a quantised convolution is traced back through operators that only move values (concat, split, pooling,
nearest resize, reshape) to the tensors that were computed; all that a concat joins shares one scale. So nothing stands
between a convolution and its activation or inside SiLU, and the decode arithmetic stays in float.

The runtimes want Q/DQ in different places. OpenVINO: once behind each computed tensor, whoever reads it. TensorRT: at
the input of each convolution, since it does not carry a DequantizeLinear through Slice and Split, and on the identity
branch of a residual add.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, Final

from gistline.detection.graph_walk import Walk, moves_values
from gistline.errors import ModelRejected

_READS_EIGHT_BITS: Final = frozenset({"Conv", "Add"})
"""Readers of a convolution's bare output that may read it in eight bits; its activation may not."""


class Head(StrEnum):
    """What of the head stays in float beside the decode arithmetic.

    ``last`` is each branch's last convolution: its output goes straight into the decode arithmetic, where a step of
    eight bits would be pixels. ``whole`` is every convolution that serves one branch alone.
    """

    NONE = "none"
    LAST = "last"
    WHOLE = "whole"


class Style(StrEnum):
    """Where Q/DQ stands: behind the operator that computes a tensor, or before each convolution that reads it."""

    PRODUCERS = "producers"
    INPUTS = "inputs"


@dataclass(frozen=True, slots=True)
class Spare:
    """What stays in float.

    ``patterns`` are globs over the names of nodes, output tensors and weights; each must match a convolution.
    ``tensors`` are convolutions by their exact output tensor. ``least_channels``: convolutions with fewer input or
    output channels stay in float (on GPUs tensor cores want 16).
    """

    head: Head = Head.LAST
    patterns: tuple[str, ...] = ()
    tensors: tuple[str, ...] = ()
    least_channels: int = 0


@dataclass(frozen=True, slots=True)
class Point:
    """One Q/DQ pair: behind ``tensor``, with the scale of that group, read by these (node output, input index)."""

    tensor: str
    group: int
    readers: frozenset[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Placement:
    """What is quantised.

    ``convolutions`` are named by their output tensor; ``groups`` are computed tensors whose values share one scale;
    ``points`` is where Q/DQ stands; ``kept`` says of every other convolution why it stays in float.
    """

    convolutions: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]
    points: tuple[Point, ...] = ()
    kept: dict[str, str] = field(default_factory=dict)

    @property
    def tensors(self) -> tuple[str, ...]:
        """Every tensor whose range must be known."""
        return tuple(name for group in self.groups for name in group)


def place(graph: Any, spare: Spare | None = None, *, style: Style = Style.PRODUCERS) -> Placement:
    """Placement for an ONNX graph (``onnx.GraphProto``).

    Raises:
        ModelRejected: a pattern matches no convolution.

    """
    walk = Walk(graph)
    kept = spared(walk, spare or Spare())
    quantised = [node for node in walk.convolutions if node.output[0] not in kept]
    groups = _Groups()
    for node in quantised:
        groups.join(walk.origins(node.input[0]))
    identities = _identities(walk, quantised) if style is Style.INPUTS else []
    for name, _ in identities:
        groups.join(walk.origins(name))
    points = _at_inputs(walk, quantised, identities, groups) if identities or style is Style.INPUTS else None
    if points is None:
        points = _behind_producers(walk, groups)
    return Placement(tuple(node.output[0] for node in quantised), groups.listed(), tuple(points), kept)


def spared(walk: Walk, spare: Spare) -> dict[str, str]:
    """Convolutions that stay in float, by output tensor, and why, in the graph's order."""
    reasons = dict.fromkeys(walk.decoding, "part of the decode arithmetic")
    if spare.head is not Head.NONE:
        reasons |= dict.fromkeys(walk.last, "last convolution of the head")
    if spare.head is Head.WHOLE:
        reasons |= {name: "in the head" for name in walk.head if name not in reasons}
    for node in walk.convolutions:
        name, shape = node.output[0], walk.weight_shape(node)
        if shape is None:
            reasons.setdefault(name, "weights computed at run time")
        elif min(shape[0], shape[1] * walk.groups(node)) < spare.least_channels:
            reasons.setdefault(name, f"fewer than {spare.least_channels} channels")
    reasons = dict.fromkeys(spare.tensors, "found by the search") | reasons
    for pattern in spare.patterns:
        reasons |= {name: f"named by {pattern!r}" for name in _matching(walk, pattern) if name not in reasons}
    return {node.output[0]: reasons[node.output[0]] for node in walk.convolutions if node.output[0] in reasons}


def _matching(walk: Walk, pattern: str) -> list[str]:
    found = [
        node.output[0]
        for node in walk.convolutions
        if any(fnmatchcase(name, pattern) for name in (node.name, node.output[0], *node.input[1:2]))
    ]
    if not found:
        known = [node.name or node.output[0] for node in walk.convolutions]
        raise ModelRejected(
            f"{pattern!r} names none of the {len(known)} convolutions.",
            cure=f"Names look like {', '.join(map(repr, known[:2] + known[-1:]))}; '*' stands for any part.",
        )
    return found


def _identities(walk: Walk, quantised: Sequence[Any]) -> list[tuple[str, tuple[str, int]]]:
    """The identity operand of each residual add that lies among quantised convolutions: its tensor and its reader.

    Q/DQ on both operands would part the add from its convolution; on the one that passed fewer convolutions it lets
    TensorRT fuse the add into the other.
    """
    within = walk.behind(node.output[0] for node in quantised)
    before = walk.before(node.input[0] for node in quantised)
    found: list[tuple[str, tuple[str, int]]] = []
    for node in walk.nodes:
        name = node.output[0] if node.output else ""
        if node.op_type != "Add" or name not in within or name not in before:
            continue
        if any(operand in walk.constants for operand in node.input):
            continue
        index = 0 if walk.depth(node.input[0]) <= walk.depth(node.input[1]) else 1
        found.append((node.input[index], (name, index)))
    return found


def _at_inputs(
    walk: Walk, quantised: Sequence[Any], identities: Sequence[tuple[str, tuple[str, int]]], groups: _Groups
) -> list[Point]:
    readers: dict[str, set[tuple[str, int]]] = {}
    for node in quantised:
        readers.setdefault(node.input[0], set()).add((node.output[0], 0))
    for name, reader in identities:
        readers.setdefault(name, set()).add(reader)
    return [Point(name, groups.index(walk.origins(name)[0]), frozenset(who)) for name, who in readers.items()]


def _behind_producers(walk: Walk, groups: _Groups) -> list[Point]:
    points = []
    for index, group in enumerate(groups.listed()):
        for name in group:
            made = walk.made_by.get(name)
            bare = made is not None and made.op_type == "Conv"
            readers = frozenset(
                (node.output[0], place)
                for node, place in walk.readers.get(name, ())
                if not bare or node.op_type in _READS_EIGHT_BITS or moves_values(node)
            )
            points.append(Point(name, index, readers))
    return points


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

    def index(self, name: str) -> int:
        """Number, in ``listed``, of the group that holds a tensor."""
        return next(number for number, group in enumerate(self.listed()) if name in group)
