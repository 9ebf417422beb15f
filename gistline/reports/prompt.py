"""From a window's data to the prompt. Pure: the same data make the same bytes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache, cached_property
from importlib import resources
from typing import Any

from gistline.domain import FindingGroup, Language, Placement
from gistline.errors import BudgetTooSmall
from gistline.reports.draft import schema_text
from gistline.reports.encoding import name
from gistline.reports.pack import NO_LIMIT, Packed, Packer, only_totals
from gistline.reports.tokens import Bound
from gistline.reports.totals import Fold, Totals


@dataclass(frozen=True, slots=True)
class WindowData:
    """What a report is about: a line's window, all its totals and all its groups in canonical order."""

    line: str
    starts_at: datetime
    ends_at: datetime
    totals: Totals
    groups: tuple[FindingGroup, ...]

    @property
    def image_size(self) -> str:
        """``, images WxH pixels`` where all frames with findings are of one known size, else empty."""
        sizes = {finding.image for group in self.groups for finding in group.findings}
        size = sizes.pop() if len(sizes) == 1 else None
        return f", images {size.width}x{size.height} pixels" if size else ""


@dataclass(frozen=True, slots=True)
class Prompt:
    """The texts of a request, with the data that they were made from; the answer's form counts among them.

    ``budget`` and ``used`` are tokens by the measure that the prompt was packed with; ``used`` is at most ``budget``.
    """

    system: str
    user: str
    data: WindowData
    packed: Packed
    fold: Fold
    budget: int
    used: int
    language: Language = Language.ENGLISH

    @property
    def text(self) -> str:
        """All texts as one, for counting."""
        return whole_text(self.system, self.user)

    @property
    def sha256(self) -> str:
        """Digest of all texts, to tell later which prompt an answer belongs to."""
        return hashlib.sha256(self.text.encode()).hexdigest()

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


def build_prompt(
    data: WindowData, *, budget: int, measure: Bound, language: Language = Language.ENGLISH, lead: str = ""
) -> Prompt:
    """Pack the window's groups and render them; ``measure(prompt.text) <= budget`` holds for the result.

    Totals that do not fit camera by camera and class by class are folded, and then no group is told of: so a larger
    budget never says less. ``lead`` stands above the data.

    Raises:
        BudgetTooSmall: the instructions and the most folded totals are over ``budget``; names the tokens needed.

    """
    return Drafting(data, language, lead).within(budget, measure)


class Drafting:
    """A window on its way to a prompt, for any number of budgets: the groups are made ready once."""

    def __init__(self, data: WindowData, language: Language, lead: str = "") -> None:
        self._data = data
        self._language = language
        self._lead = lead
        self._bare = only_totals(data.groups)

    @cached_property
    def _packer(self) -> Packer:
        return Packer(self._data.groups, self._data.starts_at)

    def within(self, budget: int, measure: Bound) -> Prompt:
        """See :func:`build_prompt`."""
        for fold in Fold:
            needed = measure(self._text(self._bare, fold))
            if needed <= budget:
                return self._finish(budget, measure, fold)
        raise BudgetTooSmall(
            f"The instructions and totals of the window need {needed} tokens; the budget is {budget}.",
            cure=f"Set reports.token_budget to {needed} or more, or shorten the window.",
        )

    @cached_property
    def most_value(self) -> int:
        """The value of listing every finding."""
        return self._packer.pack(NO_LIMIT).value

    def _text(self, packed: Packed, fold: Fold) -> str:
        return whole_text(instructions(self._language), self._lead + _user(self._data, packed, fold))

    def _finish(self, budget: int, measure: Bound, fold: Fold) -> Prompt:
        packed = self._bare
        if fold is Fold.NONE:
            packed = self._spend(measure.bytes_within(budget), len(self._text(packed, fold).encode()))
        system, user = instructions(self._language), self._lead + _user(self._data, packed, fold)
        used = measure(whole_text(system, user))
        return Prompt(system, user, self._data, packed, fold, budget, used, self._language)

    def _spend(self, allowed: int, bare: int) -> Packed:
        """Fill up to ``allowed`` bytes, less what the line of counts may grow by when findings leave the totals."""
        digits = len(str(self._data.totals.findings)) - 1
        room = allowed - bare - 2 * digits
        return self._packer.pack(room, slack=3 * digits + 1)


def instructions(language: Language = Language.ENGLISH) -> str:
    """The system prompt of a language, the same for every window."""
    return _read(f"system.{language.value}.txt")


def fixed_text(language: Language) -> str:
    """What every request of a language holds, its answer's form included."""
    return whole_text(instructions(language), "")


def note(name: str, language: Language, **values: int) -> str:
    """A lead for a call that is not the plain one: ``part``, ``join`` or ``repair``."""
    return f"{_read(f'{name}.{language.value}.txt').format(**values)}\n\n"


def totals_prompt(data: WindowData, packed: Packed, *, language: Language, lead: str, tail: str) -> tuple[str, str]:
    """System and user prompt that print the totals alone, though ``packed`` has told of groups elsewhere."""
    bare = replace(packed, text="")
    return instructions(language), f"{lead}{_user(data, bare, Fold.NONE)}\n\n{tail}"


def whole_text(system: str, user: str) -> str:
    """All that is billed as input, as one text for counting: both prompts and the form of the answer."""
    return f"{system}\n{user}\n{schema_text()}"


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
        images=data.image_size,
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
