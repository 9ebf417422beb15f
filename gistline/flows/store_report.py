"""Store a finished report with what its window cost and, beside it, what sending the images would have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from gistline.costs.savings import UsedCall
from gistline.domain import ImageSize, Language, Placement, ReportId, WindowId
from gistline.flows.compose_report import Composed
from gistline.flows.price_forms import price_forms
from gistline.flows.report_tools import ReportTools
from gistline.storage import ledger, reports, windows
from gistline.storage.savings import used_calls
from gistline.storage.session import transaction

NOBODY = "none"
"""Writer of a report that nobody was asked for: nothing was found, or what was found waits."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A report to be stored. ``composed`` is None where nobody was asked; its body then is ``body``.

    ``deferred``: the window's findings wait for a later report; ``releases``: those it took of earlier windows do.
    ``note`` is a line of its own below the report.
    """

    window_id: UUID
    language: Language
    totals: dict[str, Any]
    sizes: Mapping[ImageSize, int]
    composed: Composed | None = None
    body: str = ""
    placements: Mapping[int, Placement] | None = None
    deferred: bool = False
    releases: bool = False
    note: str = ""


def store_report(finished: Finished, tools: ReportTools) -> ReportId:
    """Store it, with the window's new state and the place of every finding, in one transaction."""
    composed, writer = finished.composed, tools.writer
    with transaction(tools.sessions) as session:
        used = [UsedCall(call.usage, call.usd) for call in used_calls(session, finished.window_id)]
    if composed is None or composed.writer:  # what was answered, if anything, was of no use
        used = []
    priced = price_forms(finished.sizes, composed.sent if composed else None, used, tools)
    with transaction(tools.sessions) as session:
        spent = ledger.spent(session, finished.window_id)
        if finished.releases:
            windows.release_deferred(session, finished.window_id)
        report = reports.NewReport(
            window_id=WindowId(finished.window_id),
            writer=(composed.writer or writer.name) if composed else NOBODY,
            model=writer.model,
            language=finished.language,
            body="\n\n".join(filter(None, [composed.body if composed else finished.body, finished.note])),
            evidence=composed.evidence if composed else [],
            totals=finished.totals | ({"packing": composed.account} if composed else {}),
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
        placements = composed.placements if composed else finished.placements or {}
        return reports.save_report(session, report, placements, deferred=finished.deferred)
