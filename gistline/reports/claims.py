"""What a model claims beside its sentences about their numbers, held against the findings by itself."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gistline.reports.draft import Claim, Measure
from gistline.reports.facts import OF_FRAMES, Facts, Scope
from gistline.reports.judge import NUMBER, Clause, Number, Sentence
from gistline.reports.lexicon import Lexicon
from gistline.reports.moments import TIME, clock_of
from gistline.reports.names import normal

TIMES = frozenset({Measure.FIRST, Measure.LAST, Measure.TIME})


class Claims:
    """The claims beside a text; each is used for one number."""

    def __init__(self, facts: Facts, words: Lexicon, claims: Sequence[Claim]) -> None:
        self._facts, self._words, self._left = facts, words, list(claims)

    def take(self, said: str) -> Claim | None:
        """The first claim for what was said, which is used up by that."""
        for place, claim in enumerate(self._left):
            if _core(claim.said) == _core(said):
                return self._left.pop(place)
        return None

    def is_true(self, claim: Claim, allowed: frozenset[Measure], *, whole: bool = False) -> bool:
        """Whether a claim is true of the findings, by itself, and of a measure that the words allow."""
        scope = claimed(claim)
        known = {claim.camera, claim.defect} <= {"", *self._facts.cameras, *self._facts.labels}
        if not known or claim.measure not in allowed:
            return False
        if claim.measure in TIMES:
            return True  # the words have told the time already
        value = NUMBER.search(normal(claim.said))
        number = Number.written(value) if value else self._in_words(claim.said)
        if number is None:
            return False
        scales = {Measure.SECONDS: (1, 60, 3600)}.get(claim.measure, (1,))
        wholes = self._facts.wholes(scope) if whole and claim.measure is Measure.COUNT else frozenset()
        true = self._facts.numbers(claim.measure, scope) | wholes
        return any(number.says(one / scale) for one in true for scale in scales)

    def _in_words(self, said: str) -> Number | None:
        try:
            return Number(0, len(said), float(self._words.number_of(said.strip())))
        except (KeyError, ValueError):
            return None


def claimed(claim: Claim) -> Scope:
    """What a claim is about."""
    return Scope(frozenset({claim.camera} - {""}), frozenset({claim.defect} - {""}))


def is_about_what_is_named(claim: Claim, sentence: Sentence, clause: Clause) -> bool:
    """A claim may only speak of what its sentence names, and of what its clause names if that names anything."""
    named, own = sentence.named, clause.own
    if claim.measure in OF_FRAMES:
        return own == Scope()
    camera = not claim.camera or claim.camera in (own.cameras or named.cameras)
    label = not claim.defect or claim.defect in (own.labels or named.labels)
    missed = (own.cameras and not claim.camera) or (own.labels and not claim.defect)
    # What is counted in words unknown here may be a class that does not exist, so a count must name one that does.
    counted = claim.defect if claim.measure is Measure.COUNT else claim.camera or claim.defect
    return camera and label and not missed and bool(counted)


def _core(said: str) -> str:
    """A number or time without its unit and leading zeros, to tell claims and sentences' numbers apart."""
    plain = normal(said).strip().lower()
    if time := TIME.search(plain):
        return clock_of(time)
    number = re.search(r"\d+(?:,\d{3})*(?:\.\d+)?", plain)
    return number[0].replace(",", "") if number else plain
