"""Fit a window's findings into the room that a prompt has left: the gravest and cheapest facts first, all counted.

Every group climbs a ladder of forms: counted in the totals only; summed up in one line; that line with its surest
findings as rows; all of them as rows. What the prompt says is worth a finding's weight once it is summed up, and the
same again for the first row of its group, half of it for the second, a third for the third: examples repeat
themselves. The forms are chosen as a multiple-choice knapsack (:mod:`gistline.reports.knapsack`).

Rows are priced by the digits of their numbers, all findings at once; only those that are bought are written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from gistline.domain import Finding, FindingGroup, Placement
from gistline.reports.encoding import aggregate_header, encode_group, header
from gistline.reports.knapsack import Step, choose

WEIGHT: Mapping[int, int] = {1: 1, 2: 3, 3: 9}
"""Value of telling of one finding, by its severity: one lost part outweighs nine cosmetic flaws."""

UNIT = 5040
"""Values are whole multiples of a weight's 5040th, which halves, thirds and so on of a weight are."""

_COMMAS = 5
_LINE_END = 1
_BOX = attrgetter("x", "y", "w", "h")


@dataclass(frozen=True, slots=True)
class Shown:
    """A group that the prompt tells of, with those of its findings that stand as rows, in canonical order."""

    group: FindingGroup
    listed: tuple[Finding, ...]

    @property
    def in_full(self) -> bool:
        """Whether every finding of the group stands as a row."""
        return len(self.listed) == len(self.group.findings)


@dataclass(frozen=True, slots=True)
class Packed:
    """What a prompt shows. ``placements`` has every finding's key exactly once; ``text`` is empty or ends its line.

    ``value`` is what the text is worth beyond the totals, in :data:`UNIT` of a weight of 1; no choice of forms for
    the same room is worth more than ``bound``.
    """

    shown: tuple[Shown, ...]
    placements: Mapping[int, Placement]
    text: str
    value: int = 0
    bound: int = 0

    @property
    def counts(self) -> dict[Placement, int]:
        """Findings of each placement, zeros included; they add up to all findings."""
        rows = sum(len(one.listed) for one in self.shown)
        told = sum(len(one.group.findings) for one in self.shown)
        return {
            Placement.ROW: rows,
            Placement.AGGREGATE: told - rows,
            Placement.TOTALS: len(self.placements) - told,
            Placement.DEFERRED: 0,
        }

    @property
    def gap(self) -> float:
        """Share of the bound that the choice may have missed, in [0, 1]; 0 is proven to be the best choice."""
        return 1 - self.value / self.bound if self.bound else 0.0


def only_totals(groups: Sequence[FindingGroup]) -> Packed:
    """The choice that tells of no group: every finding in the totals alone."""
    return Packed((), {finding.finding_id: Placement.TOTALS for group in groups for finding in group.findings}, "")


def pack(groups: Sequence[FindingGroup], start: datetime, *, room: int, slack: int = 0) -> Packed:
    """Choose what the prompt shows in ``room`` UTF-8 bytes; findings in no line of their group are in the totals.

    ``groups`` are in canonical order, ``start`` is the window's start. ``slack`` bytes more might have been left by
    another choice; only the bound counts with them. A larger room never makes a result of smaller ``value``.
    """
    if not groups:
        return Packed((), {}, "")
    findings = [finding for group in groups for finding in group.findings]
    order, sizes = _surest_first(groups, findings), _row_sizes(findings, start)
    weights = [WEIGHT[finding.severity] * UNIT for finding in findings]
    ladders, places = [], iter(order)
    for group in groups:
        best = list(islice(places, len(group.findings)))
        ladders.append(_ladder(group, start, [sizes[place] for place in best], [weights[place] for place in best]))
    choice = choose(ladders, room, slack=slack)
    shown, placements = _place(groups, findings, order, choice.levels)
    text = "".join(encode_group(one.group, one.listed, start) for one in shown)
    return Packed(shown, placements, text, choice.value, choice.bound)


def _ladder(group: FindingGroup, start: datetime, sizes: Sequence[int], weights: Sequence[int]) -> list[Step]:
    """The summary, then a row at a time; with the last row the summary gives way to a shorter header."""
    heading = len(header(group).encode()) + _LINE_END
    summary = len(aggregate_header(group, start).encode()) + _LINE_END
    values = [weight // place or 1 for place, weight in enumerate(weights, start=1)]
    *rows, (cost, value) = zip(sizes, values, strict=True)
    return [(summary, sum(weights)), *rows, (cost + heading - summary, value)]


def _surest_first(groups: Sequence[FindingGroup], findings: Sequence[Finding]) -> list[int]:
    """Places in ``findings``, group by group, within a group by confidence, else as they stand: by time, then key."""
    owner = np.repeat(np.arange(len(groups)), [len(group.findings) for group in groups])
    confidence = np.array([finding.confidence for finding in findings])
    found: list[int] = np.lexsort((-confidence, owner)).tolist()
    return found


def _row_sizes(findings: Sequence[Finding], start: datetime) -> list[int]:
    """Bytes of each finding's row with its line end, as :func:`gistline.reports.encoding.encode_row` would write it."""
    count = len(findings)
    cells = np.empty((count, 6))
    cells[:, 0] = [(finding.captured_at - start).total_seconds() for finding in findings]
    cells[:, 1] = [100 * finding.confidence for finding in findings]
    sides = chain.from_iterable(_BOX(finding.box) for finding in findings)
    cells[:, 2:] = np.fromiter(sides, np.float64, 4 * count).reshape(count, 4)
    return (_digits(np.rint(cells).astype(np.int64)).sum(axis=1) + _COMMAS + _LINE_END).tolist()  # type: ignore[no-any-return]


def _digits(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Characters of each number in decimal, its sign included."""
    size, power = np.abs(numbers), 10
    length = 1 + (numbers < 0)
    while (longer := size >= power).any():
        length += longer
        power *= 10
    return length


def _place(
    groups: Sequence[FindingGroup], findings: Sequence[Finding], order: Sequence[int], levels: Sequence[int]
) -> tuple[tuple[Shown, ...], dict[int, Placement]]:
    """Who stands where when group ``i`` is at form ``levels[i]``: 0 totals, 1 summary, 1 + k summary and k rows."""
    shown: list[Shown] = []
    placements: dict[int, Placement] = {}
    first = 0
    for group, level in zip(groups, levels, strict=True):
        rest = Placement.AGGREGATE if level else Placement.TOTALS
        placements.update(dict.fromkeys((finding.finding_id for finding in group.findings), rest))
        if level:
            listed = tuple(findings[place] for place in sorted(order[first : first + level - 1]))
            placements.update(dict.fromkeys((finding.finding_id for finding in listed), Placement.ROW))
            shown.append(Shown(group, listed))
        first += len(group.findings)
    return tuple(shown), placements
