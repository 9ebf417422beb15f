"""What a report would have cost in plainer forms: as images, as JSON, as rows without a budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from gistline.costs.images import ImagePlan, Words, cheapest_plan
from gistline.costs.savings import Forms, UsedCall, price_levels
from gistline.domain import ImageSize, Language
from gistline.flows.report_tools import ReportTools
from gistline.reports.forms import as_indented_json, estimate_pieces
from gistline.reports.prompt import WindowData, build_prompt, fixed_text
from gistline.reports.tokens import TokenCounter, ceiling

UNLIMITED = 1_000_000_000
"""A token budget that holds every row of any window."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What was sent about a window, all calls' prompts in one text."""

    data: WindowData
    language: Language
    text: str


@dataclass(frozen=True, slots=True)
class PricedForms:
    """The image plan, and the dollars of each level of :data:`gistline.costs.savings.LEVELS`."""

    plan: ImagePlan
    levels: dict[str, Decimal]


def price_forms(
    sizes: Mapping[ImageSize, int], sent: Sent | None, used: Sequence[UsedCall], tools: ReportTools
) -> PricedForms:
    """Price the forms for the inspected frames of ``sizes`` and the findings that were ``sent``; None: there were none.

    Every form pays for the report that ``used`` ended with, and not for answers that were of no use.

    Raises:
        SettingsError: there are no prices for the writer's model.

    """
    model, at, counter = tools.writer.model, datetime.now(UTC), tools.tokens
    language = sent.language if sent else tools.settings.language
    opening = counter.estimate(fixed_text(language))
    words = Words(instructions=opening, report=used[-1].usage.output_tokens if used else 0)
    plan = cheapest_plan(sizes, model, at=at, words=words)
    forms = _forms(sent, opening, counter) if sent else Forms(0, 0, 0, 0)
    return PricedForms(plan, price_levels(plan, forms, used, model=model, at=at))


def _forms(sent: Sent, opening: int, counter: TokenCounter) -> Forms:
    prompt = counter.estimate(sent.text)
    complete = build_prompt(sent.data, budget=UNLIMITED, measure=ceiling, language=sent.language).text
    findings = (finding for group in sent.data.groups for finding in group.findings)
    return Forms(
        prompt=prompt,
        rows=prompt if complete == sent.text else estimate_pieces(complete.splitlines(keepends=True), counter),
        json=opening + estimate_pieces(as_indented_json(findings), counter),
        instructions=opening,
    )
