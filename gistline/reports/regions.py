"""Where in the image a box lies, in the words that people use: a grid of three by three."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum

from gistline.domain import Finding, Language

MOSTLY = 0.5
"""Share of a group's findings above which one region speaks for the group."""


class Region(StrEnum):
    """A ninth of the image; the value is the code in prompts."""

    UPPER_LEFT = "ul"
    TOP = "u"
    UPPER_RIGHT = "ur"
    LEFT = "l"
    CENTRE = "c"
    RIGHT = "r"
    LOWER_LEFT = "dl"
    BOTTOM = "d"
    LOWER_RIGHT = "dr"


GRID = tuple(Region)
"""Row by row, from the upper left."""

WORDS: dict[Language, dict[Region, str]] = {
    Language.ENGLISH: {
        Region.UPPER_LEFT: "upper left",
        Region.TOP: "top",
        Region.UPPER_RIGHT: "upper right",
        Region.LEFT: "left",
        Region.CENTRE: "centre",
        Region.RIGHT: "right",
        Region.LOWER_LEFT: "lower left",
        Region.BOTTOM: "bottom",
        Region.LOWER_RIGHT: "lower right",
    },
    Language.CHINESE: {
        Region.UPPER_LEFT: "左上",
        Region.TOP: "上方",
        Region.UPPER_RIGHT: "右上",
        Region.LEFT: "左侧",
        Region.CENTRE: "中央",
        Region.RIGHT: "右侧",
        Region.LOWER_LEFT: "左下",
        Region.BOTTOM: "下方",
        Region.LOWER_RIGHT: "右下",
    },
}


def region_of(finding: Finding) -> Region | None:
    """The ninth that holds the centre of the finding's box; None where the image's size is not known."""
    if finding.image is None:
        return None
    x, y = finding.box.centre
    column = min(2, max(0, int(3 * x / finding.image.width)))
    row = min(2, max(0, int(3 * y / finding.image.height)))
    return GRID[3 * row + column]


def main_region(findings: Iterable[Finding]) -> Region | None:
    """The region of more than half of the findings, None where there is none or where some image's size is unknown."""
    counted = Counter(map(region_of, findings))
    if not counted or None in counted:
        return None
    region, count = max(counted.items(), key=lambda pair: pair[1])
    return region if count > MOSTLY * counted.total() else None
