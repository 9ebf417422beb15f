"""Windows to write about, and prose about them: what is true and what is not, from the files in tests/prose.

A file holds sentences under the name of their window, each behind ``+`` (true of it) or ``-`` (a lie)::

    [press]
    + 28 findings were recorded on `press-2`.
    - 29 findings were recorded on `press-2`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from gistline.domain import Box, Finding, FrameCounts, FrameId, ImageSize, Language
from gistline.findings.grouping import group_findings
from gistline.reports.check import Checked, check
from gistline.reports.prompt import WindowData
from gistline.reports.render import Line, Rendered, Section
from gistline.reports.totals import count_totals

FOLDER = Path(__file__).parents[1] / "prose"
IMAGE = ImageSize(1200, 900)


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence about the window of this name."""

    window: str
    text: str
    true: bool


def read_prose(name: str, language: Language) -> list[Sentence]:
    """The sentences of ``tests/prose/NAME.LANGUAGE.txt``."""
    return list(_sentences((FOLDER / f"{name}.{language.value}.txt").read_text("utf-8")))


def _sentences(text: str) -> Iterator[Sentence]:
    window = ""
    for line in filter(None, text.splitlines()):
        if line.startswith("["):
            window = line.strip("[]")
        else:
            yield Sentence(window, line[2:], {"+ ": True, "- ": False}[line[:2]])


def read(text: str, data: WindowData, language: Language = Language.ENGLISH) -> Checked:
    """What the checker makes of prose that nobody claimed anything about."""
    return check(Rendered((Section("", (Line(text),)),), language), data)


@dataclass(frozen=True, slots=True)
class _Group:
    """Findings of one class on one camera; ``column`` and ``row`` say in which ninth of the image they lie."""

    camera: str
    label: str
    severity: int
    count: int
    span: tuple[int, int]
    confidence: tuple[int, int]
    column: int = 1
    row: int = 1


def _window(seed: int, line: str, start: datetime, minutes: int, frames: FrameCounts, *groups: _Group) -> WindowData:
    chance = random.Random(seed)  # noqa: S311 - no secret, the same window each time
    found: list[Finding] = []
    for one in groups:
        (first, last), (least, most) = one.span, one.confidence
        seconds = sorted([first, last, *(chance.randint(first, last) for _ in range(one.count - 2))][: one.count])
        sure = [most, *(chance.randint(least, most) for _ in range(one.count - 1))]
        chance.shuffle(sure)
        for second, share in zip(seconds, sure, strict=True):
            key = len(found) + 1
            x = 400 * one.column + chance.randint(20, 330)
            y = 300 * one.row + chance.randint(20, 230)
            found.append(
                Finding(
                    finding_id=key,
                    frame_id=FrameId(UUID(int=key)),
                    camera=one.camera,
                    line=line,
                    label=one.label,
                    confidence=share / 100,
                    box=Box(x, y, chance.randint(8, 40), chance.randint(8, 40)),
                    severity=one.severity,
                    captured_at=start + timedelta(seconds=second),
                    image=IMAGE,
                )
            )
    made = group_findings(found)
    return WindowData(line, start, start + timedelta(minutes=minutes), count_totals(made, frames), made)


def _day(hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 11, 24, hour, minute, tzinfo=UTC)


WINDOWS = {
    "press": _window(
        1,
        "press-2",
        _day(6),
        120,
        FrameCounts(inspected=1840, ng=23, reinspect=6),
        _Group("press-top", "missing-hole", 3, 12, (754, 6890), (55, 97), column=0, row=0),
        _Group("press-top", "scratch", 1, 9, (61, 7011), (31, 74)),
        _Group("press-side", "mouse-bite", 2, 5, (2405, 4216), (48, 88), column=2, row=2),
        _Group("press-side", "scratch", 1, 2, (1333, 5120), (35, 52)),
    ),
    "reflow": _window(
        2,
        "line-3",
        _day(22),
        30,
        FrameCounts(inspected=600, ng=42, reinspect=9, failed=3, expired=1),
        _Group("AOI-1", "short", 3, 20, (14, 1750), (60, 99), column=2, row=0),
        _Group("AOI-1", "open", 3, 6, (302, 1201), (52, 91)),
        _Group("AOI-1", "spur", 2, 4, (90, 1610), (41, 77)),
        _Group("AOI-2", "short", 3, 10, (45, 1688), (58, 95), column=2, row=0),
        _Group("AOI-2", "pin-hole", 1, 3, (610, 900), (33, 69)),
        _Group("AOI-3", "open", 3, 2, (333, 1432), (66, 86)),
        _Group("AOI-4", "spur", 2, 1, (777, 777), (64, 64), column=0, row=2),
        _Group("AOI-4", "pin-hole", 1, 2, (130, 1045), (38, 47)),
        _Group("AOI-5", "short", 3, 1, (1209, 1209), (92, 92), column=2, row=0),
        _Group("AOI-5", "excess-copper", 2, 1, (450, 450), (58, 58)),
    ),
    "parts": _window(
        3,
        "PN 4471-B rev 3",
        _day(13, 30),
        60,
        FrameCounts(inspected=900, ng=15, reinspect=4, failed=2),
        _Group("7号相机", "划痕", 2, 8, (125, 3300), (44, 83), column=0, row=1),
        _Group("7号相机", "缺件", 3, 3, (905, 2711), (71, 96), column=2, row=2),
        _Group("8号相机", "划痕", 2, 1, (1800, 1800), (61, 61)),
        _Group("8号相机", "虚焊", 3, 4, (37, 3590), (50, 89)),
    ),
    "night": _window(
        5,
        "weld-1",
        _day(1),
        240,
        FrameCounts(inspected=4800, ng=60, reinspect=18, failed=5, expired=2),
        _Group("robot-a", "crack", 3, 16, (600, 13800), (62, 98), column=2, row=0),
        _Group("robot-a", "spatter", 1, 25, (180, 14100), (35, 80)),
        _Group("robot-b", "crack", 3, 4, (3000, 9000), (58, 90), column=2, row=0),
        _Group("robot-b", "porosity", 2, 15, (1200, 12900), (47, 86), column=0, row=2),
        _Group("exit", "spatter", 1, 20, (90, 14310), (33, 79)),
    ),
    "lone": _window(
        4,
        "line-9",
        _day(14, 15),
        5,
        FrameCounts(inspected=60, ng=1),
        _Group("gate-4", "open", 3, 1, (102, 102), (87, 87), column=1, row=0),
    ),
}
"""Windows by name: two hours of a press, half an hour of many cameras, an hour with names in Chinese, a night, and one
finding."""
