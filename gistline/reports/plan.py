"""How many calls a window's report takes: one, or several parts and one that joins them, all within one budget.

A window is cut where its token budget is more than one call may take. Groups go to parts by camera and class, so each
is in one part, and each part places all findings of its groups. What the parts report is handed to the last call in at
most :data:`DIGEST_BYTES` each, which are set aside before; so the calls' bounds add up to no more than the budget. The
cut does not depend on the budget, only the number of parts does, and the most telling number is taken; so a larger
budget never says less.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from gistline.domain import FindingGroup, Language
from gistline.errors import BudgetTooSmall
from gistline.reports.pack import Packed
from gistline.reports.prompt import Drafting, Prompt, WindowData, note, totals_prompt, whole_text
from gistline.reports.tokens import Bound
from gistline.reports.totals import Fold, count_totals

MOST_PARTS = 8
"""Most parts of one window."""

DIGEST_BYTES = 1_500
"""Most UTF-8 bytes of a part's report that the joining call reads."""

_HEADER_BYTES = 40
_ROW_BYTES = 18


@dataclass(frozen=True, slots=True)
class Limits:
    """Token limits of a window: ``budget`` for all its calls together, ``call`` for each; and what bounds tokens."""

    budget: int
    call: int
    bound: Bound


@dataclass(frozen=True, slots=True)
class Plan:
    """The prompts of a window: a single one, or several parts, to be joined in at most ``join_tokens`` tokens."""

    prompts: tuple[Prompt, ...]
    packed: Packed
    join_tokens: int = 0

    @property
    def tokens(self) -> int:
        """What all calls take together at most."""
        return self.join_tokens + sum(prompt.used for prompt in self.prompts)

    @property
    def value(self) -> int:
        """What the prompts tell, in the packer's units."""
        return self.packed.value


def plan_calls(data: WindowData, limits: Limits, language: Language) -> Plan:
    """Choose the number of calls whose prompts tell most; the fewest of those that tell the same.

    Raises:
        BudgetTooSmall: not even the totals fit into one call; names the tokens needed.

    """
    whole = Drafting(data, language)
    single = whole.within(min(limits.budget, limits.call), limits.bound)
    plans = [Plan((single,), single.packed)]
    if limits.budget > limits.call and single.packed.value < whole.most_value:
        plans += _in_parts(data, limits, language)
    return max(plans, key=lambda plan: (plan.value, -len(plan.prompts)))


def join_texts(data: WindowData, packed: Packed, digests: Sequence[str], language: Language) -> tuple[str, str]:
    """System and user prompt of the call that joins parts, by what was reported of each."""
    tail = "\n\n".join(_clipped(digest) for digest in digests)
    return totals_prompt(data, packed, language=language, lead=note("join", language), tail=tail)


def _in_parts(data: WindowData, limits: Limits, language: Language) -> Iterator[Plan]:
    for parts in range(2, min(MOST_PARTS, len(data.groups)) + 1):
        cut = _cut(data.groups, parts)
        join = _join_tokens(data, len(cut), limits, language)
        room = min(limits.call, (limits.budget - join) // len(cut))
        if join > limits.call or len(cut) < parts:
            continue
        try:
            prompts = tuple(
                Drafting(_part(data, groups), language, note("part", language, part=place, parts=len(cut))).within(
                    room, limits.bound
                )
                for place, groups in enumerate(cut, start=1)
            )
        except BudgetTooSmall:
            continue
        if all(prompt.fold is Fold.NONE for prompt in prompts):
            yield Plan(prompts, merged([prompt.packed for prompt in prompts]), join)


def merged(parts: Sequence[Packed]) -> Packed:
    """What several prompts show together."""
    placements = {key: place for part in parts for key, place in part.placements.items()}
    return Packed(
        shown=tuple(shown for part in parts for shown in part.shown),
        placements=placements,
        text="".join(part.text for part in parts),
        value=sum(part.value for part in parts),
        bound=sum(part.bound for part in parts),
    )


def _cut(groups: Sequence[FindingGroup], parts: int) -> list[tuple[FindingGroup, ...]]:
    """Groups by camera and class in stretches of about the same size, each in canonical order; fewer where some would
    be empty."""
    ordered = sorted(range(len(groups)), key=lambda place: (groups[place].camera, groups[place].label))
    ends = list(accumulate(_HEADER_BYTES + _ROW_BYTES * len(groups[place].findings) for place in ordered))
    cut: list[list[int]] = [[] for _ in range(parts)]
    for place, end in zip(ordered, ends, strict=True):
        cut[min(parts - 1, (end - 1) * parts // ends[-1])].append(place)
    return [tuple(groups[place] for place in sorted(part)) for part in cut if part]


def _part(data: WindowData, groups: tuple[FindingGroup, ...]) -> WindowData:
    return replace(data, groups=groups, totals=count_totals(groups, data.totals.frames))


def _join_tokens(data: WindowData, parts: int, limits: Limits, language: Language) -> int:
    """Most that the joining call may take: its fixed text, the totals, and as many bytes of digests as are let in."""
    bare = Packed((), {}, "")
    system, user = totals_prompt(data, bare, language=language, lead=note("join", language), tail="")
    digits = 4 * len(str(data.totals.findings))  # the counts of placements, which stand as noughts here
    return limits.bound.of_bytes(len(whole_text(system, user).encode()) + digits + parts * (DIGEST_BYTES + 2))


def _clipped(text: str) -> str:
    """At most :data:`DIGEST_BYTES`, cut at a line's end where there is one."""
    if len(text.encode()) <= DIGEST_BYTES:
        return text
    kept = text.encode()[:DIGEST_BYTES].decode(errors="ignore")
    return kept.rpartition("\n")[0] or kept
