"""Fit a window's findings into its token budget: the gravest and cheapest facts first, and nothing uncounted.

Every group climbs a ladder: counted in the totals, then summed up in one line, then listed row by row. A group that
costs no more in full than its summary with one example is listed at once. The rungs of all groups are bought in one
fixed order, by value for tokens, until the budget is reached. Since the order does not depend on the budget, a larger
budget buys the same rungs and then more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate

from gistline.domain import Finding, FindingGroup, Placement
from gistline.errors import BudgetTooSmall
from gistline.reports.encoding import aggregate_header, encode_group, encode_row, header

Measure = Callable[[str], int]

WEIGHT: Mapping[int, int] = {1: 1, 2: 3, 3: 9}
"""Value of telling of one finding, by its severity: one lost part outweighs nine cosmetic flaws."""


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
    """What a prompt shows. ``placements`` has every finding's key exactly once; ``text`` is empty or ends its line."""

    shown: tuple[Shown, ...]
    placements: Mapping[int, Placement]
    text: str

    @property
    def counts(self) -> dict[Placement, int]:
        """Findings of each placement, zeros included; they add up to all findings."""
        counted = Counter(self.placements.values())
        return {placement: counted[placement] for placement in Placement}


@dataclass(frozen=True, slots=True)
class _Rung:
    """One purchase: group ``index`` gets its summary line (no findings) or these findings as rows."""

    index: int
    findings: tuple[Finding, ...]
    cost: int
    worth: float


def pack(
    groups: Sequence[FindingGroup],
    start: datetime,
    *,
    budget: int,
    measure: Measure,
    render: Callable[[Packed], str],
) -> Packed:
    """Choose what the prompt shows within ``budget`` tokens.

    ``groups`` are in canonical order, ``start`` is the window's start. ``measure`` counts the tokens of a text and must
    not count more for a text than for its lines one by one; ``render`` makes the whole prompt, totals included, of a
    choice. The result's prompt measures at most ``budget``. Findings in no line of their group are in the totals.

    Raises:
        BudgetTooSmall: the prompt without any group's line is over the budget; names the tokens that it needs.

    """
    bare = _packed(groups, [], start)
    needed = measure(render(bare))
    if needed > budget:
        raise BudgetTooSmall(
            f"The instructions and totals of the window need {needed} tokens; the budget is {budget}.",
            cure=f"Set reports.token_budget to {needed} or more, or shorten the window.",
        )
    rungs = _rungs(groups, start, measure)
    sums = accumulate((rung.cost for rung in rungs), initial=needed)
    affordable = max(bought for bought, spent in enumerate(sums) if spent <= budget)
    while affordable:
        packed = _packed(groups, rungs[:affordable], start)
        if measure(render(packed)) <= budget:
            return packed
        affordable -= 1  # the line of counts in the prompt grew by a digit
    return bare


def _rungs(groups: Sequence[FindingGroup], start: datetime, measure: Measure) -> list[_Rung]:
    """All purchases, dearest value for tokens first; each group's own stay in their order."""
    empty = measure("")

    def cost(line: str) -> int:
        return measure(f"{line}\n") - empty

    ladders = [_ladder(index, group, start, cost) for index, group in enumerate(groups)]
    return sorted((rung for ladder in ladders for rung in ladder), key=lambda rung: (-rung.worth, rung.index))


def _ladder(index: int, group: FindingGroup, start: datetime, cost: Measure) -> list[_Rung]:
    best_first = sorted(group.findings, key=lambda found: (-found.confidence, found.captured_at, found.finding_id))
    rows = [cost(encode_row(finding, start)) for finding in best_first]
    summary, heading = cost(aggregate_header(group, start)), cost(header(group))
    told, value = WEIGHT[group.severity] * len(rows), WEIGHT[group.severity]
    if heading + sum(rows) <= summary + rows[0]:
        whole = heading + sum(rows)
        return [_Rung(index, group.findings, whole, (told + value) / whole)]
    ladder = [_Rung(index, (), summary, told / summary)]
    for place, (finding, price) in enumerate(zip(best_first, rows, strict=True), start=1):
        worth = min(ladder[-1].worth, WEIGHT[finding.severity] / (place * price))
        ladder.append(_Rung(index, (finding,), price, worth))
    last = ladder[-1]
    ladder[-1] = _Rung(index, last.findings, last.cost + heading - summary, last.worth)
    return ladder


def _packed(groups: Sequence[FindingGroup], bought: Sequence[_Rung], start: datetime) -> Packed:
    rows: dict[int, set[int]] = {}
    for rung in bought:
        rows.setdefault(rung.index, set()).update(finding.finding_id for finding in rung.findings)
    shown = []
    placements: dict[int, Placement] = {}
    for index, group in enumerate(groups):
        listed = rows.get(index, set())
        rest = Placement.AGGREGATE if index in rows else Placement.TOTALS
        for finding in group.findings:
            placements[finding.finding_id] = Placement.ROW if finding.finding_id in listed else rest
        if index in rows:
            shown.append(Shown(group, tuple(finding for finding in group.findings if finding.finding_id in listed)))
    text = "".join(encode_group(one.group, one.listed, start) for one in shown)
    return Packed(tuple(shown), placements, text)
