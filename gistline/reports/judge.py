"""Is a number what its words say: the measure of a scope, or what follows from several of them, such as a rate?"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from gistline.reports.draft import Measure
from gistline.reports.facts import OF_FRAMES, Facts, Scope
from gistline.reports.lexicon import Lexicon, Relation, Rule

NUMBER = re.compile(r"(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)?|(?<=[^\x00-\x7f])\d+(?:,\d{3})*(?:\.\d+)?")
PERCENTS = frozenset({Measure.SHARE, Measure.HIGHEST, Measure.MEAN, Measure.CONFIDENCE})
_WHOLE_NUMBERS = frozenset({Measure.COUNT, Measure.CAMERAS, Measure.CLASSES, Measure.GROUPS, *OF_FRAMES})
_LONG_S = 3600
"""Units from this on are rounded to a sixth, unless the words say that they are rounded."""
_SEVERITIES = (1, 2, 3)
_CLOSE = 12
"""Most signs between a part and its whole."""
_HARDLY = 2
"""Most signs beside its number in a clause that says nothing else, such as "(20)" or "（20处）"."""
_EVERYTHING = Scope()


class Truth(Enum):
    """What came of reading a number: traced, contradicted, or of no known measure."""

    TRACED = "traced"
    FALSE = "false"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Number:
    """A number by its place in the text of its clause; ``decimals`` is how many of them are written.

    A fraction in words is a share in per cent, which is so only ``within`` some of them.
    """

    start: int
    end: int
    value: float
    decimals: int = 0
    within: float = 0.5

    @classmethod
    def written(cls, match: re.Match[str]) -> Number:
        """A match of :data:`NUMBER`."""
        plain = match[0].replace(",", "")
        return cls(match.start(), match.end(), float(plain), len(plain.partition(".")[2]))

    def says(self, exact: float) -> bool:
        """Whether it is ``exact``, rounded to the digits that are written."""
        return abs(exact - self.value) <= self.within * 10.0**-self.decimals + 1e-9


@dataclass(frozen=True, slots=True)
class Clause:
    """A clause from ``start`` of its sentence, with what it is about.

    ``text`` has no times and dates any more, at their places are spaces. ``own`` is what it names itself, ``before``
    what the clauses before it did, ``scope`` is both; ``lead`` is the clause before.
    """

    start: int
    text: str
    own: Scope
    before: Scope
    scope: Scope
    whole: bool
    lead: str = ""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A whole sentence, without times and dates; all that it names, and whether it speaks of shares.

    ``times`` are the times of day in it, in seconds.
    """

    text: str
    named: Scope
    shares: bool
    times: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Judged:
    """A number of the sentence that was read before: its place in the sentence, and what it was traced to."""

    start: int
    end: int
    number: Number
    rule: Rule | None
    scope: Scope
    traced: bool


