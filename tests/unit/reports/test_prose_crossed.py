"""The likeliest lie: a number that is true of something else. Each number of a true sentence is replaced by each other.

Sentences are made of templates for every two cameras and each class of a window, in both languages.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

import pytest

from gistline.domain import Language
from gistline.reports.prompt import WindowData
from tests.support.prose import WINDOWS, read

TEMPLATES = {
    Language.ENGLISH: (
        "`{a}` and `{b}` together have {ab} findings.",
        "`{l}` on `{a}` ({al}) is more frequent than on `{b}` ({bl}).",
        "`{a}` leads with {an} findings ({share}%), followed by `{b}` with {bn}.",
        "`{a}`: {al} x `{l}`, `{b}`: {bl} x `{l}`.",
        "With {an} findings, `{a}` is worst, ahead of `{b}` ({bn}).",
        "Of {ln} `{l}` findings, {al} are on `{a}`.",
        "`{a}` and `{b}` have {an} and {bn} findings respectively.",
        "{al} of the {an} findings on `{a}` are `{l}`.",
    ),
    Language.CHINESE: (
        "`{a}`和`{b}`合计{ab}处缺陷。",
        "`{a}`的`{l}`（{al}处）多于`{b}`（{bl}处）。",
        "`{a}`最多，有{an}处（{share}%），其次是`{b}`，{bn}处。",
        "`{a}`：{al}处`{l}`，`{b}`：{bl}处`{l}`。",
        "`{l}`共{ln}处，其中`{a}`{al}处。",
        "`{a}`和`{b}`分别有{an}处和{bn}处。",
        "`{a}`的{an}处缺陷中有{al}处是`{l}`。",
    ),
}


def counted(data: WindowData, camera: str = "", label: str = "") -> int:
    groups = (one for one in data.groups if camera in {"", one.camera} and label in {"", one.label})
    return sum(len(one.findings) for one in groups)


def cases(data: WindowData) -> Iterator[tuple[dict[str, str], dict[str, int]]]:
    """Names and true numbers for the templates."""
    for a, b in permutations(data.totals.by_camera, 2):
        for label in data.totals.by_label:
            an, bn, al = counted(data, a), counted(data, b), counted(data, a, label)
            counts = {"an": an, "bn": bn, "ab": an + bn, "al": al, "bl": counted(data, b, label)}
            if al:
                share = round(100 * an / data.totals.findings)
                yield {"a": a, "b": b, "l": label}, {**counts, "ln": counted(data, "", label), "share": share}


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("window", ["press", "parts"])
def test_a_number_of_something_else_is_flagged_and_the_right_one_is_not(window: str, language: Language) -> None:
    data = WINDOWS[window]
    totals, groups = data.totals, (len(one.findings) for one in data.groups)
    pool = {*groups, *totals.by_camera.values(), *totals.by_label.values(), totals.findings}
    flagged, missed, lies = [], [], 0
    for names, numbers in cases(data):
        for template in TEMPLATES[language]:
            true = template.format(**names, **numbers)
            flagged += [true] if read(true, data, language).unsupported else []
            for key in (one for one in numbers if f"{{{one}}}" in template):
                for other in pool - {numbers[key]}:
                    lie = template.format(**names, **{**numbers, key: other})
                    lies += 1
                    missed += [] if read(lie, data, language).unsupported else [lie]
    assert (flagged, missed) == ([], [])
    assert lies > 300
