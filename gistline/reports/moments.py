"""Times of day and dates as they are written in reports."""

from __future__ import annotations

import re
from collections.abc import Iterator

TIME = re.compile(
    r"(?:(?P<day>\d{4}-\d\d-\d\d)[ T]+)?(?:(?P<half>上午|下午|晚上|凌晨)\s*)?(?<![\d.])(?P<hour>\d{1,2})"
    r"(?::(?P<minute>\d\d)(?::(?P<second>\d\d))?(?![\d%])|[时点](?P<fen>\d{1,2})分(?:(?P<miao>\d{1,2})秒)?)"
    r"(?:\s*(?P<noon>[ap]\.?m\b\.?))?",
    re.IGNORECASE,
)
_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_MONTH = rf"(?P<month>{'|'.join(_MONTHS)})"
_DATES = (
    re.compile(r"(?:\b(?P<year>\d{4})(?:-|年))(?P<month>\d\d?)(?:-|月)(?P<day>\d\d?)(?:日|\b)"),
    re.compile(r"(?P<year>(?!))?(?P<month>\d\d?)月(?P<day>\d\d?)日"),
    re.compile(rf"\b(?P<day>\d\d?)(?:st|nd|rd|th)? {_MONTH}\b(?: (?P<year>\d{{4}}))?", re.IGNORECASE),
    re.compile(rf"\b{_MONTH} (?P<day>\d\d?)(?P<year>(?!))?\b", re.IGNORECASE),
)


def clock_of(match: re.Match[str]) -> str:
    """``HH:MM`` or ``HH:MM:SS`` of a time as written."""
    hour = int(match["hour"])
    noon = (match["noon"] or "").lower().replace(".", "")
    if (noon == "pm" or match["half"] in {"下午", "晚上"}) and hour < 12:
        hour += 12
    if noon == "am" and hour == 12:
        hour = 0
    minute, second = match["minute"] or match["fen"], match["second"] or match["miao"]
    return f"{hour:02d}:{int(minute):02d}" + (f":{int(second):02d}" if second else "")


def seconds_of(text: str) -> tuple[int, ...]:
    """Every time of day in a text, in seconds after midnight."""
    clocks = (clock_of(match).split(":") for match in TIME.finditer(text))
    return tuple(3600 * int(hour) + 60 * int(minute) + int("".join(second) or 0) for hour, minute, *second in clocks)


def dates_of(text: str) -> Iterator[tuple[str, tuple[int | None, int, int]]]:
    """Each date of a text as it stands, and its year (None where none is said), month and day."""
    for match in (one for dates in _DATES for one in dates.finditer(TIME.sub(" ", text))):
        month = match["month"].lower()
        number = _MONTHS.index(month) + 1 if month in _MONTHS else int(month)
        yield match[0], (int(match["year"]) if match["year"] else None, number, int(match["day"]))


def blank(text: str) -> str:
    """The text with spaces in place of times and dates."""
    for pattern in (TIME, *_DATES):
        text = pattern.sub(lambda match: " " * len(match[0]), text)
    return text
