"""From nested phases to one share that never falls."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

from gistline.detection.tensorrt_progress import PhaseTree


def test_inner_phases_fill_a_step_of_the_outer() -> None:
    told: list[float] = []
    tree = PhaseTree(lambda share, _: told.append(round(share, 4)))
    tree.start("outer", None, 4)
    tree.step("outer", 0)
    tree.start("inner", "outer", 2)
    tree.step("inner", 0)
    tree.step("inner", 1)
    tree.finish("inner")
    tree.step("outer", 1)
    tree.step("outer", 2)
    tree.finish("outer")
    assert told == [0, 0.25, 0.25, 0.375, 0.375, 0.375, 0.5, 0.75, 1.0]


def test_a_phase_that_is_longer_than_it_said_waits() -> None:
    told: list[float] = []
    tree = PhaseTree(lambda share, _: told.append(share))
    tree.start("outer", None, 2)
    for step in range(5):
        tree.step("outer", step)
    tree.start("another", None, 10)
    tree.step("another", 0)
    assert told == sorted(told)
    assert max(told) == 1.0


def test_phases_of_no_steps_and_unknown_ones_do_no_harm() -> None:
    told: list[float] = []
    tree = PhaseTree(lambda share, _: told.append(share))
    tree.start("empty", None, 0)
    tree.step("never begun", 3)
    tree.finish("never begun")
    tree.finish("empty")
    assert told == [0.0, 1.0]


def test_phases_end_in_one_thread_while_others_go_on() -> None:
    tree = PhaseTree(lambda *_: None)
    tree.start("outer", None, 4)

    def work(worker: int) -> None:
        for number in range(2_000):
            name = f"{worker}-{number}"
            tree.start(name, "outer", 2)
            tree.step(name, 0)
            tree.finish(name)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))
    finally:
        sys.setswitchinterval(before)
