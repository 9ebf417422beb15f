"""Write the report of one window: claim, groups, the report (``flows/compose_report``), one transaction to store it.

No transaction is open while the LLM works. Answers are bought by ``flows/buy_answer``, which pays for each once: a
report that was lost between payment and storage is made from the booked answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from gistline.domain import FrameCounts, ImageSize, Language, Placement, ReportId
from gistline.errors import (
    AnswerPending,
    BudgetExhausted,
    BudgetTooSmall,
    BuyingStopped,
    GistlineError,
    LeaseLost,
    SettingsError,
    WriterFailed,
)
from gistline.findings.grouping import group_findings
from gistline.flows.compose_report import Assignment, compose_report
from gistline.flows.over_budget import cheaper_forms, note, runs_at
from gistline.flows.report_tools import ReportTools
from gistline.flows.store_report import Finished, store_report
from gistline.reports.deferral import few, longest_wait, may_wait, no_money, waiting_text
from gistline.reports.prompt import WindowData
from gistline.reports.render import render_quiet
from gistline.reports.totals import count_totals
from gistline.settings import ReportSettings
from gistline.storage import ledger, reports, windows
from gistline.storage.session import transaction
from gistline.storage.tables import WaitsFor, WindowState

LONGEST_WAIT_S = 3600.0
"""No back-off and no wish of the API holds a window longer than this."""


@dataclass(frozen=True, slots=True)
class ReportOutcome:
    """What became of the window: written, pending again, failed, or running elsewhere (None: not due or unknown)."""

    state: WindowState | None
    report_id: ReportId | None = None
    error: str | None = None


def write_report(window_id: UUID, tools: ReportTools) -> ReportOutcome:
    """Write the window's report unless somebody else does or did; safe to call any number of times.

    A failure is kept in the window's row, which then waits for its next attempt or is given up.

    Raises:
        StorageUnavailable: the database does not answer; the window's lease runs out by itself.

    """
    with transaction(tools.sessions) as session:
        window = windows.claim_window(
            session, window_id, lease_s=tools.lease_s, max_attempts=tools.settings.max_attempts
        )
        if window is None:
            stored = reports.report_of(session, window_id)
            return ReportOutcome(WindowState.WRITTEN if stored else None, stored)
        ledger.abandon_attempts(session, window_id)
        taken = windows.take_deferred(session, window)
        own = windows.read_window(session, window_id)
        told = windows.read_window(session, window_id, *(one.window_id for one in taken)) if taken else own
    starts_at = min([window.starts_at, *(one.starts_at for one in taken)])
    case = _Case(tools, window, _told(window, told, starts_at), _told(window, own, window.starts_at))
    try:
        return ReportOutcome(WindowState.WRITTEN, _write_affordably(case))
    except LeaseLost as error:
        return ReportOutcome(None, error=str(error))
    except BudgetExhausted as refused:
        return _wait_for_money(case, refused)
    except AnswerPending as pending:
        return _wait(case, WaitsFor.BATCH, pending, until=pending.until)
    except (WriterFailed, BudgetTooSmall, SettingsError) as error:
        return _put_off(case, error)


@dataclass(frozen=True, slots=True)
class _Told:
    """What a report may tell of: findings and totals, and the sizes of the inspected frames."""

    data: WindowData
    sizes: Mapping[ImageSize, int]


@dataclass(frozen=True, slots=True)
class _Case:
    """One claimed window on its way through the steps below; ``told`` includes earlier windows that waited for it."""

    tools: ReportTools
    window: windows.ClaimedWindow
    told: _Told
    own: _Told
    note: str = ""

    @property
    def language(self) -> Language:
        """The language of the line's reports."""
        return self.tools.settings.language_of(self.window.line)


def _told(window: windows.ClaimedWindow, contents: windows.WindowContents, starts_at: datetime) -> _Told:
    groups = group_findings(contents.findings)
    totals = count_totals(groups, contents.frames)
    return _Told(WindowData(window.line, starts_at, window.ends_at, totals, groups), contents.sizes)


def _write_affordably(case: _Case) -> ReportId:
    """Write, in a cheaper form that the settings name where a budget refuses."""
    try:
        return _write(case)
    except BudgetExhausted as refused:
        cheaper = [replace(case, tools=one, note=note(one, refused)) for one in cheaper_forms(case.tools, refused)]
        for form in cheaper:
            with suppress(BudgetExhausted, BudgetTooSmall):  # what is left does not even pay for this
                return _write(form)
        raise


