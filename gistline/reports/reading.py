"""Read a sentence: what is each of its numbers, times and names, whose is it, and is that so?

A sentence is read clause by clause. A clause is about the cameras and classes that it names; what it does not name it
takes from the clauses before it. The words around a number tell its measure (:mod:`gistline.reports.lexicon`), and the
number must be the one of that measure in that scope: seven ``open`` on one camera is true of no other. A number whose
measure the words do not tell is decided by the claim that the writer put beside the sentence, if there is one, it is
true, and it is about nothing that the sentence does not name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from gistline.domain import Language
from gistline.reports.draft import Claim, Measure
from gistline.reports.facts import OF_FRAMES, Facts, Scope
from gistline.reports.lexicon import LEXICON, NAME, Lexicon, Rule, number_of
from gistline.reports.names import Masked, mask, normal, shown

_TIME = re.compile(
    r"(?:(?P<day>\d{4}-\d\d-\d\d)[ T]+)?(?:(?P<half>上午|下午|晚上|凌晨)\s*)?(?<![\d.])(?P<hour>\d{1,2})"
    r"(?::(?P<minute>\d\d)(?::(?P<second>\d\d))?(?![\d%])|[时点](?P<fen>\d{1,2})分(?:(?P<miao>\d{1,2})秒)?)"
    r"(?:\s*(?P<noon>[ap]\.?m\b\.?))?",
    re.IGNORECASE,
)
_DATE = re.compile(r"\b(\d{4})(?:-|年)(\d\d?)(?:-|月)(\d\d?)(?:日|\b)")
_NUMBER = re.compile(r"(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)?|(?<=[^\x00-\x7f])\d+(?:\.\d+)?")
_UNIT = re.compile(rf"\s*(?:%|{NAME}|[^\W\d_]+)")
_LIST_ITEM = re.compile(r"^\s*\d+[.)]\s+")
_EACH = re.compile(r"\beach\b|\bper\b|\beither\b|各|均为|都有", re.IGNORECASE)
_TIMES = frozenset({Measure.FIRST, Measure.LAST, Measure.TIME})
_PERCENTS = frozenset({Measure.SHARE, Measure.HIGHEST, Measure.MEAN, Measure.CONFIDENCE})
_BARE = frozenset({*Measure}) - _TIMES - _PERCENTS - {Measure.PIXELS, Measure.SECONDS, Measure.SEVERITY}
"""Measures of numbers without a unit of their own."""


_LISTED: Mapping[Measure, Callable[[Scope], frozenset[str]]] = {
    Measure.CAMERAS: lambda named: named.cameras,
    Measure.CLASSES: lambda named: named.labels,
}


EVERYTHING = Scope()


class Truth(Enum):
    """What came of reading a number: traced, contradicted, or of no known measure."""

    TRACED = "traced"
    FALSE = "false"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Said:
    """One number, time or name as said, and what it was traced to; ``measure`` is None for names and the unknown."""

    said: str
    sentence: str
    supported: bool
    measure: Measure | None = None
    scope: Scope = EVERYTHING


@dataclass(frozen=True, slots=True)
class _Clause:
    """A clause with what it is about. ``own`` is what it names itself; ``joined`` adds names listed just before."""

    text: str
    own: Scope
    scope: Scope
    whole: bool


@dataclass(frozen=True, slots=True)
class _Sentence:
    """All that a sentence names, and whether it speaks of shares."""

    named: Scope
    shares: bool


class Reader:
    """Reads the prose of one window's report."""

    def __init__(self, facts: Facts, language: Language) -> None:
        self._facts = facts
        self._words: Lexicon = LEXICON[language]
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
        about = _Sentence(self._scope_of(masked.found(sentence)), bool(self._words.share.search(sentence)))
        for clause in self._clauses(sentence, masked):
            unknown = [name for name in masked.found(clause.text) if name not in self._real and name != self._line]
            yield from (Said(f"`{name}`", readable, supported=False) for name in unknown)
            reading = _Reading(self._facts, self._words, clause, about)
            for said in reading.everything(claims):
                yield replace(said, said=masked.readable(said.said), sentence=readable)

    def _clauses(self, sentence: str, masked: Masked) -> Iterator[_Clause]:
        inherited, listed = Scope(), Scope()
        for text in self._words.clause.split(self._words.kept.sub(r"\1 = ", sentence)):
            own = self._scope_of(masked.found(text))
            about = _union(own, listed) if own != Scope() else own
            inherited = Scope(about.cameras or inherited.cameras, about.labels or inherited.labels)
            whole = own == Scope() and bool(self._words.whole.search(text))
            yield _Clause(text, own, inherited, whole)
            only_names = own != Scope() and not self._words.filler.sub("", re.sub(NAME, "", text))
            listed = about if only_names else Scope()

    def _scope_of(self, names: Sequence[str]) -> Scope:
        found = {self._real[name] for name in names if name in self._real}
        return Scope(frozenset(found & self._facts.cameras), frozenset(found & self._facts.labels))


