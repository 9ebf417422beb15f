"""Which layers must stay in float for the accuracy that is asked for, at the least cost: a search over whole models.

Layers are ranked by the noise that their eight bits make for each multiplication that eight bits save. A bisection over
that ranking finds how many of the first must stay in float; then each of them is tried in eight bits again, in ever
smaller portions, and stays there if the bound still holds. Every step is a measurement of a whole model, so the result
holds on the images it was measured on whatever the ranking is worth; and none depends on time, so the same images and
the same machine give the same answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from gistline.detection.sensitivity import Layer

MOST_TRIALS: Final = 40
"""Whole models measured at most."""
_FREE: Final = 1e-4
"""Cost of a layer so small that eight bits save nothing: keeps the ranking finite."""

Measure = Callable[[frozenset[str]], float]
"""Convolutions kept in float -> loss in points of mAP 0.50-0.95 against the float model."""


@dataclass(frozen=True, slots=True)
class Point:
    """One measured model: the layers kept in float, their share of the multiplications, the loss in points."""

    kept: tuple[Layer, ...]
    cost: float
    loss: float

    @property
    def convolutions(self) -> frozenset[str]:
        """Output tensors of the convolutions kept in float."""
        return frozenset(name for layer in self.kept for name in layer.convolutions)


@dataclass(frozen=True, slots=True)
class Found:
    """``chosen`` is the cheapest measured model within the bound, None when not even all layers in float are.

    ``points`` are all measured models, cheapest first; ``layers`` the ranking that was searched.
    """

    bound: float
    chosen: Point | None
    points: tuple[Point, ...]
    layers: tuple[Layer, ...]

    @property
    def frontier(self) -> list[Point]:
        """Points that no other beats in both cost and loss, cheapest first."""
        best: list[Point] = []
        for point in self.points:
            if not best or point.loss < best[-1].loss:
                best.append(point)
        return best

    def safer(self, point: Point) -> list[Point]:
        """Points of the frontier that keep more and lose less than one, next first."""
        return [other for other in self.frontier if other.cost > point.cost and other.loss <= point.loss]


def search(layers: Sequence[Layer], measure: Measure, bound: float, *, most_trials: int = MOST_TRIALS) -> Found:
    """Find the cheapest set of layers to keep in float so that the loss stays within the bound.

    Args:
        layers: with noise and cost.
        measure: is called at most ``most_trials`` times, never twice for the same set.
        bound: points of mAP 0.50-0.95.
        most_trials: at least 2.

    """
    ranked = sorted(layers, key=lambda layer: (-layer.noise / (layer.cost + _FREE), layer.name))
    trials = _Trials(ranked, measure, bound, most_trials)
    chosen: Point | None = trials.of(())
    if chosen is not None and chosen.loss > bound:
        everything = trials.of(ranked)
        chosen = _pruned(trials, _bisected(trials, everything)) if everything.loss <= bound else None
    return Found(bound, chosen, trials.points(), tuple(ranked))


class _Trials:
    """Measures each set once, and stops when enough were measured."""

    def __init__(self, ranked: Sequence[Layer], measure: Measure, bound: float, most: int) -> None:
        self.ranked = ranked
        self._measure = measure
        self._bound = bound
        self._most = most
        self._done: dict[frozenset[str], Point] = {}

    @property
    def spent(self) -> bool:
        return len(self._done) >= self._most

    def of(self, kept: Iterable[Layer]) -> Point:
        chosen = set(kept)
        layers = tuple(layer for layer in self.ranked if layer in chosen)
        key = frozenset(name for layer in layers for name in layer.convolutions)
        if key not in self._done:
            self._done[key] = Point(layers, sum(layer.cost for layer in layers), self._measure(key))
        return self._done[key]

    def holds(self, point: Point) -> bool:
        return point.loss <= self._bound

    def points(self) -> tuple[Point, ...]:
        return tuple(sorted(self._done.values(), key=lambda point: (point.cost, point.loss)))


def _bisected(trials: _Trials, everything: Point) -> Point:
    """The shortest beginning of the ranking that was found to hold."""
    below, above, best = 0, len(trials.ranked), everything
    while above - below > 1 and not trials.spent:
        middle = (below + above) // 2
        point = trials.of(trials.ranked[:middle])
        if trials.holds(point):
            above, best = middle, point
        else:
            below = middle
    return best


def _pruned(trials: _Trials, best: Point) -> Point:
    """Give back eight bits to portions of the kept layers, halves first, single layers last, costliest first."""
    portion = max(1, len(best.kept) // 2)
    while not trials.spent:
        for part in _portions(best.kept, portion):
            if trials.spent:
                break
            point = trials.of(layer for layer in best.kept if layer not in part)
            if trials.holds(point):
                best = point
        if portion == 1:
            break
        portion = max(1, min(portion // 2, len(best.kept) // 2))
    return best


def _portions(kept: Sequence[Layer], size: int) -> list[tuple[Layer, ...]]:
    ordered = sorted(kept, key=lambda layer: (-layer.cost, layer.name))
    return [tuple(ordered[i : i + size]) for i in range(0, len(ordered), size)]