def _write(case: _Case) -> ReportId:
    return store_report(_finished(case), case.tools)


def _finished(case: _Case) -> Finished:
    """The report, or the line that stands in its place where nothing was found or what was found waits."""
    window_id, language, told = case.window.window_id, case.language, case.told
    if _waits(case):
        return _without_them(case, few(language, case.tools.settings.defer_below))
    totals = told.data.totals.as_json()
    if not told.data.groups:
        return Finished(window_id, language, totals, told.sizes, body=render_quiet(told.data, language))
    composed = compose_report(Assignment(case.window, told.data, language, case.tools))
    return Finished(window_id, language, totals, told.sizes, composed, note=case.note)


def _waits(case: _Case) -> bool:
    """Whether what was found is little enough to wait for the line's next report."""
    settings, data = case.tools.settings, case.told.data
    until = longest_wait(data, windows=settings.defer_windows, window_minutes=settings.window_minutes)
    return may_wait(data, below=settings.defer_below, until=until)


def _without_them(case: _Case, reason: str) -> Finished:
    """What stands in place of a report on findings that wait.

    The window's own findings and frames are then counted in the report that will tell of them, and nowhere before. One
    that found nothing itself has its own quiet report, and lets go of what it took.
    """
    data, language = case.own.data, case.language
    if not data.groups:
        quiet, totals = render_quiet(data, language), data.totals.as_json()
        return Finished(case.window.window_id, language, totals, case.own.sizes, body=quiet, releases=True)
    nothing = count_totals((), FrameCounts()).as_json()
    keys = (finding.finding_id for group in data.groups for finding in group.findings)
    return Finished(
        case.window.window_id,
        language,
        nothing | {"deferred": data.totals.findings},
        {},
        body=waiting_text(data, language, reason),
        placements=dict.fromkeys(keys, Placement.DEFERRED),
        deferred=True,
        releases=True,
    )


def _wait_for_money(case: _Case, refused: BudgetExhausted) -> ReportOutcome:
    """Let the window wait with its findings, which is no failed attempt; or only them, for the line's next report."""
    # A window without frames was opened to tell of what waited, and waits itself: another would only follow it.
    defers = case.tools.settings.over_budget == "defer" and case.own.data.totals.frames.total
    if defers and not _paid(case):
        waiting = _without_them(case, no_money(case.language, refused.message))
        return ReportOutcome(WindowState.WRITTEN, store_report(waiting, case.tools))
    waits_for = WaitsFor.PROVIDER if isinstance(refused, BuyingStopped) else WaitsFor.BUDGET
    return _wait(case, waits_for, refused, until=runs_at(case.tools, refused))


def _wait(case: _Case, waits_for: WaitsFor, reason: GistlineError, *, until: datetime) -> ReportOutcome:
    """Let the window wait with its findings; that is no failed attempt."""
    with transaction(case.tools.sessions) as session:
        windows.let_window_wait(session, case.window, waits_for, str(reason), until=until)
    return ReportOutcome(WindowState.PENDING, error=str(reason))


def _paid(case: _Case) -> bool:
    """Whether something was bought for the window; that must not be thrown away."""
    with transaction(case.tools.sessions) as session:
        return ledger.spent(session, case.window.window_id).usd > 0


def _put_off(case: _Case, error: GistlineError) -> ReportOutcome:
    """Let the window wait for its next attempt, or give it up when that cannot help."""
    settings, window, said = case.tools.settings, case.window, str(error)
    again = error.retryable and window.attempt < settings.max_attempts
    with transaction(case.tools.sessions) as session:
        if again:
            windows.put_window_back(session, window, said, delay_s=_delay_s(settings, window.attempt, error))
        else:
            windows.fail_window(session, window, said)
    return ReportOutcome(WindowState.PENDING if again else WindowState.FAILED, error=said)


def _delay_s(settings: ReportSettings, attempt: int, error: GistlineError) -> float:
    """Our back-off, or the wait that the API asked for if that is longer."""
    asked = (error.retry_after_s or 0.0) if isinstance(error, WriterFailed) else 0.0
    return min(LONGEST_WAIT_S, max(asked, settings.retry_backoff_s * 2.0 ** (attempt - 1)))
