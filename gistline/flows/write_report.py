"""Write the report of one window: claim, groups, the report (``flows/compose_report``), one transaction to store it.

No transaction is open while the LLM works. Answers are bought by ``flows/buy_answer``, which pays for each once: a
report that was lost between payment and storage is made from the booked answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from gistline.costs.savings import UsedCall
from gistline.domain import ImageSize, Language, ReportId
from gistline.errors import BudgetTooSmall, GistlineError, LeaseLost, SettingsError, WriterFailed
from gistline.findings.grouping import group_findings
from gistline.flows.compose_report import Assignment, Composed, compose_report
from gistline.flows.price_forms import price_forms
from gistline.flows.report_tools import ReportTools
from gistline.reports.prompt import WindowData
from gistline.reports.render import render_quiet
from gistline.reports.totals import count_totals
from gistline.settings import ReportSettings
from gistline.storage import ledger, reports, windows
from gistline.storage.savings import used_calls
from gistline.storage.session import transaction
from gistline.storage.tables import WindowState

NOBODY = "none"
"""Writer of a report on a window without findings: one line by rule, no LLM is asked."""

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
        contents = windows.read_window(session, window_id)
    case = _Case(tools, window, _data(window, contents), contents.sizes)
    try:
        return ReportOutcome(WindowState.WRITTEN, _write(case))
    except LeaseLost as error:
        return ReportOutcome(None, error=str(error))
    except (WriterFailed, BudgetTooSmall, SettingsError) as error:
        return _put_off(case, error)


@dataclass(frozen=True, slots=True)
class _Case:
    """One claimed window on its way through the steps below."""

    tools: ReportTools
    window: windows.ClaimedWindow
    data: WindowData
    sizes: Mapping[ImageSize, int]

    @property
    def language(self) -> Language:
        """The language of the line's reports."""
        return self.tools.settings.language_of(self.window.line)


def _data(window: windows.ClaimedWindow, contents: windows.WindowContents) -> WindowData:
    groups = group_findings(contents.findings)
    totals = count_totals(groups, contents.frames)
    return WindowData(window.line, window.starts_at, window.ends_at, totals, groups)


def _write(case: _Case) -> ReportId:
    if not case.data.groups:
        return _store(case, None)
    return _store(case, compose_report(Assignment(case.window, case.data, case.language, case.tools)))


def _store(case: _Case, composed: Composed | None) -> ReportId:
    """Store the report with what the ledger says that the window cost; where nothing was found nobody was asked."""
    tools, writer = case.tools, case.tools.writer
    with transaction(tools.sessions) as session:
        used = [UsedCall(call.usage, call.usd) for call in used_calls(session, case.window.window_id)]
        if composed and composed.writer:  # what was answered was of no use
            used = []
    priced = price_forms(case.sizes, composed.sent if composed else None, used, tools)
    with transaction(tools.sessions) as session:
        spent = ledger.spent(session, case.window.window_id)
        report = reports.NewReport(
            window_id=case.window.window_id,
            writer=(composed.writer or writer.name) if composed else NOBODY,
            model=writer.model,
            language=case.language,
            body=composed.body if composed else render_quiet(case.data, case.language),
            evidence=composed.evidence if composed else [],
            totals=case.data.totals.as_json() | ({"packing": composed.account} if composed else {}),
            token_budget=tools.settings.token_budget,
            prompt_tokens=tools.tokens.estimate(composed.sent.text) if composed else 0,
            prompt_ceiling_tokens=composed.account["used"] if composed else 0,
            input_tokens=spent.input_tokens,
            output_tokens=spent.output_tokens,
            cost_usd=spent.usd,
            simulated=writer.simulated or composed is None,
            image_tokens=priced.plan.image_tokens,
            image_usd=priced.plan.usd,
            image_plan=priced.plan.as_json(),
            levels={name: str(usd) for name, usd in priced.levels.items()},
        )
        return reports.save_report(session, report, composed.placements if composed else {})


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
