"""``settled + held <= cap`` in any order of events."""

from __future__ import annotations

from tests.support.budget_schedules import Tally, World


def test_no_schedule_breaks_the_ceiling_or_leaks_a_hold(database_url: str) -> None:
    """The short form of ``python -m benchmarks.budgets``."""
    world = World(database_url)
    try:
        total = sum((world.run(seed) for seed in range(60)), Tally())
    finally:
        world.close()
    assert total.schedules == 60
    assert min(total.kills, total.paid, total.unknown, total.refused_by_budget) > 20
