"""Read a sentence: what is each of its numbers, times and names, whose is it, and is that so?

A sentence is read clause by clause. A clause is about the cameras and classes that it names; what it does not name it
takes from the clauses before it. The words around a number tell its measure (:mod:`gistline.reports.lexicon`), and the
number must be the one of that measure in that scope: seven ``open`` on one camera is true of no other
(:mod:`gistline.reports.judge`). Where that is not so, the clause is read once more with all names of a list that it
begins or ends, and the number by what was said just before it: its share, its pair, the same of another camera.

A number whose measure the words do not tell is decided by the claim that the writer put beside the sentence, if there
is one, it is true, and it is about nothing that the sentence does not name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from gistline.domain import Language
from gistline.reports.draft import Claim, Measure
from gistline.reports.facts import OF_FRAMES, Facts, Scope
from gistline.reports.judge import PERCENTS, Clause, Judge, Judged, Number, Sentence, Truth, union
from gistline.reports.lexicon import NAME, Lexicon, Relation, Rule
from gistline.reports.lexicon_en import ENGLISH
from gistline.reports.lexicon_zh import CHINESE
from gistline.reports.moments import TIME, blank, clock_of, dates_of
from gistline.reports.names import Masked, mask, normal, shown

LEXICON: Mapping[Language, Lexicon] = {Language.ENGLISH: ENGLISH, Language.CHINESE: CHINESE}

_NUMBER = re.compile(r"(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)?|(?<=[^\x00-\x7f])\d+(?:,\d{3})*(?:\.\d+)?")
_OVER = re.compile(r"(?<=\d)\s*/\s*(?=\d)")
_UNIT = re.compile(rf"\s*(?:%|{NAME}|[^\W\d_]+)")
_LIST_ITEM = re.compile(r"^\s*\d+[.)]\s+")
_TIMES = frozenset({Measure.FIRST, Measure.LAST, Measure.TIME})
_BARE = frozenset({*Measure}) - _TIMES - PERCENTS - {Measure.PIXELS, Measure.SECONDS, Measure.SEVERITY}
"""Measures of numbers without a unit of their own."""

EVERYTHING = Scope()


@dataclass(frozen=True, slots=True)
class Said:
    """One number, time or name as said, and what it was traced to; ``measure`` is None for names and the unknown."""

    said: str
    sentence: str
    supported: bool
    measure: Measure | None = None
    scope: Scope = EVERYTHING


class Reader:
    """Reads the prose of one window's report."""

    def __init__(self, facts: Facts, language: Language) -> None:
        self._facts = facts
        self._words = LEXICON[language]
        self._real = {shown(name): name for name in facts.cameras | facts.labels}
        self._line = shown(facts.data.line)

    def read(self, text: str, claims: Sequence[Claim] = ()) -> Iterator[Said]:
        """Everything checkable that a text says, in its order; each claim is used for one number."""
        masked = mask(text, {*self._real, self._line})
        left = list(claims)
        for line in masked.text.splitlines():
            for sentence in self._words.sentence.split(_LIST_ITEM.sub("", line)):
                yield from self._sentence(sentence, masked, left)

    def _sentence(self, sentence: str, masked: Masked, claims: list[Claim]) -> Iterator[Said]:
        readable = masked.readable(sentence)
        text = self._evened(sentence)
        names = partial(self._names, masked)
        about = Sentence(blank(text), union(names(text)), bool(self._words.share.search(text)))
        lists = [clause for _, clause in self._clauses(self._listed(text, masked), names)]
        reading = _Reading(self._facts, self._words, about, Judge(self._facts, self._words, about, names), lists)
        for told, clause in self._clauses(text, names):
            unknown = [name for name in masked.found(told) if name not in self._real and name != self._line]
            yield from (Said(f"`{name}`", readable, supported=False) for name in unknown)
            for said in reading.everything(told, clause, claims):
                yield replace(said, said=masked.readable(said.said), sentence=readable)

    def _evened(self, sentence: str) -> str:
        """What belongs together in one clause, and a part over its whole in words."""
        words = self._words
        return _OVER.sub(words.over, words.bracketed.sub(r"\1\2", words.kept.sub(r"\1 = ", sentence)))

    def _listed(self, text: str, masked: Masked) -> str:
        """The text with nothing but spaces between the names of a list of cameras, or of classes."""
        joint = re.compile(rf"(?<=({NAME}))(?:{self._words.joints.pattern})(?=({NAME}))")

        def even(match: re.Match[str]) -> str:
            one, other = self._names(masked, match[1]), self._names(masked, match[2])
            alike = one and other and bool(one[0].cameras) == bool(other[0].cameras)
            return " " * len(match[0]) if alike else match[0]

        return joint.sub(even, text)

    def _clauses(self, text: str, names: partial[list[Scope]]) -> Iterator[tuple[str, Clause]]:
        """Each clause as it stands, and what it is about."""
        bare, lead = blank(text), ""
        inherited, listed = Scope(), Scope()
        for start, told in self._pieces(text):
            own = union(names(told))
            about = _join(own, listed) if own != Scope() else own
            scope = Scope(about.cameras or inherited.cameras, about.labels or inherited.labels)
            whole = own == Scope() and bool(self._words.whole.search(told))
            yield told, Clause(start, bare[start : start + len(told)], own, inherited, scope, whole, lead)
            only_names = own != Scope() and not self._words.filler.sub("", re.sub(NAME, "", told))
            inherited, listed, lead = scope, about if only_names else Scope(), told

    def _pieces(self, text: str) -> Iterator[tuple[int, str]]:
        start = 0
        for cut in self._words.clause.finditer(text):
            yield start, text[start : cut.start()]
            start = cut.end()
        yield start, text[start:]

    def _names(self, masked: Masked, text: str) -> list[Scope]:
        """The scope of each camera and class of a text, in its order."""
        real = [self._real[name] for name in masked.found(text) if name in self._real]
        return [Scope(frozenset({name} & self._facts.cameras), frozenset({name} & self._facts.labels)) for name in real]


