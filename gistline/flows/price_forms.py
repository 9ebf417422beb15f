"""What a report would have cost in plainer forms: as images, as JSON, as rows without a budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from gistline.costs.images import ImagePlan, Words, cheapest_plan
from gistline.costs.savings import Forms, UsedCall, price_levels
from gistline.domain import ImageSize
from gistline.flows.report_tools import ReportTools
from gistline.reports.forms import as_indented_json, estimate_pieces
from gistline.reports.prompt import Prompt, build_prompt, instructions
from gistline.reports.tokens import TokenCounter, ceiling

UNLIMITED = 1_000_000_000
"""A token budget that holds every row of any window."""


@dataclass(frozen=True, slots=True)
class PricedForms:
    """The image plan, and the dollars of each level of :data:`gistline.costs.savings.LEVELS`."""

    plan: ImagePlan
    levels: dict[str, Decimal]


def price_forms(
    sizes: Mapping[ImageSize, int], prompt: Prompt | None, used: Sequence[UsedCall], tools: ReportTools
) -> PricedForms:
    """Price the forms for the inspected frames of ``sizes`` and the findings of ``prompt``; None: there were none.

    Every form pays for the report that ``used`` ended with, and not for answers that were of no use.

    Raises:
        SettingsError: there are no prices for the writer's model.

    """
    model, at, counter = tools.writer.model, datetime.now(UTC), tools.tokens
    opening = counter.estimate(instructions())
    words = Words(instructions=opening, report=used[-1].usage.output_tokens if used else 0)
    plan = cheapest_plan(sizes, model, at=at, words=words)
    forms = _forms(prompt, opening, counter) if prompt else Forms(0, 0, 0, 0)
    return PricedForms(plan, price_levels(plan, forms, used, model=model, at=at))


def _forms(prompt: Prompt, opening: int, counter: TokenCounter) -> Forms:
    sent = counter.estimate(prompt.text)
    complete = build_prompt(prompt.data, budget=UNLIMITED, measure=ceiling).text
    findings = (finding for group in prompt.data.groups for finding in group.findings)
    return Forms(
        prompt=sent,
        rows=sent if complete == prompt.text else estimate_pieces(complete.splitlines(keepends=True), counter),
        json=opening + estimate_pieces(as_indented_json(findings), counter),
        instructions=opening,
    )
