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
from dataclasses import replace
from functools import partial

from gistline.domain import Language
from gistline.reports.claims import Claims
from gistline.reports.draft import Claim
from gistline.reports.facts import Facts, Scope
from gistline.reports.judge import Clause, Judge, Sentence, union
from gistline.reports.lexicon import NAME, Lexicon
from gistline.reports.lexicon_en import ENGLISH
from gistline.reports.lexicon_zh import CHINESE
from gistline.reports.moments import blank, seconds_of
from gistline.reports.names import Masked, mask, shown
from gistline.reports.sentence import Said, SentenceReader

LEXICON: Mapping[Language, Lexicon] = {Language.ENGLISH: ENGLISH, Language.CHINESE: CHINESE}

_OVER = re.compile(r"(?<=\d)\s*/\s*(?=\d)")
_BRACKETS = re.compile(
    r"[(（][^()（）]*[)）]|, (?:i\.e\. |or |that is )[^,;()]*,"
    r"|, [^,;()\ue000-\uf8ff]{1,40},(?= (?:are|is|was|were|come|came)\b)"
)
"""What is said in brackets, or as if in brackets between commas."""
_LIST_ITEM = re.compile(r"^\s*\d+[.)]\s+")


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
        left = Claims(self._facts, self._words, claims)
        for line in masked.text.splitlines():
            for sentence in self._words.sentence.split(_LIST_ITEM.sub("", line)):
                yield from self._sentence(sentence, masked, left)

    def _sentence(self, sentence: str, masked: Masked, claims: Claims) -> Iterator[Said]:
        readable = masked.readable(sentence)
        text = self._evened(sentence)
        names = partial(self._names, masked)
        about = Sentence(blank(text), union(names(text)), bool(self._words.share.search(text)), seconds_of(text))
        texts = (self._listed(one, masked) for one in (text, _BRACKETS.sub(_spaces, text)))
        wider = [[clause for _, clause in self._clauses(one, names)] for one in texts]
        reading = SentenceReader(self._facts, self._words, about, Judge(self._facts, self._words, about, names), wider)
        for told, clause in self._clauses(text, names):
            unknown = [name for name in masked.found(told) if name not in self._real and name != self._line]
            yield from (Said(f"`{name}`", readable, supported=False) for name in unknown)
            for said in reading.everything(told, clause, claims):
                yield replace(said, said=masked.readable(said.said), sentence=readable)

    def _evened(self, sentence: str) -> str:
        """What belongs together in one clause, and a part over its whole in words."""
        words = self._words
        sentence = words.in_words.sub(r"= \1", sentence)
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


def _join(one: Scope, other: Scope) -> Scope:
    """Names of both; a list of cameras and one of classes are two lists."""
    cameras = one.cameras | other.cameras if one.cameras else one.cameras
    labels = one.labels | other.labels if one.labels else one.labels
    return Scope(cameras or other.cameras, labels or other.labels)


def _spaces(match: re.Match[str]) -> str:
    return " " * len(match[0])
