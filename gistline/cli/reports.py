"""``gistline reports``: written reports, and what each is based on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any
from uuid import UUID

import click
from rich.markdown import Markdown
from sqlalchemy.orm import Session

from gistline.cli.amounts import exact
from gistline.cli.database import database
from gistline.cli.output import console, print_json
from gistline.cli.reports_text import behind_lines, evidence_table, moment, report_facts
from gistline.storage.evidence import EvidenceFinding, evidence, evidence_findings
from gistline.storage.reports import ListedWindow, ReportDetail, list_windows, read_report
from gistline.storage.session import transaction
from gistline.storage.tables import AttemptState, LlmAttempt


@click.group("reports")
def command() -> None:
    """Written reports, and what each is based on."""


@command.command("list")
@click.option("--line", help="Only windows of this production line.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Most windows shown.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def list_command(context: click.Context, /, *, line: str | None, limit: int, as_json: bool) -> None:
    """The latest report windows, newest first: those that wait or failed too, with the reason."""
    with _session(context) as session:
        found = [_window_dict(listed) for listed in list_windows(session, limit=limit, line=line)]
    if as_json:
        print_json(found)
        return
    for one in found:
        _print_line(one)
    if not found:
        console().print("No report windows yet.")


@command.command("show")
@click.argument("report_id", type=click.UUID, metavar="ID")
@click.option("--evidence", "with_evidence", is_flag=True, help="Show what each number of the text rests on.")
@click.option(
    "--behind",
    type=click.IntRange(min=1),
    metavar="PLACE",
    help="Show the findings and frames behind one number, by its place in --evidence; 100 at most, surest first.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def show_command(
    context: click.Context, /, *, report_id: UUID, with_evidence: bool, behind: int | None, as_json: bool
) -> None:
    """One report: its text, what its prompt held of the findings, and what was paid for it."""
    with _session(context) as session:
        detail = read_report(session, report_id)
        found = _report_dict(detail)
        if with_evidence:
            found["evidence"] = [asdict(item) for item in evidence(session, report_id)]
        if behind is not None:
            found["behind"] = [_finding_dict(one) for one in evidence_findings(session, report_id, behind)]
    if as_json:
        print_json(found)
        return
    shown = console()
    shown.print(Markdown(found["body"]))
    shown.print()
    for label, value in report_facts(found, detail.report.language):
        shown.print(f"{label}: {value}", markup=False, soft_wrap=True)
    if with_evidence:
        shown.print()
        shown.print(evidence_table(found["evidence"], detail.report.language))
    if behind is not None:
        shown.print()
        for line in behind_lines(found["behind"], detail.report.language):
            shown.print(line, markup=False, soft_wrap=True)


@contextmanager
def _session(context: click.Context) -> Iterator[Session]:
    with database(context) as opened, transaction(opened.sessions) as session:
        yield session


def _print_line(one: dict[str, Any]) -> None:
    """One window on one line, its report's key last, so that it can be copied whole."""
    told = f"{one['findings']} findings, ${one['cost_usd']}, {one['report_id']}" if one["report_id"] else one["error"]
    words = f"{moment(one['starts_at'])} to {moment(one['ends_at'])} UTC {one['line']} {one['state']}"
    console().print(f"{words}: {told}" if told else words, markup=False, soft_wrap=True)


def _window_dict(listed: ListedWindow) -> dict[str, Any]:
    window, report = listed.window, listed.report
    return {
        "report_id": report and str(report.id),
        "window_id": str(window.id),
        "line": window.line,
        "starts_at": window.starts_at.isoformat(),
        "ends_at": window.ends_at.isoformat(),
        "state": window.state.value,
        "attempts": window.attempts,
        "waits_for": window.waits_for and window.waits_for.value,
        "deadline_at": window.deadline_at and window.deadline_at.isoformat(),
        "error": window.error,
        "findings": report and report.totals["findings"],
        "cost_usd": report and exact(report.cost_usd),
        "simulated": report and report.simulated,
    }


def _report_dict(detail: ReportDetail) -> dict[str, Any]:
    report = detail.report
    return {
        **_window_dict(ListedWindow(detail.window, report)),
        "language": report.language.value,
        "writer": report.writer,
        "model": report.model,
        "body": report.body,
        "totals": report.totals,
        "placements": {place.value: count for place, count in detail.placements.items()},
        "prompt": {
            "token_budget": report.token_budget,
            "ceiling_tokens": report.prompt_ceiling_tokens,
            "estimated_tokens": report.prompt_tokens,
            "gap_to_bound": report.totals.get("packing", {}).get("gap"),
            "calls": report.totals.get("packing", {}).get("calls", {}),
        },
        "input_tokens": report.input_tokens,
        "output_tokens": report.output_tokens,
        "came_by": _came_by(detail),
        "image_usd": exact(report.image_usd),
        "image_plan": report.image_plan,
        "attempts": [_attempt_dict(attempt) for attempt in detail.attempts],
    }


def _finding_dict(one: EvidenceFinding) -> dict[str, Any]:
    return {**asdict(one), "frame_id": str(one.frame_id)}


def _came_by(detail: ReportDetail) -> list[str]:
    """How what was paid for came: at once (standard), by batch at half the price, or both."""
    return sorted({one.processing.value for one in detail.attempts if one.state is AttemptState.PAID})


def _attempt_dict(attempt: LlmAttempt) -> dict[str, Any]:
    return {
        "call": attempt.call,
        "attempt": attempt.attempt,
        "processing": attempt.processing.value,
        "state": attempt.state.value,
        "model": attempt.model,
        "simulated": attempt.simulated,
        "http_status": attempt.http_status,
        "request_id": attempt.request_id,
        "input_tokens": attempt.input_tokens,
        "output_tokens": attempt.output_tokens,
        "usd": None if attempt.usd is None else exact(attempt.usd),
        "error": attempt.error,
        "sent_at": attempt.sent_at.isoformat(),
        "settled_at": attempt.settled_at and attempt.settled_at.isoformat(),
    }
