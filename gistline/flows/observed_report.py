"""Write the report of one window, under watch: ids in every line that is logged, its time in metrics, its trace."""

from __future__ import annotations

import time
from collections.abc import Sequence
from uuid import UUID

from gistline.flows.report_tools import ReportTools
from gistline.flows.write_report import ReportOutcome, write_report
from gistline.storage.session import transaction
from gistline.storage.trace_links import traced_batches
from gistline.telemetry import metrics, tracing
from gistline.telemetry.logs import add_fields, log_fields


def observed_report(window_id: UUID, tools: ReportTools) -> ReportOutcome:
    """Do what :func:`gistline.flows.write_report.write_report` does; a window that is not due is not counted.

    Raises:
        StorageUnavailable: the database does not answer; the window's lease runs out by itself.

    """
    began = time.perf_counter()
    batches = _batches(window_id, tools)
    with (
        log_fields(window=window_id),
        tracing.span("write report", {"gistline.window": window_id}, batches) as span,
    ):
        add_fields(trace_id=span.traceparent[3:35])
        outcome = write_report(window_id, tools)
        span.note(
            {"gistline.report": outcome.report_id, "gistline.state": outcome.state, "error.message": outcome.error}
        )
    if outcome.state is not None:
        metrics.REPORT_SECONDS.labels(outcome.state.value).observe(time.perf_counter() - began)
    return outcome


def _batches(window_id: UUID, tools: ReportTools) -> Sequence[UUID]:
    """The traced batches of the window's frames; nobody is asked while nothing is traced."""
    if not tracing.is_on():
        return ()
    with transaction(tools.sessions) as session:
        return traced_batches(session, window_id)