class _Reading:
    """The numbers of one sentence. ``lists`` are its clauses when the names of each list are taken together."""

    def __init__(self, facts: Facts, words: Lexicon, sentence: Sentence, judge: Judge, lists: Sequence[Clause]) -> None:
        self._facts, self._words, self._sentence, self._judge = facts, words, sentence, judge
        self._lists = lists
        self._earlier: list[Judged] = []

    def everything(self, told: str, clause: Clause, claims: list[Claim]) -> Iterator[Said]:
        """All that a clause says, ``told`` as it stands."""
        yield from self._regions(told, clause)
        yield from self._times(told, clause, claims)
        yield from self._dates(told)
        for number in self._numbers(clause.text):
            yield self._number(number, clause, claims)

    def _numbers(self, text: str) -> list[Number]:
        digits = [_number_of(one) for one in _NUMBER.finditer(text)]
        words = [
            Number(*one.span("word"), float(self._words.number_of(one["word"])))
            for one in self._words.words.finditer(text)
        ]
        return sorted([*digits, *words], key=lambda one: one.start)

    def _regions(self, text: str, clause: Clause) -> Iterator[Said]:
        told = [one for one in self._words.regions.items() if one[0] in text.lower()]
        found = self._facts.regions(clause.scope) if told else frozenset()
        if None in found or not found:
            return
        for words, regions in told:
            if not regions & found:
                yield Said(words, "", supported=False, scope=clause.scope)

    def _dates(self, text: str) -> Iterator[Said]:
        data = self._facts.data
        days = [(day.year, day.month, day.day) for day in (data.starts_at, data.ends_at)]
        for said, (year, month, day) in dates_of(text):
            true = any((year or one[0], month, day) == one for one in days)
            yield Said(said, "", true, measure=Measure.TIME)

    def _times(self, text: str, clause: Clause, claims: list[Claim]) -> Iterator[Said]:
        for match in TIME.finditer(text):
            said, measure = clock_of(match), self._edge(text, match)
            true = self._is_time(said, measure, clause) and match["day"] in {None, *self._days()}
            claim = _claim_for(said, claims)
            told = true and (claim is None or self._claim_holds(claim, _TIMES))
            yield Said(match[0].strip(), "", told, measure, clause.scope)

    def _days(self) -> set[str]:
        return {f"{day:%Y-%m-%d}" for day in (self._facts.data.starts_at, self._facts.data.ends_at)}

    def _edge(self, text: str, match: re.Match[str]) -> Measure:
        before, after, words = text[: match.start()], text[match.end() :], self._words
        if words.first_before.search(before) or words.first_after.match(after):
            return Measure.FIRST
        if words.last_before.search(before) or words.last_after.match(after):
            return Measure.LAST
        return Measure.TIME

    def _is_time(self, said: str, measure: Measure, clause: Clause) -> bool:
        data, scope = self._facts.data, clause.scope
        true = set(self._facts.times(measure, scope))
        if scope == Scope():
            true |= self._facts.times(measure, self._sentence.named)  # "between ... and ..., this camera ..."
            edges = {Measure.FIRST: [data.starts_at], Measure.LAST: [data.ends_at]}
            true |= {f"{edge:%H:%M:%S}" for edge in edges.get(measure, [data.starts_at, data.ends_at])}
        return any(time.startswith(said) for time in true)

    def _number(self, number: Number, clause: Clause, claims: list[Claim]) -> Said:
        text, start, end = clause.text, number.start, number.end
        claim = _claim_for(text[start:end], claims)
        read, truth = self._read(number, clause)
        rule, scope = read.rule, read.scope
        self._earlier.append(read)
        measure = rule.measure if rule else None
        if truth is Truth.TRACED and rule is not None and _is_derived(rule):
            told = True
        elif claim is not None and truth is not Truth.FALSE:
            told = self._claim_holds(claim, _compatible(rule), whole=rule is not None and rule.of_all)
            told = told and (truth is Truth.TRACED or self._is_about_what_is_named(claim, clause))
            measure, scope = (measure, scope) if truth is Truth.TRACED else (claim.measure, _claimed(claim))
        elif claim is not None and self._clarifies(claim, rule, number, clause):
            told, scope = True, _claimed(claim)
        else:
            told = truth is Truth.TRACED
        unit = _UNIT.match(text, end)
        return Said(text[start : unit.end() if unit else end].strip(), "", told, measure, scope)

    def _read(self, number: Number, clause: Clause) -> tuple[Judged, Truth]:
        """What a number is, and what comes of that: by its words, else by its list, else by what was said before."""
        place = clause.start + number.start
        rule = self._rule(number, clause)

        def read(rule: Rule | None, scope: Scope, truth: Truth) -> tuple[Judged, Truth]:
            end = clause.start + number.end
            return Judged(place, end, number, rule, scope, truth is Truth.TRACED), truth

        if self._is_surely_share(rule, place):
            true = self._judge.is_share(number, self._earlier)
            return read(_SHARE, self._earlier[-1].scope, Truth.TRACED if true else Truth.FALSE)
        if rule is not None and rule.of_all and self._refers_to_nothing(number, clause):
            return read(rule, clause.scope, Truth.FALSE)
        truth, scope = self._judge.judge(rule, number, clause)
        if truth is not Truth.TRACED:
            for other, found in self._otherwise(rule, number, clause):
                return read(other, found, Truth.TRACED)
        return read(rule, scope, truth)

    def _rule(self, number: Number, clause: Clause) -> Rule | None:
        return self._words.rule(clause.text[: number.start], clause.text[number.end :])

    def _otherwise(self, rule: Rule | None, number: Number, clause: Clause) -> Iterator[tuple[Rule | None, Scope]]:
        """Other readings by which the number is true, the most likely first."""
        place = clause.start + number.start
        wide = next(one for one in reversed(self._lists) if one.start <= place)
        moved = replace(number, start=place - wide.start, end=clause.start + number.end - wide.start)
        tries = [(self._rule(moved, wide), moved, wide)]
        last = self._earlier[-1] if self._earlier else None
        if last is not None and last.traced and clause.own != Scope() and _goes_on(last.rule, rule):
            tries += [(last.rule, number, clause), (last.rule, moved, wide)]
        for one, said, where in tries:
            truth, scope = self._judge.judge(one, said, where)
            if truth is Truth.TRACED:
                yield one, scope
        if last is not None and last.traced and _may_be_share(rule):
            between = self._sentence.text[last.end : place]
            if self._words.aside.search(between) and self._judge.is_share(number, self._earlier):
                yield _SHARE, last.scope
        if rule is None or (rule.measure is Measure.COUNT and rule.relation is None):
            yield from self._paired(number, place, clause)

    def _paired(self, number: Number, place: int, clause: Clause) -> Iterator[tuple[Rule | None, Scope]]:
        """A number that stands in a pair for the name in the same place ("21 versus 7")."""
        text, last = self._sentence.text, self._earlier[-1] if self._earlier else None
        after = self._words.pair.match(text, clause.start + number.end)
        scope = None
        if after and _NUMBER.match(text, after.end()):
            scope = self._judge.is_of_pair(number, 0, text[:place])
        elif last is not None and self._words.pair.fullmatch(text[last.end : place]):
            scope = self._judge.is_of_pair(number, 1, text[: last.start])
        if scope is not None:
            yield _COUNT, scope

    def _refers_to_nothing(self, number: Number, clause: Clause) -> bool:
        """Whether "12 of these 31" speaks of a number that the sentence has not said before its 12."""
        said = [one.number.value for one in self._earlier[:-1]]
        refers = self._words.these.search(clause.text[: number.start])
        return bool(said and refers and number.value not in said)

    def _is_surely_share(self, rule: Rule | None, place: int) -> bool:
        """Whether a percentage stands in brackets right behind a count of several findings."""
        last = self._earlier[-1] if self._earlier else None
        if last is None or last.number.value <= 1 or not _may_be_share(rule):
            return False
        counted = last.traced and last.rule is not None and last.rule.measure is Measure.COUNT
        return counted and bool(self._words.surely_share.fullmatch(self._sentence.text[last.end : place]))

    def _claim_holds(self, claim: Claim, allowed: frozenset[Measure], *, whole: bool = False) -> bool:
        """Whether a claim is true of the findings, by itself, and of a measure that the words allow."""
        scope = _claimed(claim)
        known = {claim.camera, claim.defect} <= {"", *self._facts.cameras, *self._facts.labels}
        if not known or claim.measure not in allowed:
            return False
        if claim.measure in _TIMES:
            return True  # the words have told the time already
        value = _NUMBER.search(normal(claim.said))
        number = _number_of(value) if value else _as_word(self._words, claim.said)
        if number is None:
            return False
        scales = {Measure.SECONDS: (1, 60, 3600)}.get(claim.measure, (1,))
        wholes = self._facts.wholes(scope) if whole and claim.measure is Measure.COUNT else frozenset()
        true = self._facts.numbers(claim.measure, scope) | wholes
        return any(number.says(one / scale) for one in true for scale in scales)

    def _is_about_what_is_named(self, claim: Claim, clause: Clause) -> bool:
        """A claim may only speak of what its sentence names, and of what its clause names if that names anything."""
        named, own = self._sentence.named, clause.own
        if claim.measure in OF_FRAMES:
            return own == Scope()
        camera = not claim.camera or claim.camera in (own.cameras or named.cameras)
        label = not claim.defect or claim.defect in (own.labels or named.labels)
        missed = (own.cameras and not claim.camera) or (own.labels and not claim.defect)
        # What is counted in words unknown here may be a class that does not exist, so a count must name one that does.
        counted = claim.defect if claim.measure is Measure.COUNT else claim.camera or claim.defect
        return camera and label and not missed and bool(counted)

    def _clarifies(self, claim: Claim, rule: Rule | None, number: Number, clause: Clause) -> bool:
        """Whether a clause, though false with what it inherits, is true of just what it names, as the claim says."""
        own = clause.own
        said = own != Scope() and _claimed(claim) == own != clause.scope
        same = said and rule is not None and claim.measure is rule.measure and rule.relation is None
        return same and rule is not None and self._judge.holds(rule, number, clause, own)


