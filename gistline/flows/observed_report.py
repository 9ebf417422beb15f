"""Write the report of one window, under watch: its ids in every line that is logged, its time in the metrics."""

from __future__ import annotations

import time
from uuid import UUID

from gistline.flows.report_tools import ReportTools
from gistline.flows.write_report import ReportOutcome, write_report
from gistline.telemetry import metrics
from gistline.telemetry.logs import log_fields


def observed_report(window_id: UUID, tools: ReportTools) -> ReportOutcome:
    """Do what :func:`gistline.flows.write_report.write_report` does; a window that is not due is not counted."""
    began = time.perf_counter()
    with log_fields(window=window_id):
        outcome = write_report(window_id, tools)
    if outcome.state is not None:
        metrics.REPORT_SECONDS.labels(outcome.state.value).observe(time.perf_counter() - began)
    return outcome