class Judge:
    """Holds the numbers of one sentence against the findings. ``names`` finds the scope of each name of a text."""

    def __init__(
        self, facts: Facts, words: Lexicon, sentence: Sentence, names: Callable[[str], Sequence[Scope]]
    ) -> None:
        self._facts, self._words, self._sentence, self.names = facts, words, sentence, names

    def judge(self, rule: Rule | None, number: Number, clause: Clause) -> tuple[Truth, Scope]:
        """What comes of a number read by a rule in its clause."""
        if rule is None:
            return Truth.UNKNOWN, clause.scope
        left, right = clause.text[: number.start], clause.text[number.end :]
        scope = replace(clause.scope, severity=rule.severity(left, right) or clause.scope.severity)
        if self._is_true(rule, number, clause, scope):
            return Truth.TRACED, scope
        return (Truth.FALSE if rule.firm else Truth.UNKNOWN), scope

    def holds(self, rule: Rule, number: Number, clause: Clause, scope: Scope) -> bool:
        """Whether a number is its rule's measure in a scope: of all of it together, or of each of its members."""
        if number.decimals and rule.measure in _WHOLE_NUMBERS:
            return False
        if rule.plus or rule.less:
            return number.value == self._frames(rule)
        if rule.measure is Measure.SECONDS:
            return self._lasts(rule, number, clause, scope)
        listed = self._is_of_listed(rule.measure, number, clause, scope) if rule.measure in _LISTED else None
        return self._is_among(rule, number, clause, scope) if listed is None else listed

    def _is_among(self, rule: Rule, number: Number, clause: Clause, scope: Scope) -> bool:
        def among(part: Scope) -> bool:
            return any(map(number.says, self._facts.numbers(rule.measure, part, rule.axis)))

        members, spread = list(scope.members()), self._spread(number, clause)
        if spread != "whole" and rule.measure is Measure.COUNT and self._is_of_each_camera(clause, scope):
            members, spread = [replace(scope, cameras=frozenset({one})) for one in self._facts.cameras], "each"
        of_each = len(members) > 1 and rule.measure not in OF_FRAMES and all(map(among, members))
        if spread == "each" and len(members) > 1:
            return of_each
        return among(scope) or (spread != "whole" and of_each)

    def _is_of_listed(self, measure: Measure, number: Number, clause: Clause, scope: Scope) -> bool | None:
        """Whether so many cameras or classes are listed or meant otherwise; None where only the findings can tell."""
        if number.value == len(_LISTED[measure](self._sentence.named)) > 1:
            return self._are_all_listed(measure, number, scope)
        return True if number.value in set(self._how_many(measure, clause, scope)) else None

    def _is_of_each_camera(self, clause: Clause, scope: Scope) -> bool:
        return not scope.cameras and bool(self._words.each_camera.search(clause.text))

    def _of_each(self, clause: Clause, scope: Scope) -> Iterator[int]:
        """The count of a scope, or of each camera where the clause says so."""
        if not self._is_of_each_camera(clause, scope):
            yield self._facts.count(scope)
            return
        yield from (self._facts.count(replace(scope, cameras=frozenset({one}))) for one in self._facts.cameras)

    def is_share(self, number: Number, earlier: Sequence[Judged]) -> bool:
        """Whether a percentage is the share of the number said just before, or of the two before ("9 of 16")."""
        *_, one, other = [None, *earlier]
        if other is None or not other.traced:
            return False
        if one is not None and one.traced and are_part_and_whole(one, other):
            part, whole = sorted((one.number.value, other.number.value))
            return bool(whole) and number.says(100 * part / whole)
        return self._is_share_of(number, other)

    def _is_share_of(self, number: Number, part: Judged) -> bool:
        """Whether a percentage is the share that a number has of some whole."""
        measure = part.rule.measure if part.rule else None
        wholes: set[float] = set()
        if measure is Measure.COUNT:
            wholes.update(self._facts.wholes(part.scope))
        elif measure in OF_FRAMES:
            wholes.update(self._facts.numbers(Measure.FRAMES, _EVERYTHING))
        return any(number.says(100 * part.number.value / whole) for whole in wholes if whole)

    def is_of_pair(self, number: Number, place: int, before: str) -> Scope | None:
        """The scope of a number in a pair ("21 versus 7"), if it is the count of the name in the same ``place``.

        The names are the last two of one kind in the text before the pair.
        """
        names = self.names(before)
        for alike in ([one for one in names if one.cameras], [one for one in names if one.labels]):
            named = alike[-2:]
            if len(named) == 2:
                scope = filled(named[place], others(self._sentence.named, named))
                return scope if number.value == self._facts.count(scope) else None
        return None

    def _is_true(self, rule: Rule, number: Number, clause: Clause, scope: Scope) -> bool:
        if rule.relation is not None:
            return self._related(rule.relation, rule, number, clause, scope)
        if rule.of_all:
            wholes = self._wholes(number, clause, scope) if rule.measure is Measure.COUNT else ()
            whole = self._facts.numbers(rule.measure, _EVERYTHING) if rule.measure is not Measure.COUNT else ()
            return number.value in {*wholes, *whole} or self._are_all_listed(rule.measure, number, scope)
        if rule.measure is Measure.COUNT and (others := set(self._rest(clause, scope))):
            return number.value in others
        if self.holds(rule, number, clause, scope) or (clause.whole and self.holds(rule, number, clause, _EVERYTHING)):
            return True
        if rule.measure in PERCENTS and not rule.firm and self._sentence.shares:
            return any(map(number.says, self._facts.numbers(Measure.SHARE, scope)))
        return False

    def _wholes(self, number: Number, clause: Clause, scope: Scope) -> frozenset[int]:
        """What the whole may be: the findings that it is called by itself ("of the 8 findings on this one"), or any."""
        left = self._words.whole_left.search(clause.text[: number.start])
        right = self._words.whole_right.match(clause.text, number.end)
        own = union(self.names(f"{left[0] if left else ''}{right[0] if right else ''}"))
        if own == _EVERYTHING:
            return self._facts.wholes(scope)
        return frozenset({self._facts.count(replace(own, severity=scope.severity))})

    def _related(self, relation: Relation, rule: Rule, number: Number, clause: Clause, scope: Scope) -> bool:
        count, length = self._facts.count(scope), self._facts.length_s
        counts = {count, *self._rest(clause, scope)}
        severities = self._facts.numbers(Measure.SEVERITY, scope)
        return {
            Relation.ABSENT: lambda: number.value in _SEVERITIES and number.value not in severities,
            Relation.AT_LEAST: lambda: all(number.value <= one for one in self._of_each(clause, scope)),
            Relation.OVER: lambda: all(number.value < one for one in self._of_each(clause, scope)),
            Relation.RATE: lambda: bool(length) and any(number.says(one * rule.scale / length) for one in counts),
            Relation.OF_FRAMES: lambda: self._is_of_frames(rule.measure, number),
            Relation.INTERVAL: lambda: bool(count) and number.says(length / count / rule.scale),
            Relation.RANK: lambda: any(low < number.value <= high for low, high in self._ranks(clause, scope)),
            Relation.RATIO: lambda: any(
                other and number.says(one / other) for one, other in self._sides(number, clause)
            ),
            Relation.MORE: lambda: any(number.value == one - other for one, other in self._sides(number, clause)),
            Relation.FEWER: lambda: any(number.value == other - one for one, other in self._sides(number, clause)),
        }[relation]()

    def _are_all_listed(self, measure: Measure, number: Number, scope: Scope) -> bool:
        """Whether the sentence names so many cameras, or classes, and each has findings of what the clause is about.

        "Two cameras: this one and that one".
        """
        named = self._sentence.named
        parts: dict[Measure, list[Scope]] = {
            Measure.CAMERAS: [replace(scope, cameras=frozenset({one})) for one in named.cameras],
            Measure.CLASSES: [replace(scope, labels=frozenset({one})) for one in named.labels],
        }
        listed = parts.get(measure, [])
        return number.value == len(listed) > 1 and all(map(self._facts.count, listed))

    def _how_many(self, measure: Measure, clause: Clause, scope: Scope) -> Iterator[float]:
        """Other counts of cameras or classes: all others, and those of no camera or class named before."""
        named = _LISTED[measure](self._sentence.named)
        if self._words.rest.search(clause.text):
            yield from (whole - len(named) for whole in self._facts.numbers(measure, _EVERYTHING))
        if measure is Measure.CAMERAS and not clause.own.cameras and clause.own.labels:
            yield from self._facts.numbers(measure, replace(scope, cameras=frozenset()))
        if measure is Measure.CLASSES and not clause.own.labels and clause.own.cameras:
            yield from self._facts.numbers(measure, replace(scope, labels=frozenset()))

    def _is_of_frames(self, measure: Measure, number: Number) -> bool:
        inspected = self._facts.numbers(Measure.FRAMES, _EVERYTHING)
        of_it = self._facts.numbers(measure, _EVERYTHING)
        return any(number.says(100 * part / whole) for part in of_it for whole in inspected if whole)

    def _frames(self, rule: Rule) -> float:
        def of(measure: Measure) -> float:
            return next(iter(self._facts.numbers(measure, _EVERYTHING)))

        return of(rule.measure) + sum(map(of, rule.plus)) - sum(map(of, rule.less))

    def _lasts(self, rule: Rule, number: Number, clause: Clause, scope: Scope) -> bool:
        """A length of time, rounded to the unit it is given in."""
        rounded = rule.scale < _LONG_S or self._words.hedge.search(clause.text[: number.start])
        said = replace(number, within=0.5 if rounded else 1 / 6)
        times = self._sentence.times
        between = {float(abs(one - other)) for one in times for other in times if one != other}
        return any(said.says(span / rule.scale) for span in self._facts.numbers(Measure.SECONDS, scope) | between)

    def _spread(self, number: Number, clause: Clause) -> str:
        """Whether the words nearest to the number speak of all together (whole) or of each; empty where none does."""
        found = [
            (max(match.start() - number.end, number.start - match.end(), 0), spread)
            for spread, words in (("whole", self._words.whole), ("each", self._words.each))
            for match in words.finditer(clause.text)
        ]
        return min(found)[1] if found else ""

    def _rest(self, clause: Clause, scope: Scope) -> Iterator[int]:
        """How many findings all others have, where the clause, or in brackets the one before, speaks of them."""
        words = self._words
        goes_on = len(clause.text.strip("0123456789., ")) <= _HARDLY or words.whole.search(clause.text)
        texts = (clause.text, clause.lead if goes_on and clause.own == _EVERYTHING else "")
        about = next((one for one in texts if words.rest.search(one) and not self.names(one)), None)
        if about is None:
            return
        bases = []
        if scope.cameras and not clause.own.cameras and not words.rest_classes.search(about):
            bases.append(replace(scope, cameras=frozenset()))
        if scope.labels and not clause.own.labels and not words.rest_cameras.search(about):
            bases.append(replace(scope, labels=frozenset()))
        for base in bases:
            yield self._facts.count(base) - self._facts.count(scope)

    def _ranks(self, clause: Clause, scope: Scope) -> Iterator[tuple[int, int]]:
        """For the one camera or class that the clause names: how many have more findings, and at least as many."""
        own, facts = clause.own, self._facts
        others = []
        if len(own.cameras) == 1:
            others.append([replace(scope, cameras=frozenset({one})) for one in facts.cameras])
        if len(own.labels) == 1:
            others.append([replace(scope, labels=frozenset({one})) for one in facts.labels])
        mine = facts.count(scope)
        for counts in (list(map(facts.count, each)) for each in others):
            yield sum(count > mine for count in counts), sum(count >= mine for count in counts)

    def _sides(self, number: Number, clause: Clause) -> Iterator[tuple[int, int]]:
        """The counts of what is compared: of the names on either side of the word that compares."""
        before, after = clause.text[: number.start], clause.text[number.end :]
        if cuts := list(self._words.than_after.finditer(after)):
            one, other = before + after[: cuts[-1].start()], after[cuts[-1].end() :]
        elif cuts := list(self._words.than_before.finditer(before)):
            one, other = before[: cuts[-1].start()], before[cuts[-1].end() :]
        else:
            return
        left, right = filled(union(self.names(one)), clause.before), union(self.names(other))
        if right != _EVERYTHING:
            yield self._facts.count(left), self._facts.count(filled(right, left))