_SHARE, _COUNT = Rule(Measure.SHARE), Rule(Measure.COUNT)


def _may_be_share(rule: Rule | None) -> bool:
    return rule is not None and (rule.measure is Measure.SHARE or (rule.measure in PERCENTS and not rule.firm))


def _goes_on(last: Rule | None, rule: Rule | None) -> bool:
    """Whether a number may be what the one before it was, of another camera ("10.5 per hour here, 3.5 there")."""
    if last is None:
        return False
    if last.relation is Relation.RATE:
        return rule is None or (rule.measure is Measure.COUNT and rule.relation is None)
    return last.measure in PERCENTS and rule is not None and rule.measure in PERCENTS and not rule.firm


def _is_derived(rule: Rule) -> bool:
    """Whether no measure of a claim can say what a number of this rule is."""
    return rule.relation is not None or bool(rule.plus or rule.less) or rule is _SHARE


def _compatible(rule: Rule | None) -> frozenset[Measure]:
    """Measures that a claim may name for a number of this rule, or of none."""
    if rule is None:
        return _BARE
    if rule.measure in PERCENTS:
        return PERCENTS if not rule.firm else frozenset({rule.measure, Measure.CONFIDENCE})
    return frozenset({rule.measure})


def _claimed(claim: Claim) -> Scope:
    return Scope(frozenset({claim.camera} - {""}), frozenset({claim.defect} - {""}))


