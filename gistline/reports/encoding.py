"""Findings as short lines that a model reads and a program decodes back.

A group is a header line, its rows follow::

    @cam-3 open s3 n4               severity 3, all 4 findings follow as rows
    12,91,103,44,20,18              seconds after the window's start, confidence in %, x, y, w, h in pixels
    @cam-3 short s3 n40 c88/97 t2..890 ul    mean/highest confidence, first..last second, the ninth of the image that
                                             holds most of them, if one does; rows may follow for some

Names that hold anything but letters, digits, ``_``, ``.`` and ``-`` are written as JSON strings, so that a camera's
name can neither break a line nor pass for an instruction line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime

from gistline.domain import Finding, FindingGroup
from gistline.reports.regions import Region, main_region

_PLAIN = re.compile(r"[\w.\-]+")
_NAME = r'(?:"(?:[^"\\]|\\.)*"|[\w.\-]+)'
_HEADER = re.compile(
    rf"@(?P<camera>{_NAME}) (?P<label>{_NAME}) s(?P<severity>\d+) n(?P<count>\d+)"
    r"(?: c(?P<mean>\d+)/(?P<highest>\d+) t(?P<first>-?\d+)\.\.(?P<last>-?\d+)(?: (?P<region>[udlrc]{1,2}))?)?"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One finding as encoded: whole seconds after the window's start, confidence in per cent, box in whole pixels."""

    seconds: int
    confidence: int
    x: int
    y: int
    w: int
    h: int


@dataclass(frozen=True, slots=True)
class Aggregate:
    """What a header says of its whole group: confidences in per cent, seconds after the window's start, region."""

    mean: int
    highest: int
    first: int
    last: int
    region: Region | None = None


@dataclass(frozen=True, slots=True)
class CodedGroup:
    """A group read back from its lines; ``aggregate`` is None where all its findings stand as rows."""

    camera: str
    label: str
    severity: int
    count: int
    aggregate: Aggregate | None
    rows: tuple[Row, ...]


def name(text: str) -> str:
    """Write a name so that it stays within its line: as it is when plain, else as a JSON string."""
    return text if _PLAIN.fullmatch(text) else "".join(map(_visible, json.dumps(text, ensure_ascii=False)))


def _visible(character: str) -> str:
    """Escapes what ends lines or turns the reading direction without being seen, such as U+2028 and U+202E."""
    return character if character.isprintable() else json.dumps(character)[1:-1]


def percent(share: float) -> int:
    """A share in [0, 1] as whole per cent."""
    return round(100 * share)


def row_of(finding: Finding, start: datetime) -> Row:
    """Round a finding to what a row says; ``start`` is the window's start, and late frames have negative seconds."""
    box = finding.box
    return Row(
        seconds=_seconds(finding.captured_at, start),
        confidence=percent(finding.confidence),
        x=round(box.x),
        y=round(box.y),
        w=round(box.w),
        h=round(box.h),
    )


def encode_row(finding: Finding, start: datetime) -> str:
    """One finding as one line, without its line end."""
    return encode_cells(astuple(row_of(finding, start))).rstrip("\n")


def header(group: FindingGroup) -> str:
    """The line above a group of which every finding follows as a row."""
    return f"@{name(group.camera)} {name(group.label)} s{group.severity} n{len(group.findings)}"


def encode_cells(cells: Sequence[int]) -> str:
    """A row of six whole numbers with its line end."""
    return "%d,%d,%d,%d,%d,%d\n" % tuple(cells)  # noqa: UP031 - the quickest by far, and rows are many


def aggregate_header(group: FindingGroup, start: datetime, region: Region | None = None) -> str:
    """The line that sums a group up, for a group of which no or only some findings follow as rows."""
    confidence = f"c{percent(group.mean_confidence)}/{percent(group.max_confidence)}"
    seconds = f"t{_seconds(group.first, start)}..{_seconds(group.last, start)}"
    return f"{header(group)} {confidence} {seconds}" + (f" {region.value}" if region else "")


def encode_group(group: FindingGroup, listed: Iterable[Finding], start: datetime) -> str:
    """A group's lines, each with its line end: all findings listed, or its aggregate and those that are."""
    rows = [encode_row(finding, start) for finding in listed]
    in_full = len(rows) == len(group.findings)
    head = header(group) if in_full else aggregate_header(group, start, main_region(group.findings))
    return "".join(f"{line}\n" for line in [head, *rows])


def decode_groups(text: str) -> tuple[CodedGroup, ...]:
    """Read the lines of :func:`encode_group` back: for whoever audits what was sent, as the tests do.

    The product itself never reads its prompts; a body that was kept (by a proxy, by the twin) is held against the
    database with this.

    Raises:
        ValueError: a line is neither a header nor a row, or a row stands before the first header.

    """
    blocks: list[tuple[re.Match[str], list[Row]]] = []
    for line in text.split("\n"):
        if match := _HEADER.fullmatch(line):
            blocks.append((match, []))
        elif line:
            _rows_above(blocks, line).append(_decode_row(line))
    return tuple(_decode_block(match, rows) for match, rows in blocks)


def table(header_row: Sequence[str], rows: Iterable[Sequence[str | int]]) -> str:
    """Comma-separated lines, each with its line end; texts are written with :func:`name`."""
    return "".join(f"{','.join(map(_cell, line))}\n" for line in [header_row, *rows])


def _cell(value: str | int) -> str:
    return name(value) if isinstance(value, str) else str(value)


def _seconds(moment: datetime, start: datetime) -> int:
    return round((moment - start).total_seconds())


def _rows_above(blocks: Sequence[tuple[re.Match[str], list[Row]]], line: str) -> list[Row]:
    if not blocks:
        raise ValueError(f"the row {line!r} stands before any header")
    return blocks[-1][1]


def _decode_row(line: str) -> Row:
    try:
        seconds, confidence, x, y, w, h = (int(cell) for cell in line.split(","))
    except ValueError as error:
        raise ValueError(f"the line {line!r} is neither a group's header nor a row of six whole numbers") from error
    return Row(seconds, confidence, x, y, w, h)


def _decode_block(match: re.Match[str], rows: Sequence[Row]) -> CodedGroup:
    found = match.groupdict()
    aggregate = None
    if found["mean"] is not None:
        mean, highest, first, last = (int(found[key]) for key in ("mean", "highest", "first", "last"))
        region = Region(found["region"]) if found["region"] else None
        aggregate = Aggregate(mean, highest, first, last, region)
    return CodedGroup(
        camera=_read_name(found["camera"]),
        label=_read_name(found["label"]),
        severity=int(found["severity"]),
        count=int(found["count"]),
        aggregate=aggregate,
        rows=tuple(rows),
    )


def _read_name(text: str) -> str:
    return str(json.loads(text)) if text.startswith('"') else text
