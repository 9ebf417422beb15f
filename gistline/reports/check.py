"""Trace every number, time and name of a report to the findings; what can't be traced is named.

A report is read sentence by sentence. A clause is about the cameras and classes that it names; what it does not name
it takes from the clauses before it in the same sentence. A number's kind is told by its unit or its neighbours, and
it must be the number of that kind in that scope: ``7 x `open` on `cam-0``` is true of no other camera. The check is
strict: a number of unknown kind, and a name in backticks that the window does not hold, count as unsupported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gistline.reports.facts import Facts, Scope
from gistline.reports.prompt import WindowData

_SENTENCE = re.compile(r"(?<=[.!?])\**\s+|\n+")
_CLAUSE = re.compile(r"[,;:]\s+|\s+and\s+|[()]")
_TIME = re.compile(
    r"(?:(?P<before>from|since|first(?: \w+)? at|to|until|last(?: \w+)? at)\s+)?"
    r"(?:\d{4}-\d\d-\d\d\s+)?\b(?P<time>\d{1,2}:\d\d(?::\d\d)?)\b",
    re.IGNORECASE,
)
_DATE = re.compile(r"\b\d{4}-\d\d-\d\d\b")
_NUMBER = re.compile(
    r"(?P<before>\bseverity|\bx|\by|\bup to|\bhighest|\bmean|\baverage|\bof)?(?: confidence| the| all)*[\s:]*"
    r"(?<![\w.])(?P<number>\d+(?:[.,]\d+)*)\s*(?P<unit>%|(?:to )?re-inspect|(?!of\b)[^\W\d_]+)?",
    re.IGNORECASE,
)
_CODE = re.compile(r"`([^`\n]*)`")
_PRIVATE = re.compile("[\ue000-\uf8ff]")
"""Characters that stand for names in backticks while a text is cut, so that no name is cut or read."""
_LIST_ITEM = re.compile(r"^\s*\d+[.)]\s+")
_FRAMES = {"frame": "frames", "ng": "ng", "failed": "failed", "expired": "expired", "inspected": "inspected"}
_SECONDS = {"s": 1, "second": 1, "seconds": 1, "min": 60, "minute": 60, "minutes": 60, "h": 3600, "hour": 3600}
_COUNTED = {
    "",
    "x",
    "defect",
    "defects",
    "times",
    "across",
    "are",
    "is",
    "have",
    "has",
    "finding",
    "findings",
    "on",
    "and",
    "of",
    "in",
    "at",
    "each",
    "from",
    "with",
    "all",
    "were",
    "was",
}
"""Words behind a number that leave it a count of findings."""


@dataclass(frozen=True, slots=True)
class Unsupported:
    """Something that a report says and the findings do not: what it says, and the sentence that says it."""

    said: str
    sentence: str


def check(body: str, data: WindowData) -> tuple[Unsupported, ...]:
    """What ``body`` says that ``data`` does not support, in the order of the text; empty when all is traced."""
    facts, text = Facts(data), _PRIVATE.sub(" ", body)
    codes = dict.fromkeys(_CODE.findall(text))
    names = {chr(0xE000 + place): code for place, code in enumerate(codes) if place < 0x1900}
    masks = {code: mask for mask, code in names.items()}
    text = _CODE.sub(lambda match: masks.get(match[1], match[0]), text)

    def readable(part: str) -> str:
        return " ".join(_PRIVATE.sub(lambda match: f"`{names[match[0]]}`", part).split())

    found = []
    for line in text.splitlines():
        for sentence in _SENTENCE.split(_LIST_ITEM.sub("", line)):
            said = _Reading(facts, names).sentence(sentence)
            found += [Unsupported(readable(part), readable(sentence)) for part in said]
    return tuple(dict.fromkeys(found))


def with_unsupported(body: str, found: tuple[Unsupported, ...]) -> str:
    """The report, and under it what could not be traced."""
    if not found:
        return body
    listed = "\n".join(f"- {one.said} (in: {one.sentence.lstrip('#- ')})" for one in found)
    return f"{body}\n\n---\n\n**Not supported by the findings:**\n\n{listed}"


class _Reading:
    """One sentence on its way through its clauses."""

    def __init__(self, facts: Facts, names: Mapping[str, str]) -> None:
        self._facts = facts
        self._names = names
        self._cameras: frozenset[str] = frozenset()
        self._labels: frozenset[str] = frozenset()

    def sentence(self, sentence: str) -> Iterator[str]:
        for clause in _CLAUSE.split(sentence):
            yield from self._clause(clause)

    def _clause(self, clause: str) -> Iterator[str]:
        known = {" ".join(name.replace("`", " ").split()): name for name in self._facts.cameras | self._facts.labels}
        line = " ".join(self._facts.data.line.replace("`", " ").split())
        named = [self._names[mask] for mask in _PRIVATE.findall(clause)]
        rest = _PRIVATE.sub(" ", clause)
        for shown in sorted(known, key=len, reverse=True):
            if (
                re.search(r"[^\W\d_]", shown)
                and (plain := re.sub(rf"(?<![\w-]){re.escape(shown)}(?![\w-])", " ", rest)) != rest
            ):
                rest, named = plain, [*named, shown]
        yield from (f"`{name}`" for name in named if name not in known and name != line)
        about = {known[name] for name in named if name in known}
        self._cameras = frozenset(about & self._facts.cameras) or self._cameras
        self._labels = frozenset(about & self._facts.labels) or self._labels
        scope = Scope(self._cameras, self._labels)
        yield from (match["time"] for match in _TIME.finditer(rest) if not self._time(match, scope))
        yield from self._dates(rest)
        bare = _DATE.sub(" ", _TIME.sub(" ", rest))
        yield from (match.group().strip() for match in _NUMBER.finditer(bare) if not self._number(match, scope))

    def _dates(self, text: str) -> Iterator[str]:
        days = {f"{moment:%Y-%m-%d}" for moment in (self._facts.data.starts_at, self._facts.data.ends_at)}
        yield from (day for day in _DATE.findall(text) if day not in days)

    def _time(self, match: re.Match[str], scope: Scope) -> bool:
        data, before, said = self._facts.data, (match["before"] or "").lower(), match["time"]
        if before in {"from", "since"} or before.startswith("first"):
            true, edge = self._facts.first(scope), data.starts_at
        elif before in {"to", "until"} or before.startswith("last"):
            true, edge = self._facts.last(scope), data.ends_at
        else:
            return any(time.startswith(said.zfill(5)) for time in self._facts.times(scope))
        if scope == Scope():
            true = {*true, f"{edge:%H:%M:%S}"}
        return any(time.startswith(said.zfill(5)) for time in true)

    def _number(self, match: re.Match[str], scope: Scope) -> bool:
        before, unit = (match["before"] or "").lower(), (match["unit"] or "").lower()
        number = float(match["number"].replace(",", ""))
        return number in self._true(before, unit, scope)

    def _true(self, before: str, unit: str, scope: Scope) -> set[int]:
        """All numbers of the kind that these neighbours speak of."""
        facts = self._facts
        if unit in {"%", "percent"}:
            strict = {"up to": facts.highest, "highest": facts.highest, "mean": facts.means, "average": facts.means}
            return strict.get(before, facts.percents)(scope)
        if unit in _SECONDS:
            return {seconds // _SECONDS[unit] for seconds in facts.seconds(scope) if not seconds % _SECONDS[unit]}
        if unit in {"px", "pixel", "pixels"} or (before in {"x", "y"} and not unit):
            return facts.pixels(scope, before if before in {"x", "y"} else "")
        if before == "severity":
            return facts.severities(scope)
        if before == "of" and unit in {"finding", "findings"}:
            return {facts.count(Scope()), facts.count(Scope(cameras=scope.cameras))}
        return self._counted(unit, scope)

    def _counted(self, unit: str, scope: Scope) -> set[int]:
        facts = self._facts
        singular = unit.removesuffix("s") if unit != "class" else unit
        if unit.endswith("inspect"):
            return {facts.frames()["reinspect"]}
        if singular in _FRAMES:
            return {facts.frames()[_FRAMES[singular]]}
        groups = facts.groups(scope)
        if singular == "group":
            return {len(groups)}
        if singular in {"camera", "class", "classe"}:
            return {len({group.camera if singular == "camera" else group.label for group in groups})}
        return {facts.count(scope)} if unit in _COUNTED else set()
