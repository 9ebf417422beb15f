"""Fit a window's findings into the room that a prompt has left: the gravest and cheapest facts first, all counted.

Every group climbs a ladder of forms: counted in the totals only; summed up in one line; that line with its surest
findings as rows; all of them as rows. What the prompt says is worth a finding's weight once it is summed up, and the
same again for the first row of its group, half of it for the second, a third for the third: examples repeat
themselves. The forms are chosen as a multiple-choice knapsack (:mod:`gistline.reports.knapsack`).

Rows are priced by the digits of their numbers, all findings at once; only those that are bought are written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from gistline.domain import Finding, FindingGroup, Placement
from gistline.reports.encoding import aggregate_header, encode_cells, header
from gistline.reports.knapsack import Choice, Step, choose
from gistline.reports.regions import GRID, MOSTLY, Region

WEIGHT: Mapping[int, int] = {1: 1, 2: 3, 3: 9}
"""Value of telling of one finding, by its severity: one lost part outweighs nine cosmetic flaws."""

UNIT = 5040
"""Values are whole multiples of a weight's 5040th, which halves, thirds and so on of a weight are."""

NO_LIMIT = 1 << 40
"""Room for everything."""

_COMMAS = 5
_LINE_END = 1
_SIDES = attrgetter("x", "y", "w", "h")
_BOX, _KEY, _IMAGE = attrgetter("box"), attrgetter("finding_id"), attrgetter("image")
_CONFIDENCE, _SEVERITY, _MOMENT = attrgetter("confidence"), attrgetter("severity"), attrgetter("captured_at")
_WEIGHTS = np.array([0, *(WEIGHT[severity] * UNIT for severity in sorted(WEIGHT))])


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
    keys = chain.from_iterable(map(_KEY, group.findings) for group in groups)
    return Packed((), dict.fromkeys(keys, Placement.TOTALS), "")


def pack(groups: Sequence[FindingGroup], start: datetime, *, room: int, slack: int = 0) -> Packed:
    """Choose what the prompt shows in ``room`` UTF-8 bytes; findings in no line of their group are in the totals.

    ``groups`` are in canonical order, ``start`` is the window's start. ``slack`` bytes more might have been left by
    another choice; only the bound counts with them. A larger room never makes a result of smaller ``value``.
    """
    return Packer(groups, start).pack(room, slack=slack)


class Packer:
    """Groups made ready for packing, for any number of rooms: what does not depend on the room is worked out once."""

    def __init__(self, groups: Sequence[FindingGroup], start: datetime) -> None:
        self._groups = groups
        self._findings = list(chain.from_iterable(group.findings for group in groups))
        if not groups:
            return
        self._rows = _Rows(groups, self._findings, start)
        regions = self._rows.regions
        self._heads = [f"{header(group)}\n" for group in groups]
        self._sums = [
            f"{aggregate_header(group, start, region)}\n" for group, region in zip(groups, regions, strict=True)
        ]
        self._ladders = list(self._climb())

    def pack(self, room: int, *, slack: int = 0) -> Packed:
        """See :func:`pack`."""
        if not self._groups:
            return Packed((), {}, "")
        choice = choose(self._ladders, room, slack=slack)
        return self._place(choice)

    def _climb(self) -> Iterator[list[Step]]:
        """The summary, then a row at a time; with the last row the summary gives way to a shorter header."""
        for place, span in enumerate(self._rows.spans):
            summary = len(self._sums[place].encode())
            heading = len(self._heads[place].encode())
            costs, values = self._rows.costs[span], self._rows.values[span]
            steps = list(zip(costs, values, strict=True))
            steps[-1] = (costs[-1] + heading - summary, values[-1])
            yield [(summary, self._rows.told[place]), *steps]

    def _place(self, choice: Choice) -> Packed:
        """Who stands where when a group is at form ``level``: 0 totals, 1 summary, 1 + k summary and k rows."""
        keys = list(map(_KEY, self._findings))
        placements = dict.fromkeys(keys, Placement.TOTALS)
        shown: list[Shown] = []
        text: list[str] = []
        for place, level in enumerate(choice.levels):
            if level:
                group, span = self._groups[place], self._rows.spans[place]
                in_full = level == 1 + len(group.findings)
                surest = range(span.start, span.stop) if in_full else self._rows.order[span][: level - 1]
                listed = surest if in_full else sorted(surest)
                if not in_full:
                    placements.update(dict.fromkeys(keys[span], Placement.AGGREGATE))
                placements.update(dict.fromkeys([keys[one] for one in listed], Placement.ROW))
                shown.append(Shown(group, tuple([self._findings[one] for one in listed])))
                text.append(self._heads[place] if in_full else self._sums[place])
                text.extend(self._rows.texts(listed))
        return Packed(tuple(shown), placements, "".join(text), choice.value, choice.bound)


