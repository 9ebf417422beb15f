from __future__ import annotations

from collections.abc import Mapping
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gistline.detection.search import Found, search
from gistline.detection.sensitivity import Layer, modules


def layers(noises: Mapping[str, float]) -> list[Layer]:
    """Layers of equal cost, each of one convolution of the same name."""
    return [Layer(name, (name,), 1 / len(noises), noise) for name, noise in noises.items()]


class Losses:
    """A model whose layers each cost so many points in eight bits."""

    def __init__(self, points: Mapping[str, float]) -> None:
        self.points = points
        self.asked: list[frozenset[str]] = []

    def __call__(self, kept: frozenset[str]) -> float:
        self.asked.append(kept)
        return sum(loss for name, loss in self.points.items() if name not in kept)


def names(found: Found) -> set[str]:
    assert found.chosen is not None
    return {layer.name for layer in found.chosen.kept}


def test_nothing_is_kept_where_the_bound_holds_anyhow() -> None:
    losses = Losses({"a": 0.2, "b": 0.2})
    found = search(layers({"a": 1, "b": 2}), losses, 0.5)
    assert names(found) == set()
    assert losses.asked == [frozenset()]


def test_the_one_poisoned_layer_is_found() -> None:
    losses = Losses({f"l{i}": 0.0 for i in range(40)} | {"l23": 9.0})
    found = search(layers({f"l{i}": 1.0 + (i == 23) for i in range(40)}), losses, 0.5)
    assert names(found) == {"l23"}


def test_it_is_found_though_the_ranking_says_otherwise() -> None:
    """The noise measured is lowest where the loss is: the search still ends with that layer alone."""
    losses = Losses({f"l{i:02}": 0.0 for i in range(16)} | {"l15": 9.0})
    found = search(layers({f"l{i:02}": 16.0 - i for i in range(16)}), losses, 0.5)
    assert names(found) == {"l15"}


def test_bound_out_of_reach_is_said() -> None:
    found = search(layers({"a": 1, "b": 2}), lambda kept: 1.0 + 2 - len(kept), 0.5)
    assert found.chosen is None
    assert [point.loss for point in found.points] == [3.0, 1.0]


def test_dear_layers_are_kept_last() -> None:
    """Of two that make the same noise the one that saves more multiplications goes to eight bits."""
    dear, cheap = Layer("dear", ("dear",), 0.9, 1.0), Layer("cheap", ("cheap",), 0.1, 1.0)
    found = search([dear, cheap], Losses({"dear": 0.4, "cheap": 0.4}), 0.5)
    assert names(found) == {"cheap"}


def test_frontier_and_safer_points() -> None:
    found = search(layers({f"l{i}": 8.0 - i for i in range(8)}), Losses({f"l{i}": 1.0 for i in range(8)}), 3.5)
    assert found.chosen is not None
    assert len(found.chosen.kept) == 5
    losses = [point.loss for point in found.frontier]
    assert losses == sorted(losses, reverse=True)
    assert found.frontier[0].kept == ()
    assert found.safer(found.chosen)[-1].loss == 0
    assert all(point.cost > found.chosen.cost for point in found.safer(found.chosen))


def test_trials_are_limited_and_the_answer_still_holds() -> None:
    losses = Losses({f"l{i}": 0.1 for i in range(64)})
    found = search(layers({f"l{i}": float(i) for i in range(64)}), losses, 1.0, most_trials=5)
    assert len(losses.asked) <= 5
    assert found.chosen is not None
    assert found.chosen.loss <= 1.0


@given(
    st.dictionaries(st.sampled_from([f"l{i}" for i in range(12)]), st.floats(0, 3), min_size=1),
    st.floats(0, 6),
    st.randoms(use_true_random=False),
)
def test_what_is_chosen_holds_and_no_single_layer_could_be_given_back(
    points: dict[str, float], bound: float, random: Random
) -> None:
    losses = Losses(points)
    found = search(layers({name: random.random() for name in points}), losses, bound, most_trials=500)
    assert found.chosen is not None
    assert found.chosen.loss <= bound
    assert len(losses.asked) == len(set(losses.asked))
    for layer in found.chosen.kept:
        assert losses(found.chosen.convolutions - set(layer.convolutions)) > bound


def test_modules_are_paths_short_enough() -> None:
    deep = [f"/net/block.{b}/part.{p}/conv{c}/Conv" for b in range(4) for p in range(4) for c in range(5)]
    assert modules(deep[:10], 64) == deep[:10]
    assert len(set(modules(deep, 64))) == 16
    assert modules(deep, 64)[0] == "/net/block.0/part.0"
    assert len(set(modules(deep, 5))) == 4


@pytest.mark.parametrize("count", [65, 100, 640])
def test_names_without_paths_are_put_together_in_runs(count: int) -> None:
    keys = modules([f"conv{i}" for i in range(count)], 64)
    assert 30 < len(set(keys)) <= 64
    assert keys == sorted(keys, key=lambda key: int(key.removeprefix("conv")))
