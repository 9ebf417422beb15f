"""The usual text forms of a list of findings, to hold ours against: CSV, and TOON as far as a table needs it."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable
from typing import Any

from gistline.domain import Finding
from gistline.reports.forms import as_objects

_BARE = re.compile(r"[^\s:\"\\\[\]{},\-][^:\"\\\[\]{},\x00-\x1f]*")
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")


def flat(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Findings as rows of a table: the box in four columns."""
    rows = as_objects(findings)
    for row in rows:
        row |= dict(zip("xywh", row.pop("bbox"), strict=True))
    return rows


def as_csv(findings: Iterable[Finding]) -> str:
    """A header and a line for each finding."""
    rows = flat(findings)
    file = io.StringIO()
    writer = csv.DictWriter(file, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def as_toon(findings: Iterable[Finding]) -> str:
    """Token-Oriented Object Notation of a list of like objects: its length and fields once, then a row for each.

    A text is quoted where it could be read as something else: it holds a colon, comma, quote, bracket or control
    character, begins with a hyphen or white space, ends in white space, or looks like a number, a truth value or null.
    """
    rows = flat(findings)
    head = f"findings[{len(rows)}]{{{','.join(rows[0])}}}:\n"
    return head + "".join(f"  {','.join(map(_toon, row.values()))}\n" for row in rows)


def _toon(value: Any) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    plain = _BARE.fullmatch(value) and not _NUMBER.fullmatch(value) and value == value.strip()
    return value if plain and value not in ("true", "false", "null") else json.dumps(value, ensure_ascii=False)
