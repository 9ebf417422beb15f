"""Read the numbers, times and regions of one sentence: by its words, else by what they are said of or beside."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from gistline.reports.claims import TIMES, Claims, claimed, is_about_what_is_named
from gistline.reports.draft import Claim, Measure
from gistline.reports.facts import Facts, Scope
from gistline.reports.judge import (
    NUMBER,
    PERCENTS,
    Clause,
    Judge,
    Judged,
    Number,
    Sentence,
    Truth,
    are_part_and_whole,
    filled,
    others,
    union,
)
from gistline.reports.lexicon import NAME, Lexicon, Relation, Rule
from gistline.reports.moments import TIME, clock_of, dates_of

_UNIT = re.compile(rf"\s*(?:%|{NAME}|[^\W\d_]+)")
_AsRead = tuple[Rule | None, Number, Clause]
"""A number, and by which rule and in which clause it is read."""

_BRACKET = re.compile(r"[()（）]")
_BARE = frozenset({*Measure}) - TIMES - PERCENTS - {Measure.PIXELS, Measure.SECONDS, Measure.SEVERITY}
"""Measures of numbers without a unit of their own."""

FRACTION = 3.0
"""A fraction in words ("two thirds") is true within so many per cent of the whole."""

_OVER = 10.0
"""More than a fraction, or not quite."""

EVERYTHING = Scope()


@dataclass(frozen=True, slots=True)
class Said:
    """One number, time or name as said, and what it was traced to; ``measure`` is None for names and the unknown."""

    said: str
    sentence: str
    supported: bool
    measure: Measure | None = None
    scope: Scope = EVERYTHING


class SentenceReader:
    """The numbers of one sentence.

    ``wider`` has its clauses when the names of each list are taken together, and when what stands in brackets is also
    left out, so that a clause goes on behind it.
    """

    def __init__(
        self, facts: Facts, words: Lexicon, sentence: Sentence, judge: Judge, wider: Sequence[Sequence[Clause]]
    ) -> None:
        self._facts, self._words, self._sentence, self._judge = facts, words, sentence, judge
        self._wider = wider
        self._earlier: list[Judged] = []

    def everything(self, told: str, clause: Clause, claims: Claims) -> Iterator[Said]:
        """All that a clause says, ``told`` as it stands."""
        yield from self._regions(told, clause)
        yield from self._times(told, clause, claims)
        yield from self._dates(told)
        for number in self._numbers(clause.text):
            yield self._number(number, clause, claims)

    def _numbers(self, text: str) -> list[Number]:
        digits = [Number.written(one) for one in NUMBER.finditer(text)]
        fractions = [
            Number(
                *one.span(),
                self._words.fraction(one),
                within=_OVER if self._words.loose.search(text[: one.start()]) else FRACTION,
            )
            for one in self._words.fractions.finditer(text)
        ]
        words = [
            Number(*one.span("word"), float(self._words.number_of(one["word"])))
            for one in self._words.words.finditer(text)
        ]
        words = [one for one in words if not any(part.start <= one.start < part.end for part in fractions)]
        return sorted([*digits, *words, *fractions], key=lambda one: one.start)

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

    def _times(self, text: str, clause: Clause, claims: Claims) -> Iterator[Said]:
        for match in TIME.finditer(text):
            said, measure = clock_of(match), self._edge(text, match)
            true = self._is_time(said, measure, clause) and match["day"] in {None, *self._days()}
            claim = claims.take(said)
            told = true and (claim is None or claims.is_true(claim, TIMES))
            yield Said(match[0].strip(), "", told, measure, clause.scope)

    def _days(self) -> set[str]:
        return {f"{day:%Y-%m-%d}" for day in (self._facts.data.starts_at, self._facts.data.ends_at)}

    def _edge(self, text: str, match: re.Match[str]) -> Measure:
        before, after, words = text[: match.start()], text[match.end() :], self._words
        if words.first_before.search(before) or words.first_after.match(after):
            return Measure.FIRST
        if words.last_before.search(before) or words.last_after.match(after):
            return Measure.LAST
        headed = [bool(heading.search(self._sentence.text)) for heading in words.headings]
        return Measure.FIRST if headed[0] else Measure.LAST if headed[1] else Measure.TIME

    def _is_time(self, said: str, measure: Measure, clause: Clause) -> bool:
        data, scope = self._facts.data, clause.scope
        true = set(self._facts.times(measure, scope))
        if scope == Scope():
            true |= self._facts.times(measure, self._sentence.named)  # "between ... and ..., this camera ..."
            edges = {Measure.FIRST: [data.starts_at], Measure.LAST: [data.ends_at]}
            true |= {f"{edge:%H:%M:%S}" for edge in edges.get(measure, [data.starts_at, data.ends_at])}
        return any(time.startswith(said) for time in true)

    def _number(self, number: Number, clause: Clause, claims: Claims) -> Said:
        text, start, end = clause.text, number.start, number.end
        claim = claims.take(text[start:end])
        read, truth = self._read(number, clause)
        rule, scope = read.rule, read.scope
        self._earlier.append(read)
        measure = rule.measure if rule else None
        if truth is Truth.TRACED and rule is not None and _is_derived(rule):
            told = True
        elif claim is not None and truth is not Truth.FALSE:
            told = claims.is_true(claim, _compatible(rule), whole=rule is not None and rule.of_all)
            told = told and (truth is Truth.TRACED or is_about_what_is_named(claim, self._sentence, clause))
            measure, scope = (measure, scope) if truth is Truth.TRACED else (claim.measure, claimed(claim))
        elif claim is not None and self._clarifies(claim, rule, number, clause):
            told, scope = True, claimed(claim)
        else:
            told = truth is Truth.TRACED
        unit = _UNIT.match(text, end)
        return Said(text[start : unit.end() if unit else end].strip(), "", told, measure, scope)

    def _read(self, number: Number, clause: Clause) -> tuple[Judged, Truth]:
        """What a number is, and what comes of that: by its words, else by its list, else by what was said before."""
        rule = self._rule(number, clause)
        settled = next(self._settled(rule, number, clause), None)
        if settled is not None:
            rule, found = settled
            truth, scope = (Truth.FALSE, clause.scope) if found is None else (Truth.TRACED, found)
        else:
            truth, scope = self._judge.judge(rule, number, clause)
            if truth is not Truth.TRACED:
                otherwise = next(self._otherwise(rule, number, clause), None)
                rule, truth, scope = (otherwise[0], Truth.TRACED, otherwise[1]) if otherwise else (rule, truth, scope)
        start, end = clause.start + number.start, clause.start + number.end
        return Judged(start, end, number, rule, scope, truth is Truth.TRACED), truth

    def _settled(self, rule: Rule | None, number: Number, clause: Clause) -> Iterator[tuple[Rule | None, Scope | None]]:
        """What a number is whose place leaves no other reading: its rule, and its scope or None where that is false."""
        place = clause.start + number.start
        if self._is_surely_share(rule, place):
            yield _SHARE, self._earlier[-1].scope if self._judge.is_share(number, self._earlier) else None
        if (severity := self._severity_said(rule, place)) is not None:
            yield rule, clause.scope if number.value == severity else None
        if rule is not None and rule.of_all and self._refers_to_nothing(number, clause):
            yield rule, None
        if self._words.respective.search(self._sentence.text):
            yield from (
                (one, self._first_true([(one, number, named)])) for one, named in self._respective(number, clause)
            )
        if self._goes_on_with_shares(rule, number, clause):
            wider = [(_SHARE, said, where) for _, said, where in self._wider_readings(number, clause)]
            yield _SHARE, self._first_true([(_SHARE, number, clause), *wider])
        told = self._told_behind(rule, clause) or self._told_ahead(clause)
        if told is not None:
            yield rule, self._first_true([(rule, number, told)])

    def _first_true(self, readings: Sequence[_AsRead]) -> Scope | None:
        found = (self._judge.judge(*reading) for reading in readings)
        return next((scope for truth, scope in found if truth is Truth.TRACED), None)

    def _rule(self, number: Number, clause: Clause) -> Rule | None:
        if number.within in {FRACTION, _OVER}:
            return _SHARE
        return self._words.rule(clause.text[: number.start], clause.text[number.end :])

    def _otherwise(self, rule: Rule | None, number: Number, clause: Clause) -> Iterator[tuple[Rule | None, Scope]]:
        """Other readings by which the number is true, the most likely first."""
        place = clause.start + number.start
        tries = list(self._wider_readings(number, clause))
        last = self._earlier[-1] if self._earlier else None
        if last is not None and last.traced and clause.own != Scope() and _goes_on(last.rule, rule):
            tries += [(last.rule, number, clause), *((last.rule, said, where) for _, said, where in tries)]
        severity = next((one.scope.severity for one in reversed(self._earlier) if one.scope.severity), 0)
        if severity:
            tries.append((rule, number, replace(clause, scope=replace(clause.scope, severity=severity))))
        if clause.own == Scope():
            tries += [(one, number, named) for one, named in self._respective(number, clause)]
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

    def _wider_readings(self, number: Number, clause: Clause) -> Iterator[_AsRead]:
        """The number in the clauses of each wider reading, of the one severity said there, and of its camera afresh."""
        start, end = clause.start + number.start, clause.start + number.end
        for clauses in self._wider:
            at = next(place for place in reversed(range(len(clauses))) if clauses[place].start <= start)
            wide = clauses[at]
            moved = replace(number, start=start - wide.start, end=end - wide.start)
            reading: _AsRead = self._rule(moved, wide), moved, wide
            if not wide.text[moved.start : moved.end].strip():
                # It stands in brackets, and is about what the clause around them is about.
                own = filled(clause.scope, union(self._judge.names(wide.text[moved.start :])))
                reading = self._rule(number, clause), number, replace(clause, own=own, scope=own)
            yield reading
            severities = set(self._words.severity.findall(wide.text))
            if len(severities) == 1:
                of_it = replace(reading[2].scope, severity=int(severities.pop()))
                yield (*reading[:2], replace(reading[2], scope=of_it))
        only_camera = clause.own.cameras and not clause.own.labels
        if only_camera and self._words.afresh.search(self._sentence.text[: clause.start]):
            yield self._rule(number, clause), number, replace(clause, scope=clause.own)

    def _respective(self, number: Number, clause: Clause) -> Iterator[tuple[Rule, Clause]]:
        """A number that belongs to the name in its place of a list before it ("20 and 10 respectively")."""
        text, place = self._sentence.text, clause.start + number.start
        named = [(match.end(), self._judge.names(match[0])) for match in re.finditer(NAME, text[:place])]
        for cameras in (True, False):
            alike = [(end, one) for end, ones in named for one in ones if bool(one.cameras) is cameras]
            if len(alike) < 2 or any(bool(one.cameras) is cameras for one in self._judge.names(text[place:])):
                continue
            places = [one.start for one in self._numbers(text) if one.start >= alike[-1][0]]
            if len(places) == len(alike) and place in places:
                one = alike[places.index(place)][1]
                scope = filled(one, others(self._sentence.named, [one]))
                yield self._rule(number, clause) or _COUNT, replace(clause, own=scope, scope=scope, whole=False)

    def _paired(self, number: Number, place: int, clause: Clause) -> Iterator[tuple[Rule | None, Scope]]:
        """A number that stands in a pair for the name in the same place ("21 versus 7")."""
        text, last = self._sentence.text, self._earlier[-1] if self._earlier else None
        after = self._words.pair.match(text, clause.start + number.end)
        scope = None
        if after and NUMBER.match(text, after.end()):
            scope = self._judge.is_of_pair(number, 0, text[:place])
        elif last is not None and self._words.pair.fullmatch(text[last.end : place]):
            scope = self._judge.is_of_pair(number, 1, text[: last.start])
        if scope is not None:
            yield _COUNT, scope

    def _goes_on_with_shares(self, rule: Rule | None, number: Number, clause: Clause) -> bool:
        """Whether a bare percentage of something else follows a share, outside of any brackets: another share."""
        last = self._earlier[-1] if self._earlier else None
        if last is None or not last.traced or last.rule is None or last.rule.measure is not Measure.SHARE:
            return False
        between = self._sentence.text[last.end : clause.start + number.start]
        return clause.own != Scope() and _goes_on(last.rule, rule) and not _BRACKET.search(between)

    def _told_behind(self, rule: Rule | None, clause: Clause) -> Clause | None:
        """The clause, about what the next one says that it is about ("the highest is 96%, for this on that")."""
        of_some = rule is not None and rule.measure in {Measure.HIGHEST, Measure.MEAN}
        behind = next((one for one in self._wider[0] if one.start > clause.start), None)
        if not of_some or clause.scope != Scope() or behind is None or not self._words.behind.search(behind.text):
            return None
        return replace(clause, own=behind.own, scope=behind.own)

    def _told_ahead(self, clause: Clause) -> Clause | None:
        """The first clause, about what only the next one names ("With 8 findings, this camera is worst")."""
        clauses = self._wider[0]
        begins = clause.start == 0 and clause.own == Scope() and self._words.ahead.search(clause.text)
        if not begins or clause.whole or len(clauses) < 2 or clauses[1].own == Scope():
            return None
        return replace(clause, own=clauses[1].own, scope=clauses[1].own)

    def _severity_said(self, rule: Rule | None, place: int) -> int | None:
        """Of a severity in brackets behind a count of one severity ("39 grave findings (severity 3)"): that one."""
        last = self._earlier[-1] if self._earlier else None
        if rule is None or rule.measure is not Measure.SEVERITY or last is None or not last.traced:
            return None
        return last.scope.severity or None if _BRACKET.search(self._sentence.text[last.end : place]) else None

    def _refers_to_nothing(self, number: Number, clause: Clause) -> bool:
        """Whether "12 of these 31" speaks of a number that the sentence has not said before its 12."""
        said = [one.number.value for one in self._earlier[:-1]]
        refers = self._words.these.search(clause.text[: number.start])
        return bool(said and refers and number.value not in said)

    def _is_surely_share(self, rule: Rule | None, place: int) -> bool:
        """Whether a percentage stands in brackets right behind a count of several findings, or follows "9 of 16"."""
        last = self._earlier[-1] if self._earlier else None
        if last is None or last.number.value <= 1 or not _may_be_share(rule):
            return False
        found = self._words.surely_share.fullmatch(self._sentence.text[last.end : place])
        if found is None or not last.traced or last.rule is None or last.rule.measure is not Measure.COUNT:
            return False
        before = self._earlier[-2] if len(self._earlier) > 1 else None
        part_of = before is not None and are_part_and_whole(before, last)
        return part_of or bool(found["bracket"])

    def _clarifies(self, claim: Claim, rule: Rule | None, number: Number, clause: Clause) -> bool:
        """Whether a clause, though false with what it inherits, is true of just what it names, as the claim says."""
        own = clause.own
        said = own != Scope() and claimed(claim) == own != clause.scope
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
