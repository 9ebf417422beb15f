"""What a report may cost and how long it may take: the part of the section ``reports`` that is about money."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from gistline.settings_base import Section, knob

LONGEST_DEADLINE_MIN = 24 * 60


class MoneySettings(Section):
    """Budgets in dollars, batches at half price, and prompt caching."""

    over_budget: Literal["wait", "smaller", "offline", "defer"] = knob(
        "wait",
        "A report that a budget in dollars refuses: wait for the money, take a smaller prompt that what is left pays "
        "for (or wait), be written by rule (offline), or leave its findings to the line's next report (defer).",
    )
    budget_recheck_s: float = knob(
        60.0, "A report that waits for money held by others asks again after this.", unit="s", ge=1, le=3600
    )
    spend_limit_pause_s: float = knob(
        3600.0,
        "Where the provider says that a spend limit is reached there, nothing is bought for this long, or as long as "
        "it says itself; then it is asked again.",
        unit="s",
        ge=1,
        le=86_400,
    )
    deadline_minutes: int = knob(
        0,
        "How long after its window has closed a report may come; then it goes by batch, at half price. 0 is urgent.",
        unit="min",
        ge=0,
        le=LONGEST_DEADLINE_MIN,
    )
    deadlines: dict[str, Annotated[int, Field(ge=0, le=LONGEST_DEADLINE_MIN)]] = Field(
        default_factory=dict,
        description='Deadlines of single lines, such as {"line-2": 480}; others have reports.deadline_minutes.',
        json_schema_extra={"unit": "line: min"},
    )
    batch_gather_s: float = knob(
        30.0, "How long requests are gathered before they go together in a batch.", unit="s", ge=0, le=3600
    )
    batch_poll_s: float = knob(60.0, "Pause between two looks at a batch.", unit="s", ge=0.1, le=3600)
    batch_cancel_s: float = knob(
        600.0,
        "A batch is cancelled this long before the first deadline in it, and what it left over is asked for at once.",
        unit="s",
        ge=0,
        le=36_000,
    )

    prompt_cache: Literal["auto", "off"] = knob(
        "auto",
        "Have the prompt's fixed part cached where that pays by the calls of the last hour (auto), or never (off).",
    )

    def report_within(self, line: str) -> timedelta | None:
        """How long a report of this line may take, None if it is urgent."""
        minutes = self.deadlines.get(line, self.deadline_minutes)
        return timedelta(minutes=minutes) if minutes else None
