"""How numbers are spoken of: what stands around a number says what it counts, or how it follows from other numbers.

A :class:`Lexicon` has the patterns of one language; :mod:`gistline.reports.lexicon_en` and
:mod:`gistline.reports.lexicon_zh` are the two. Rules are tried in order; the first one whose patterns fit the text to
the left and to the right of a number names its measure. Names are single private characters (:data:`NAME`) by then. A
rule that is not ``firm`` says what a number most likely is; a claim beside the sentence may say otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from math import nan

from gistline.reports.draft import Measure
from gistline.reports.regions import Region

NAME = "[\ue000-\uf8ff]"


class Relation(Enum):
    """How a number follows from several others; the measure of its rule says which ones."""

    RATE = "so many in an hour or a minute"
    INTERVAL = "one in so much time"
    RATIO = "so many times as many"
    MORE = "so many more than"
    FEWER = "so many fewer than"
    RANK = "in which place"
    ABSENT = "a severity that nothing has"
    OF_FRAMES = "a share of the frames"
    AT_LEAST = "so many or more"
    OVER = "more than so many"


@dataclass(frozen=True, slots=True)
class Rule:
    """``left`` must match up to the number, ``right`` from behind it; ``of_all`` takes the whole of which it is part.

    A group ``severity`` of either pattern, or ``level``, narrows the count to that severity. ``scale`` turns the unit
    into seconds. A number of frames is its measure with all of ``plus`` and without all of ``less``.
    """

    measure: Measure
    left: re.Pattern[str] | None = None
    right: re.Pattern[str] | None = None
    firm: bool = True
    of_all: bool = False
    axis: str = ""
    scale: int = 1
    level: int = 0
    relation: Relation | None = None
    plus: tuple[Measure, ...] = ()
    less: tuple[Measure, ...] = ()

    def fits(self, left: str, right: str) -> bool:
        """Whether a number between these texts is of this rule."""
        return (self.left is None or bool(self.left.search(left))) and (
            self.right is None or bool(self.right.match(right))
        )

    def severity(self, left: str, right: str) -> int:
        """The severity that the texts narrow a count to, 0 for any."""
        for found in (self.left and self.left.search(left), self.right and self.right.match(right)):
            if found and "severity" in found.re.groupindex:
                return int(found["severity"])
        return self.level


@dataclass(frozen=True, slots=True)
class Lexicon:
    """The patterns of one language. ``words`` are numbers written as words, where they count something.

    ``kept`` is what no colon behind it cuts off from its number, ``bracketed`` what no bracket does (its two groups
    belong together), ``in_words`` a bracket that says the words before it again. ``joints`` stand between the names of
    a list. ``over`` is what "/" between two numbers says.

    ``than_after`` and ``than_before`` part the two sides of a comparison, behind its number or before it; ``pair``
    stands between the two numbers of one. ``these`` refers to a number said before, ``aside`` introduces one said in
    other words, ``surely_share`` a share (of a count in a ``bracket``, else of "9 of 16"). ``hedge`` says that a number
    is rounded.

    ``afresh`` ends what a clause may take a class from, ``ahead`` begins one about what only the next one names,
    ``behind`` one that says what the clause before it was about; ``severity`` is one that a whole clause may be about.
    ``whole_left`` and ``whole_right`` belong to a whole as part of its own name. ``respective`` gives each number to
    the name in its place. ``headings`` say of all times behind them that they are first ones, or last ones.

    ``fractions`` are ``part`` and ``whole``, ``loose`` says that one is passed or not quite reached. ``rest`` speaks of
    all others, of other cameras (``rest_cameras``) or classes (``rest_classes``).
    """

    sentence: re.Pattern[str]
    kept: re.Pattern[str]
    bracketed: re.Pattern[str]
    clause: re.Pattern[str]
    filler: re.Pattern[str]
    joints: re.Pattern[str]
    over: str
    first_before: re.Pattern[str]
    first_after: re.Pattern[str]
    last_before: re.Pattern[str]
    last_after: re.Pattern[str]
    whole: re.Pattern[str]
    share: re.Pattern[str]
    each: re.Pattern[str]
    each_camera: re.Pattern[str]
    than_after: re.Pattern[str]
    than_before: re.Pattern[str]
    pair: re.Pattern[str]
    these: re.Pattern[str]
    aside: re.Pattern[str]
    surely_share: re.Pattern[str]
    in_words: re.Pattern[str]
    headings: tuple[re.Pattern[str], re.Pattern[str]]
    afresh: re.Pattern[str]
    ahead: re.Pattern[str]
    behind: re.Pattern[str]
    whole_left: re.Pattern[str]
    whole_right: re.Pattern[str]
    severity: re.Pattern[str]
    respective: re.Pattern[str]
    fractions: re.Pattern[str]
    loose: re.Pattern[str]
    whole_of: Callable[[str], int]
    hedge: re.Pattern[str]
    rest: re.Pattern[str]
    rest_cameras: re.Pattern[str]
    rest_classes: re.Pattern[str]
    words: re.Pattern[str]
    number_of: Callable[[str], int]
    rules: tuple[Rule, ...]
    regions: Mapping[str, frozenset[Region]] = field(default_factory=dict)

    def fraction(self, match: re.Match[str]) -> float:
        """A match of ``fractions`` in per cent; not a number where it is not below the whole."""
        part, whole = self.number_of(match["part"]), self.whole_of(match["whole"])
        return 100 * part / whole if part < whole else nan

    def rule(self, left: str, right: str) -> Rule | None:
        """The first rule that fits a number between these texts."""
        return next((rule for rule in self.rules if rule.fits(left, right)), None)


def rule(
    measure: Measure, left: str = "", right: str = "", *, firm: bool = True, of_all: bool = False, **more: object
) -> Rule:
    """A rule from the sources of its patterns; ``left`` ends where the number begins."""
    before = re.compile(rf"(?:{left})$", re.IGNORECASE) if left else None
    after = re.compile(right, re.IGNORECASE) if right else None
    return Rule(measure, before, after, firm, of_all, **more)  # type: ignore[arg-type]


def pattern(source: str) -> re.Pattern[str]:
    """A pattern that minds no case."""
    return re.compile(source, re.IGNORECASE)
