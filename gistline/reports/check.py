"""Trace every number, time and name of a report to the findings; what can't be traced is named.

The check is strict: a number that nothing tells the measure of, and a name in backticks that the window does not hold,
count as unsupported. How a sentence is read: :mod:`gistline.reports.reading`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from gistline.domain import Language
from gistline.reports.facts import Facts, Scope
from gistline.reports.phrases import PHRASES
from gistline.reports.prompt import WindowData
from gistline.reports.reading import Reader
from gistline.reports.render import Rendered
from gistline.reports.sentence import Said


@dataclass(frozen=True, slots=True)
class Checked:
    """Everything that each line of a report says, in the order of its text, with what it was traced to."""

    lines: tuple[tuple[str, tuple[Said, ...]], ...]

    @property
    def said(self) -> tuple[Said, ...]:
        """Everything, line after line."""
        return tuple(said for _, found in self.lines for said in found)

    @property
    def supported_text(self) -> str:
        """The lines in which everything is supported, each as a JSON string on a line of its own."""
        kept = (text for text, found in self.lines if all(said.supported for said in found))
        return "\n".join(json.dumps(text, ensure_ascii=False) for text in kept)

    @property
    def unsupported(self) -> tuple[Said, ...]:
        """What the findings do not support, each once."""
        return tuple(dict.fromkeys(one for one in self.said if not one.supported))

    def evidence(self, data: WindowData) -> list[dict[str, Any]]:
        """What each number rests on, for the database: its measure, the cameras and classes, how many findings."""
        facts = Facts(data)
        return [_evidence(place, one, facts) for place, one in enumerate(self.said, start=1)]


def check(report: Rendered, data: WindowData) -> Checked:
    """Read a rendered report line by line."""
    reader = Reader(Facts(data), report.language)
    return Checked(tuple((line.text, tuple(reader.read(line.text, line.claims))) for line in report.lines))


def with_unsupported(body: str, found: tuple[Said, ...], language: Language) -> str:
    """The report, and under it what could not be traced."""
    if not found:
        return body
    words = PHRASES[language]
    listed = "\n".join(f"- {words.within.format(said=one.said, sentence=one.sentence.lstrip('#- '))}" for one in found)
    return f"{body}\n\n---\n\n**{words.unsupported}**\n\n{listed}"


def _evidence(place: int, said: Said, facts: Facts) -> dict[str, Any]:
    scope: Scope = said.scope
    return {
        "place": place,
        "said": said.said,
        "sentence": said.sentence,
        "supported": said.supported,
        "measure": said.measure.value if said.measure else None,
        "cameras": sorted(scope.cameras),
        "labels": sorted(scope.labels),
        "severity": scope.severity,
        "findings": facts.count(scope),
    }