class _Reading:
    """The numbers of one clause."""

    def __init__(self, facts: Facts, words: Lexicon, clause: _Clause, sentence: _Sentence) -> None:
        self._facts = facts
        self._named, self._shares = sentence.named, sentence.shares
        self._words = words
        self._clause = clause

    def everything(self, claims: list[Claim]) -> Iterator[Said]:
        text = self._clause.text
        yield from self._regions(text)
        text = yield from self._times(text, claims)
        text = yield from self._dates(text)
        for start, end, value in self._numbers(text):
            yield self._number(text, (start, end), value, claims)

    def _numbers(self, text: str) -> list[tuple[int, int, float]]:
        digits = [(one.start(), one.end(), float(one[0].replace(",", ""))) for one in _NUMBER.finditer(text)]
        words = [(*one.span("word"), float(number_of(one["word"]))) for one in self._words.words.finditer(text)]
        return sorted([*digits, *words])

    def _regions(self, text: str) -> Iterator[Said]:
        told = [one for one in self._words.regions.items() if one[0] in text.lower()]
        found = self._facts.regions(self._clause.scope) if told else frozenset()
        if None in found or not found:
            return
        for words, regions in told:
            if not regions & found:
                yield Said(words, "", supported=False, scope=self._clause.scope)

    def _dates(self, text: str) -> Generator[Said, None, str]:
        data = self._facts.data
        days = {(day.year, day.month, day.day) for day in (data.starts_at, data.ends_at)}
        for match in _DATE.finditer(text):
            yield Said(match[0], "", supported=tuple(map(int, match.groups())) in days, measure=Measure.TIME)
        return _DATE.sub(" ", text)

    def _times(self, text: str, claims: list[Claim]) -> Generator[Said, None, str]:
        kept = []
        end = 0
        for match in _TIME.finditer(text):
            said, measure = _clock_of(match), self._edge(text, match)
            truth = Truth.TRACED if self._is_time(said, measure) else Truth.FALSE
            if match["day"] and match["day"] not in self._days():
                truth = Truth.FALSE
            claim = _claim_for(said, claims)
            told = truth is Truth.TRACED and (claim is None or self._claim_holds(claim, _TIMES))
            yield Said(match[0].strip(), "", told, measure, self._clause.scope)
            kept.append(text[end : match.start()])
            end = match.end()
        return " ".join([*kept, text[end:]])

    def _days(self) -> set[str]:
        return {f"{day:%Y-%m-%d}" for day in (self._facts.data.starts_at, self._facts.data.ends_at)}

    def _edge(self, text: str, match: re.Match[str]) -> Measure:
        before, after, words = text[: match.start()], text[match.end() :], self._words
        if words.first_before.search(before) or words.first_after.match(after):
            return Measure.FIRST
        if words.last_before.search(before) or words.last_after.match(after):
            return Measure.LAST
        return Measure.TIME

    def _is_time(self, said: str, measure: Measure) -> bool:
        data, scope = self._facts.data, self._clause.scope
        true = set(self._facts.times(measure, scope))
        if scope == Scope():
            true |= self._facts.times(measure, self._named)  # "between ... and ..., this camera ..."
            edges = {Measure.FIRST: [data.starts_at], Measure.LAST: [data.ends_at]}
            true |= {f"{edge:%H:%M:%S}" for edge in edges.get(measure, [data.starts_at, data.ends_at])}
        return any(time.startswith(said) for time in true)

    def _number(self, text: str, span: tuple[int, int], value: float, claims: list[Claim]) -> Said:
        start, end = span
        rule = self._rule(text[:start], text[end:])
        claim = _claim_for(text[start:end], claims)
        truth, scope = self._judge(rule, value, text[:start], text[end:])
        measure = rule.measure if rule else None
        if claim is not None and truth is not Truth.FALSE:
            told = self._claim_holds(claim, self._compatible(rule), whole=rule is not None and rule.of_all)
            told = told and (truth is Truth.TRACED or self._is_about_what_is_named(claim))
            measure, scope = (measure, scope) if truth is Truth.TRACED else (claim.measure, self._claimed(claim))
        elif claim is not None and self._clarifies(claim, rule, value):
            told, scope = True, self._claimed(claim)
        else:
            told = truth is Truth.TRACED
        unit = _UNIT.match(text, end)
        return Said(text[start : unit.end() if unit else end].strip(), "", told, measure, scope)

    def _rule(self, left: str, right: str) -> Rule | None:
        for rule in self._words.rules:
            if (rule.left is None or rule.left.search(left)) and (rule.right is None or rule.right.match(right)):
                return rule
        return None

    def _judge(self, rule: Rule | None, value: float, left: str, right: str) -> tuple[Truth, Scope]:
        scope = self._clause.scope
        if rule is None:
            return Truth.UNKNOWN, scope
        scope = replace(scope, severity=_severity(rule, left, right))
        if rule.of_all:
            true = value in self._facts.wholes(scope)
        else:
            true = self._holds(rule, value, scope) or (self._clause.whole and self._holds(rule, value, Scope()))
        if not true and rule.measure in _PERCENTS and not rule.firm and self._shares:
            true = value in self._facts.numbers(Measure.SHARE, scope)
        if true:
            return Truth.TRACED, scope
        return (Truth.FALSE if rule.firm else Truth.UNKNOWN), scope

    def _holds(self, rule: Rule, value: float, scope: Scope) -> bool:
        def among(part: Scope) -> bool:
            return value * rule.scale in self._facts.numbers(rule.measure, part, rule.axis)

        if rule.measure in _LISTED and value == len(_LISTED[rule.measure](self._named)) > 1:
            return True  # "two cameras: this one and that one"
        members = list(scope.members())
        if self._words.whole.search(self._clause.text):
            return among(scope)
        counts = rule.measure is Measure.COUNT and not scope.cameras
        if counts and self._words.each_camera.search(self._clause.text):
            return all(among(replace(scope, cameras=frozenset({camera}))) for camera in self._facts.cameras)
        if len(members) > 1 and _EACH.search(self._clause.text):
            return all(map(among, members))
        return among(scope) or (len(members) > 1 and rule.measure not in OF_FRAMES and all(map(among, members)))

    def _compatible(self, rule: Rule | None) -> frozenset[Measure]:
        """Measures that a claim may name for a number of this rule, or of none."""
        if rule is None:
            return _BARE
        if rule.measure in _PERCENTS:
            return _PERCENTS if not rule.firm else frozenset({rule.measure, Measure.CONFIDENCE})
        return frozenset({rule.measure})

    def _claim_holds(self, claim: Claim, allowed: frozenset[Measure], *, whole: bool = False) -> bool:
        """Whether a claim is true of the findings, by itself, and of a measure that the words allow."""
        scope = self._claimed(claim)
        known = {claim.camera, claim.defect} <= {"", *self._facts.cameras, *self._facts.labels}
        if not known or claim.measure not in allowed:
            return False
        if claim.measure in _TIMES:
            return True  # the words have told the time already
        value = _NUMBER.search(normal(claim.said))
        number = float(value[0].replace(",", "")) if value else _as_word(self._words, claim.said)
        if number is None:
            return False
        scale = {Measure.SECONDS: (1, 60, 3600)}.get(claim.measure, (1,))
        true = self._facts.numbers(claim.measure, scope)
        wholes = self._facts.wholes(scope) if whole and claim.measure is Measure.COUNT else frozenset()
        return any(number * each in true | wholes for each in scale)

    def _is_about_what_is_named(self, claim: Claim) -> bool:
        """A claim may only speak of what its sentence names, and of what its clause names if that names anything."""
        named, own = self._named, self._clause.own
        if claim.measure in OF_FRAMES:
            return own == Scope()
        camera = not claim.camera or claim.camera in (own.cameras or named.cameras)
        label = not claim.defect or claim.defect in (own.labels or named.labels)
        missed = (own.cameras and not claim.camera) or (own.labels and not claim.defect)
        # What is counted in words unknown here may be a class that does not exist, so a count must name one that does.
        counted = claim.defect if claim.measure is Measure.COUNT else claim.camera or claim.defect
        return camera and label and not missed and bool(counted)

    def _clarifies(self, claim: Claim, rule: Rule | None, value: float) -> bool:
        """Whether a clause, though false with what it inherits, is true of just what it names, as the claim says."""
        own = self._clause.own
        said = own != Scope() and self._claimed(claim) == own != self._clause.scope
        return said and rule is not None and claim.measure is rule.measure and self._holds(rule, value, own)

    def _claimed(self, claim: Claim) -> Scope:
        return Scope(frozenset({claim.camera} - {""}), frozenset({claim.defect} - {""}))


