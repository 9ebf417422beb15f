"""Choose one form for each of many things under a common budget: the multiple-choice knapsack.

Each thing has a ladder of forms, each form saying more and costing more than the one before. The upper convex hull of
a ladder's (cost, value) points is all that the linear relaxation can use; bought by value for cost until the budget
ends, with the last purchase cut, its segments give the relaxation's exact optimum, an upper bound of every choice
(Sinha and Zoltners, 1979). The choice itself buys whole segments in that order and passes over those that no longer
fit, together with the rest of their ladder.

Its value never falls when the budget grows. Let ``G(r)`` be the value bought with ``r`` from a list of segments by
falling density ``d``. Between two budgets at which the next segment ``k`` of the list just fits, the rest goes to a
shorter list, for which the claim holds by induction; and what is bought in place of ``k`` with less than its cost is
worth less than ``d_k x cost_k``, its value, since nothing behind it is denser.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Step = tuple[int, int]
"""From one form to the next: what it costs more (zero or less is possible), and what it is worth more (above 0)."""


_Segment = tuple[float, int, int, int, int]
"""A whole stretch of a ladder's hull: its negative density, ladder, level of the form at its upper end, cost, value.

So the tuples' own order is that of buying: the densest first, ties to the earlier ladder.
"""


@dataclass(frozen=True, slots=True)
class Choice:
    """``levels[i]`` of ladder ``i``'s steps are taken. ``bound`` is the linear relaxation's optimum, rounded down."""

    levels: tuple[int, ...]
    cost: int
    value: int
    bound: int


def choose(ladders: Sequence[Sequence[Step]], room: int, *, slack: int = 0) -> Choice:
    """Take steps that cost at most ``room`` together; ties go to the earlier ladder.

    ``slack`` widens the room for the bound alone, where the room was itself rounded down. A ladder's first steps
    together must cost something: a form for nothing is no choice.
    """
    segments = sorted([segment for index, ladder in enumerate(ladders) for segment in _hull(index, ladder)])
    levels = [0] * len(ladders)
    closed: set[int] = set()
    left, value = room, 0
    for _, ladder, level, cost, worth in segments:
        if ladder in closed:
            continue
        if cost > left:
            closed.add(ladder)
            continue
        levels[ladder] = level
        left -= cost
        value += worth
    return Choice(tuple(levels), room - left, value, _bound(segments, room + slack))


def _hull(index: int, ladder: Iterable[Step]) -> list[_Segment]:
    """The segments of a ladder's upper convex hull, of strictly falling density."""
    stack: list[tuple[int, int, int]] = []  # cost, value and level of each segment so far
    for level, (cost, value) in enumerate(ladder, start=1):
        while stack and stack[-1][1] * cost <= value * stack[-1][0]:
            below = stack.pop()
            cost, value = cost + below[0], value + below[1]  # noqa: PLW2901 - the step grows downwards
        stack.append((cost, value, level))
    return [(-value / cost, index, level, cost, value) for cost, value, level in stack]


def _bound(segments: Iterable[_Segment], room: int) -> int:
    left, value = max(0, room), 0
    for _, _, _, cost, worth in segments:
        if cost > left:
            return value + worth * left // cost
        left -= cost
        value += worth
    return value
