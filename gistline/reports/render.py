"""From a draft to Markdown: the draft's prose, and around it everything that the database knows better."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gistline.domain import FindingGroup, Language
from gistline.reports.draft import Claim, Draft, Place, Statement
from gistline.reports.encoding import percent
from gistline.reports.facts import clock
from gistline.reports.names import shown
from gistline.reports.phrases import PHRASES, Phrases, counted
from gistline.reports.prompt import WindowData
from gistline.reports.regions import WORDS, main_region


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the report with its claims."""

    text: str
    claims: tuple[Claim, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report under its heading; ``listed`` ones have a bullet for each line."""

    heading: str
    lines: tuple[Line, ...]
    listed: bool = False


@dataclass(frozen=True, slots=True)
class Rendered:
    """A report by its sections; the first is the headline."""

    sections: tuple[Section, ...]
    language: Language

    @property
    def lines(self) -> Iterator[Line]:
        """Every line in the order of the text."""
        return (line for section in self.sections for line in section.lines)

    @property
    def markdown(self) -> str:
        """The report."""
        joint = PHRASES[self.language].sentence_joint
        headline, *others = self.sections
        return "\n\n".join([f"# {headline.lines[0].text}", *(_section(one, joint) for one in others)])


def render(draft: Draft, data: WindowData, language: Language) -> Rendered:
    """Put a draft between the window's numbers. Places that do not exist stand as they are, and are unsupported."""
    words = PHRASES[language]
    sections = (
        Section("", (_prose(draft.headline),)),
        Section(words.happened, (*_frames(data, language), *map(_prose, draft.happened))),
        Section(words.where, tuple(_places(draft, data, language)), listed=True),
        Section(words.cause, (_prose(draft.cause),)),
        Section(words.check_first, tuple(map(_prose, draft.check_first))),
        Section(words.confidence, (Line(words.levels[draft.confidence]),)),
        Section(words.counts, (Line(_totals(data, words)),)),
    )
    kept = (Section(one.heading, tuple(line for line in one.lines if line.text), one.listed) for one in sections)
    return Rendered(tuple(section for section in kept if section.lines), language)


def render_quiet(data: WindowData, language: Language) -> str:
    """The one-line report on a window in which nothing was found; no LLM is asked for it."""
    words = PHRASES[language]
    parts = [words.quiet.format(line=code(data.line)), *(line.text for line in _frames(data, language, found=False))]
    return words.sentence_joint.join(parts)


def code(name: str) -> str:
    """A name as Markdown code, on one line and without backticks of its own."""
    return f"`{shown(name)}`"


def _section(section: Section, joint: str) -> str:
    if section.listed:
        return f"**{section.heading}**\n\n" + "\n".join(f"- {line.text}" for line in section.lines)
    return f"**{section.heading}** " + joint.join(line.text for line in section.lines)


def _prose(statement: Statement) -> Line:
    """A model's words on one line, as text: no HTML, no link, no heading or list of its own."""
    text = " ".join(statement.text.split()).replace("<", "&lt;").replace("](", "] (").lstrip("#>*-+ ")
    return Line("".join(sign for sign in text if sign.isprintable()), statement.numbers)


def _frames(data: WindowData, language: Language, *, found: bool = True) -> Iterator[Line]:
    frames, totals, words = data.totals.frames, data.totals, PHRASES[language]
    yield Line(
        words.frames.format(
            starts_at=f"{data.starts_at:%Y-%m-%d %H:%M:%S}",
            ends_at=f"{data.ends_at:%Y-%m-%d %H:%M:%S}",
            inspected=f"{counted(frames.inspected, 'frame', language)}",
            ng=frames.ng,
            reinspect=frames.reinspect,
        )
    )
    if frames.failed or frames.expired:
        yield Line(words.losses.format(failed=frames.failed, expired=frames.expired))
    if found:
        numbers = {
            "findings": counted(totals.findings, "finding", language),
            "classes": counted(len(totals.by_label), "class", language),
            "cameras": counted(len(totals.by_camera), "camera", language),
        }
        yield Line(words.found.format(**numbers))


def _places(draft: Draft, data: WindowData, language: Language) -> Iterator[Line]:
    groups = {(shown(group.camera), shown(group.label)): group for group in data.groups}
    named = set()
    for place in draft.places:
        key = shown(place.camera), shown(place.defect)
        group = groups.get(key)
        yield Line(_invented(place) if group is None else place_line(group, language))
        named.add(key)
    if groups.keys() - named:
        yield Line(PHRASES[language].more_places)


def _invented(place: Place) -> str:
    return f"{code(place.camera)}: {code(place.defect)}"


def place_line(group: FindingGroup, language: Language) -> str:
    """Where, how many, since when, in which part of the image, how sure."""
    words = PHRASES[language]
    when = words.at if len(group.findings) == 1 else words.span
    region = main_region(group.findings)
    return words.place.format(
        camera=code(group.camera),
        count=len(group.findings),
        label=code(group.label),
        severity=group.severity,
        when=when.format(first=clock(group.first), last=clock(group.last)),
        region=words.mostly.format(region=WORDS[language][region]) if region else "",
        highest=percent(group.max_confidence),
    )


def _totals(data: WindowData, words: Phrases) -> str:
    def listed(counts: Mapping[str, int]) -> str:
        return words.list_joint.join(f"{code(name)} {count}" for name, count in counts.items())

    totals = data.totals
    return words.totals.format(
        by_label=listed(totals.by_label), by_camera=listed(totals.by_camera), findings=totals.findings
    )