_LISTED: dict[Measure, Callable[[Scope], frozenset[str]]] = {
    Measure.CAMERAS: lambda named: named.cameras,
    Measure.CLASSES: lambda named: named.labels,
}


def are_part_and_whole(one: Judged, other: Judged) -> bool:
    """Whether two numbers that follow each other are a part and its whole ("9 of 16", "16处中的9处")."""
    return other.start - one.end <= _CLOSE and _is_whole(one.rule) is not _is_whole(other.rule)


def _is_whole(rule: Rule | None) -> bool:
    return rule is not None and (rule.of_all or rule.measure is Measure.FRAMES)


def _without_inherited(measure: Measure, clause: Clause) -> Iterator[Scope]:
    """How many cameras or classes there are is no question to one that was named in an earlier clause."""
    own, scope = clause.own, clause.scope
    if measure is Measure.CAMERAS and not own.cameras and own.labels:
        yield replace(scope, cameras=frozenset())
    if measure is Measure.CLASSES and not own.labels and own.cameras:
        yield replace(scope, labels=frozenset())


def union(scopes: Sequence[Scope]) -> Scope:
    """All that several scopes name."""
    cameras = frozenset[str]().union(*(one.cameras for one in scopes))
    return Scope(cameras, frozenset[str]().union(*(one.labels for one in scopes)))


def filled(scope: Scope, other: Scope) -> Scope:
    """A scope that takes from another what it does not name itself."""
    return Scope(scope.cameras or other.cameras, scope.labels or other.labels, scope.severity or other.severity)


def others(named: Scope, taken: Sequence[Scope]) -> Scope:
    """What is named beside the kind of name that a comparison is about."""
    about = union(taken)
    return Scope(frozenset() if about.cameras else named.cameras, frozenset() if about.labels else named.labels)
