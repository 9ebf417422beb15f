"""Whether a window's findings are worth a report of their own, or wait for the line's next one."""

from __future__ import annotations

from datetime import datetime, timedelta

from gistline.domain import Language
from gistline.reports.phrases import PHRASES, counted
from gistline.reports.prompt import WindowData
from gistline.reports.render import code

GRAVE = 3
"""Severity that never waits: the part is lost."""


def may_wait(everything: WindowData, *, below: int, until: datetime) -> bool:
    """Whether the findings of a window, with those of earlier ones that waited, are few and light enough to wait.

    ``everything`` begins with the first window that waited, and none waits beyond ``until``.
    """
    few = 0 < everything.totals.findings < below
    return few and everything.ends_at <= until and all(group.severity < GRAVE for group in everything.groups)


def longest_wait(everything: WindowData, *, windows: int, window_minutes: int) -> datetime:
    """The end of the last window that findings which waited since the beginning of ``everything`` may still wait in."""
    return everything.starts_at + timedelta(minutes=windows * window_minutes)


def few(language: Language, below: int) -> str:
    """Why light findings wait."""
    return PHRASES[language].few.format(below=below)


def no_money(language: Language, refusal: str) -> str:
    """Why findings wait whose report a budget in dollars refused."""
    return PHRASES[language].no_money.format(reason=refusal)


def waiting_text(data: WindowData, language: Language, reason: str) -> str:
    """What stands in place of a report."""
    words = PHRASES[language]
    return words.deferred.format(
        findings=counted(data.totals.findings, "finding", language),
        line=code(data.line),
        reason=reason,
    )
