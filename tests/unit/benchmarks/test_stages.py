"""The arithmetic of the latency benchmark: arrivals, the wait that nobody can spare a frame, and stages."""

from __future__ import annotations

from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pytest

from benchmarks.stages import ARRIVALS, CLOCKED, POISSON, arrivals, ideal_waits, spread, stage_times
from benchmarks.watched import around, open_notes, read_notes


@pytest.mark.parametrize("kind", list(ARRIVALS))
def test_arrivals_have_the_rate_that_was_asked_for(kind: str) -> None:
    moments = arrivals(kind, rate=100, seconds=60, cameras=4, seed=1)
    assert len(moments) == 4
    assert sum(map(len, moments)) == pytest.approx(6_000, rel=0.05)
    assert all(before <= after for one in moments for before, after in pairwise(one))


def test_clocked_frames_never_meet_at_half_load() -> None:
    came = sorted(chain.from_iterable(arrivals(CLOCKED, rate=12.5, seconds=100, cameras=4, seed=2)))
    assert set(ideal_waits(came, 0.040)) == {0.0}


def test_waits_behind_one_engine_are_those_of_the_textbook() -> None:
    """Pollaczek and Khinchine: M/D/1 at half load waits for half a service on average."""
    came = sorted(chain.from_iterable(arrivals(POISSON, rate=50, seconds=2_000, cameras=8, seed=3)))
    assert np.mean(ideal_waits(came, 0.010)) == pytest.approx(0.005, rel=0.05)


def test_waits_by_hand() -> None:
    assert ideal_waits([0.0, 1.0, 1.5, 10.0], 2.0) == [0.0, 1.0, 2.5, 0.0]
    assert ideal_waits([], 1.0) == []


def test_a_bell_that_came_after_the_claim_is_on_nobody_s_way() -> None:
    idle = {"rung": 1.0, "bell": 1.002, "claimed": 1.005}
    busy = {"rung": 1.0, "claimed": 1.001, "bell": 1.050}
    times = stage_times([idle, busy])
    assert times["  bell heard by an idle worker"] == pytest.approx([2.0])
    assert times["  its frames claimed"] == pytest.approx([3.0])


def test_spread() -> None:
    assert spread([1.0]) is None
    found = spread(list(map(float, range(101))))
    assert found is not None
    assert (found.p50, found.p90, found.p99, found.most, found.count) == (50, 90, 99, 100, 101)


def test_a_watched_function_notes_when_frames_pass(tmp_path: Path) -> None:
    class Product:
        def save(self, frames: list[str]) -> int:
            return len(frames)

    note = open_notes(tmp_path)
    around(
        Product,
        "save",
        before=lambda _, frames: note("began", frames),
        after=lambda count, _, frames: note(f"saved-{count}", frames),
    )
    assert Product().save(["a", "b"]) == 2
    Product().save(["a"])
    noted = read_notes(tmp_path)
    assert set(noted) == {"a", "b"}
    assert noted["a"]["began"] <= noted["a"]["saved-2"] <= noted["a"]["saved-1"]
