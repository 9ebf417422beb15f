"""From a window's data to the prompt. Pure: the same data make the same bytes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from importlib import resources

from gistline.domain import FindingGroup, Placement
from gistline.reports.encoding import name
from gistline.reports.pack import Measure, Packed, pack
from gistline.reports.totals import Totals


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
    """The two texts of a request, with the data that they were made from."""

    system: str
    user: str
    data: WindowData
    packed: Packed

    @property
    def text(self) -> str:
        """Both texts as one, for counting."""
        return f"{self.system}\n{self.user}"

    @property
    def sha256(self) -> str:
        """Digest of both texts, to tell later which prompt an answer belongs to."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def build_prompt(data: WindowData, *, budget: int, measure: Measure) -> Prompt:
    """Pack the window's groups and render them.

    ``measure(prompt.text) <= budget`` holds for the result.

    Raises:
        BudgetTooSmall: the instructions and totals alone are over ``budget``.

    """
    rendered = partial(_render, data)
    packed = pack(
        data.groups, data.starts_at, budget=budget, measure=measure, render=lambda choice: rendered(choice).text
    )
    return rendered(packed)


def instructions() -> str:
    """The system prompt, the same for every window."""
    return _read("system.txt")


def _render(data: WindowData, packed: Packed) -> Prompt:
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
        table=data.totals.as_table(),
        groups=packed.text,
    )
    return Prompt(instructions(), user.strip(), data, packed)


def _read(file: str) -> str:
    return (resources.files("gistline.reports") / "prompts" / file).read_text("utf-8").strip()
