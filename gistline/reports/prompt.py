"""From a window's data to the prompt. Pure: the same data make the same bytes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Any

from gistline.domain import FindingGroup, Placement
from gistline.errors import BudgetTooSmall
from gistline.reports.encoding import name
from gistline.reports.pack import Packed, only_totals, pack
from gistline.reports.tokens import Ceiling
from gistline.reports.totals import Fold, Totals


@dataclass(frozen=True, slots=True)
class WindowData:
    """What a report is about: a line's window, all its totals and all its groups in canonical order."""

    line: str
    starts_at: datetime
    ends_at: datetime
    totals: Totals
    groups: tuple[FindingGroup, ...]


@dataclass(frozen=True, slots=True)
class Prompt:
    """The two texts of a request, with the data that they were made from.

    ``budget`` and ``used`` are tokens by the measure that the prompt was packed with; ``used`` is at most ``budget``.
    """

    system: str
    user: str
    data: WindowData
    packed: Packed
    fold: Fold
    budget: int
    used: int

    @property
    def text(self) -> str:
        """Both texts as one, for counting."""
        return f"{self.system}\n{self.user}"

    @property
    def account(self) -> dict[str, Any]:
        """How the budget was spent, for the database and for people; ``gap`` is a share of the bound."""
        packed = self.packed
        return {
            "budget": self.budget,
            "used": self.used,
            "fold": self.fold.value,
            "value": packed.value,
            "bound": packed.bound,
            "gap": round(packed.gap, 6),
            "placements": {place.value: count for place, count in packed.counts.items()},
        }


def build_prompt(data: WindowData, *, budget: int, measure: Ceiling) -> Prompt:
    """Pack the window's groups and render them; ``measure(prompt.text) <= budget`` holds for the result.

    Totals that do not fit camera by camera and class by class are folded, and then no group is told of: so a larger
    budget never says less.

    Raises:
        BudgetTooSmall: the instructions and the most folded totals are over ``budget``; names the tokens needed.

    """
    draft = _Draft(data, measure, only_totals(data.groups))
    for fold in Fold:
        needed = measure(draft.text(draft.bare, fold))
        if needed <= budget:
            return draft.within(budget, fold)
    raise BudgetTooSmall(
        f"The instructions and totals of the window need {needed} tokens; the budget is {budget}.",
        cure=f"Set reports.token_budget to {needed} or more, or shorten the window.",
    )


@dataclass(frozen=True, slots=True)
class _Draft:
    """A window's prompt on its way to the form that fits."""

    data: WindowData
    measure: Ceiling
    bare: Packed

    def text(self, packed: Packed, fold: Fold) -> str:
        return f"{instructions()}\n{_user(self.data, packed, fold)}"

    def within(self, budget: int, fold: Fold) -> Prompt:
        packed = self.bare
        if fold is Fold.NONE:
            packed = self._spend(self.measure.bytes_within(budget), len(self.text(packed, fold).encode()))
        user = _user(self.data, packed, fold)
        used = self.measure(f"{instructions()}\n{user}")
        return Prompt(instructions(), user, self.data, packed, fold, budget, used)

    def _spend(self, allowed: int, bare: int) -> Packed:
        """Fill up to ``allowed`` bytes, less what the line of counts may grow by when findings leave the totals."""
        digits = len(str(self.data.totals.findings)) - 1
        room = allowed - bare - 2 * digits
        return pack(self.data.groups, self.data.starts_at, room=room, slack=3 * digits + 1)


def instructions() -> str:
    """The system prompt, the same for every window."""
    return _read("system.txt")


def _user(data: WindowData, packed: Packed, fold: Fold) -> str:
    frames, counts = data.totals.frames, packed.counts
    user = _read("user.txt").format(
        line=name(data.line),
        starts_at=f"{data.starts_at:%Y-%m-%d %H:%M:%S}",
        ends_at=f"{data.ends_at:%Y-%m-%d %H:%M:%S}",
        inspected=frames.inspected,
        ng=frames.ng,
        reinspect=frames.reinspect,
        failed=frames.failed,
        expired=frames.expired,
        findings=data.totals.findings,
        rows=counts[Placement.ROW],
        aggregated=counts[Placement.AGGREGATE],
        counted=counts[Placement.TOTALS],
        deferred=counts[Placement.DEFERRED],
        table=data.totals.as_table(fold),
        groups=packed.text,
    )
    return user.strip()


@cache
def _read(file: str) -> str:
    return (resources.files("gistline.reports") / "prompts" / file).read_text("utf-8").strip()
