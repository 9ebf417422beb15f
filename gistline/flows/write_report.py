"""Write the report of one window: groups, budgeted prompt, ledger row, LLM, ledger, report.

No transaction is open while the LLM works. An attempt has its ledger row before it is sent, and its answer is booked
before anything tries to read it; a report that was lost between the two is made from the booked answer, not paid again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from gistline.costs.images import ImagePlan, Words, cheapest_plan
from gistline.costs.pricing import price_usage, price_vector
from gistline.domain import ImageSize, ReportId
from gistline.errors import BudgetTooSmall, GistlineError, SettingsError, WriterFailed
from gistline.findings.grouping import group_findings
from gistline.reports.answer import Attempt, Writer, WrittenReport, read_report
from gistline.reports.check import check, with_unsupported
from gistline.reports.offline import quiet_report
from gistline.reports.prompt import Prompt, WindowData, build_prompt, instructions
from gistline.reports.tokens import TokenCounter, ceiling
from gistline.reports.totals import count_totals
from gistline.reports.writer import open_writer
from gistline.settings import ReportSettings, Settings
from gistline.storage import ledger, reports, windows
from gistline.storage.session import Sessions, transaction
from gistline.storage.tables import AttemptState, WindowState

NOBODY = "none"
"""Writer of a report on a window without findings: one line by rule, no LLM is asked."""

LONGEST_WAIT_S = 3600.0
"""No back-off and no wish of the API holds a window longer than this."""

ROUND_TRIP_S = 30.0
"""A lease is at least this much longer than the time-out of the call that it covers."""


@dataclass(frozen=True, slots=True)
class ReportTools:
    """What a report worker holds from its start to its end."""

    sessions: Sessions
    writer: Writer
    tokens: TokenCounter
    settings: ReportSettings


@dataclass(frozen=True, slots=True)
class ReportOutcome:
    """What became of the window: written, pending again, failed, or running elsewhere (None: not due or unknown)."""

    state: WindowState | None
    report_id: ReportId | None = None
    error: str | None = None


def open_report_tools(settings: Settings, sessions: Sessions) -> ReportTools:
    """Open the writer; close it with ``tools.writer.close()``.

    Raises:
        SettingsError: the model has no price, the writer no key, or the token ranks are damaged.

    """
    price_vector(settings.reports.model, at=datetime.now(UTC))
    return ReportTools(sessions, open_writer(settings), TokenCounter(), settings.reports)


def write_report(window_id: UUID, tools: ReportTools) -> ReportOutcome:
    """Write the window's report unless somebody else does or did; safe to call any number of times.

    A failure is kept in the window's row, which then waits for its next attempt or is given up.

    Raises:
        StorageUnavailable: the database does not answer; the window's lease runs out by itself.

    """
    with transaction(tools.sessions) as session:
        window = windows.claim_window(
            session, window_id, lease_s=_lease_s(tools.settings), max_attempts=tools.settings.max_attempts
        )
        if window is None:
            stored = reports.report_of(session, window_id)
            return ReportOutcome(WindowState.WRITTEN if stored else None, stored)
        ledger.abandon_attempts(session, window_id)
        answer = ledger.paid_answer(session, window_id)
        contents = windows.read_window(session, window_id)
    case = _Case(tools, window, _data(window, contents), contents.sizes)
    try:
        return ReportOutcome(WindowState.WRITTEN, _write(case, answer))
    except (WriterFailed, BudgetTooSmall, SettingsError) as error:
        return _put_off(case, error)


@dataclass(frozen=True, slots=True)
class _Case:
    """One claimed window on its way through the steps below."""

    tools: ReportTools
    window: windows.ClaimedWindow
    data: WindowData
    sizes: Mapping[ImageSize, int]


def _data(window: windows.ClaimedWindow, contents: windows.WindowContents) -> WindowData:
    groups = group_findings(contents.findings)
    totals = count_totals(groups, contents.frames)
    return WindowData(window.line, window.starts_at, window.ends_at, totals, groups)


def _write(case: _Case, answer: str | None) -> ReportId:
    if not case.data.groups:
        return _store(case, None, quiet_report(case.data))
    prompt = build_prompt(case.data, budget=case.tools.settings.token_budget, measure=ceiling)
    written = _ask(case, prompt) if answer is None else read_report(answer)
    return _store(case, prompt, written.body)


def _ask(case: _Case, prompt: Prompt) -> WrittenReport:
    """Book the attempt as sent, send it, and book what it came to before it is read."""
    writer, sessions = case.tools.writer, case.tools.sessions
    price_vector(writer.model, at=datetime.now(UTC))  # refuse before the money is gone, not after
    new = ledger.NewAttempt(
        window_id=case.window.window_id,
        attempt=case.window.attempt,
        writer=writer.name,
        model=writer.model,
        simulated=writer.simulated,
        body_sha256=prompt.sha256,
    )
    with transaction(sessions) as session:
        attempt_id = ledger.open_attempt(session, new)

    def book(attempt: Attempt) -> None:
        settled = _settlement(attempt, writer.model)
        with transaction(sessions) as session:
            ledger.settle_attempt(session, attempt_id, settled)

    return writer.write(prompt, book=book)


def _settlement(attempt: Attempt, model: str) -> ledger.Settlement:
    price = price_usage(attempt.usage, model, at=datetime.now(UTC)) if attempt.usage is not None else None
    return ledger.Settlement(
        state=AttemptState(attempt.outcome.value),
        http_status=attempt.http_status,
        request_id=attempt.request_id,
        usage=attempt.usage,
        usd=price.usd if price else None,
        price=price.vector if price else None,
        answer=attempt.answer,
        error=attempt.error,
    )


def _store(case: _Case, prompt: Prompt | None, body: str) -> ReportId:
    """Store the report with what the ledger says that the window cost; without a prompt nobody was asked."""
    tools, writer = case.tools, case.tools.writer
    with transaction(tools.sessions) as session:
        spent = ledger.spent(session, case.window.window_id)
        plan = _image_plan(case, spent.output_tokens)
        report = reports.NewReport(
            window_id=case.window.window_id,
            writer=writer.name if prompt else NOBODY,
            model=writer.model,
            body=with_unsupported(body, check(body, case.data)),
            totals=case.data.totals.as_json() | ({"packing": prompt.account} if prompt else {}),
            token_budget=tools.settings.token_budget,
            prompt_tokens=tools.tokens.estimate(prompt.text) if prompt else 0,
            prompt_ceiling_tokens=ceiling(prompt.text) if prompt else 0,
            input_tokens=spent.input_tokens,
            output_tokens=spent.output_tokens,
            cost_usd=spent.usd,
            simulated=writer.simulated or prompt is None,
            image_tokens=plan.image_tokens,
            image_usd=plan.usd,
            image_plan=plan.as_json(),
        )
        return reports.save_report(session, report, prompt.packed.placements if prompt else {})


def _image_plan(case: _Case, report_tokens: int) -> ImagePlan:
    words = Words(instructions=case.tools.tokens.estimate(instructions()), report=report_tokens)
    return cheapest_plan(case.sizes, case.tools.writer.model, at=datetime.now(UTC), words=words)


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


def _lease_s(settings: ReportSettings) -> float:
    """Long enough that no window is handed on while its LLM call may still be answered."""
    return max(settings.lease_s, settings.timeout_s + ROUND_TRIP_S)