class _Rows:
    """All findings as columns: what each row says, costs and is worth, and in which order its group lists it.

    ``order`` has places in the list of findings, group by group, within a group by confidence, else as they stand: by
    time, then key. ``costs`` and ``values`` follow that order; ``spans`` has each group's part of it, ``told`` what
    summing the group up is worth, ``regions`` where most of its boxes lie.
    """

    def __init__(self, groups: Sequence[FindingGroup], findings: Sequence[Finding], start: datetime) -> None:
        sizes = np.array([len(group.findings) for group in groups])
        ends = np.cumsum(sizes)
        owner = np.repeat(np.arange(len(groups)), sizes)
        confidence = np.fromiter(map(_CONFIDENCE, findings), np.float64, len(findings))
        order = np.lexsort((-confidence, owner))
        boxes = _boxes(findings)
        self._cells = _cells(findings, confidence, boxes, start)
        weights = _WEIGHTS[np.fromiter(map(_SEVERITY, findings), np.int64, len(findings))]
        rank = np.arange(1, len(findings) + 1) - np.repeat(ends - sizes, sizes)
        self.order: list[int] = order.tolist()
        self.costs: list[int] = (_digits(self._cells).sum(axis=1) + _COMMAS + _LINE_END)[order].tolist()
        self.values: list[int] = np.maximum(weights[order] // rank, 1).tolist()
        self.told: list[int] = np.add.reduceat(weights, ends - sizes).tolist()
        self.spans = [slice(end - size, end) for end, size in zip(ends.tolist(), sizes.tolist(), strict=True)]
        self.regions = _regions(findings, boxes, owner, len(groups))

    def texts(self, places: Sequence[int]) -> list[str]:
        """The rows of findings at these places, each with its line end."""
        return [encode_cells(cells) for cells in self._cells[places].tolist()]


def _boxes(findings: Sequence[Finding]) -> NDArray[np.float64]:
    """``(n, 4)``: x, y, w, h of each box in pixels."""
    sides = chain.from_iterable(map(_SIDES, map(_BOX, findings)))
    return np.fromiter(sides, np.float64, 4 * len(findings)).reshape(-1, 4)


def _cells(
    findings: Sequence[Finding], confidence: NDArray[np.float64], boxes: NDArray[np.float64], start: datetime
) -> NDArray[np.int64]:
    """``(n, 6)``: what :func:`gistline.reports.encoding.encode_row` would write of each finding."""
    cells = np.empty((len(findings), 6))
    moments = np.fromiter(map(datetime.timestamp, map(_MOMENT, findings)), np.float64, len(findings))
    cells[:, 0] = moments - start.timestamp()
    cells[:, 1] = 100 * confidence
    cells[:, 2:] = boxes
    return np.rint(cells).astype(np.int64)


def _regions(
    findings: Sequence[Finding], boxes: NDArray[np.float64], owner: NDArray[np.int64], groups: int
) -> list[Region | None]:
    """:func:`gistline.reports.regions.main_region` of every group at once; None throughout where a size is unknown."""
    images = list(map(_IMAGE, findings))
    if None in images:
        return [None] * groups
    extent = np.array([(image.width, image.height) for image in images if image], np.float64)
    ninth = np.clip((3 * (boxes[:, :2] + boxes[:, 2:] / 2) / extent).astype(np.int64), 0, 2)
    counts = np.bincount(9 * owner + 3 * ninth[:, 1] + ninth[:, 0], minlength=9 * groups).reshape(groups, 9)
    speaks = counts.max(axis=1) > MOSTLY * counts.sum(axis=1)
    main = counts.argmax(axis=1).tolist()
    return [GRID[region] if sure else None for region, sure in zip(main, speaks.tolist(), strict=True)]


def _digits(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Characters of each number in decimal, its sign included."""
    size, power = np.abs(numbers), 10
    length = 1 + (numbers < 0)
    while (longer := size >= power).any():
        length += longer
        power *= 10
    return length