def _join(one: Scope, other: Scope) -> Scope:
    """Names of both; a list of cameras and one of classes are two lists."""
    cameras = one.cameras | other.cameras if one.cameras else one.cameras
    labels = one.labels | other.labels if one.labels else one.labels
    return Scope(cameras or other.cameras, labels or other.labels)


def _number_of(match: re.Match[str]) -> Number:
    plain = match[0].replace(",", "")
    return Number(match.start(), match.end(), float(plain), len(plain.partition(".")[2]))


def _claim_for(said: str, claims: list[Claim]) -> Claim | None:
    """The first claim for what was said, which is used up by that."""
    plain = normal(said).strip()
    for place, claim in enumerate(claims):
        if _core(claim.said) == _core(plain):
            return claims.pop(place)
    return None


def _core(said: str) -> str:
    """A number or time without its unit and leading zeros, to tell claims and sentences' numbers apart."""
    plain = normal(said).strip().lower()
    if time := TIME.search(plain):
        return clock_of(time)
    number = re.search(r"\d+(?:,\d{3})*(?:\.\d+)?", plain)
    return number[0].replace(",", "") if number else plain


def _as_word(words: Lexicon, said: str) -> Number | None:
    try:
        return Number(0, len(said), float(words.number_of(said.strip())))
    except (KeyError, ValueError):
        return None