def _union(one: Scope, other: Scope) -> Scope:
    """Names of both; a list of cameras and one of classes are two lists."""
    cameras = one.cameras | other.cameras if one.cameras else one.cameras
    labels = one.labels | other.labels if one.labels else one.labels
    return Scope(cameras or other.cameras, labels or other.labels)


def _severity(rule: Rule, left: str, right: str) -> int:
    for pattern, text in ((rule.left, left), (rule.right, right)):
        if pattern is not None and "severity" in pattern.groupindex:
            match = pattern.search(text) if pattern is rule.left else pattern.match(text)
            return int(match["severity"]) if match else 0
    return 0


def _clock_of(match: re.Match[str]) -> str:
    """``HH:MM`` or ``HH:MM:SS`` of a time as written."""
    hour = int(match["hour"])
    noon = (match["noon"] or "").lower().replace(".", "")
    if (noon == "pm" or match["half"] in {"下午", "晚上"}) and hour < 12:
        hour += 12
    if noon == "am" and hour == 12:
        hour = 0
    minute, second = match["minute"] or match["fen"], match["second"] or match["miao"]
    return f"{hour:02d}:{int(minute):02d}" + (f":{int(second):02d}" if second else "")


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
    if time := _TIME.search(plain):
        return _clock_of(time)
    number = re.search(r"\d+(?:,\d{3})*(?:\.\d+)?", plain)
    return number[0].replace(",", "") if number else plain


def _as_word(words: Lexicon, said: str) -> float | None:
    try:
        return float(number_of(said.strip()))
    except (KeyError, ValueError):
        return None
