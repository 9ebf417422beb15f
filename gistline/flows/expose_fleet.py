"""The fleet as metrics: what waits, who works, what it cost. One process serves them, so that they count once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from gistline.domain import DeadLetterKind, FrameState
from gistline.domain_accuracy import Review, Reviewed, ReviewKind, ReviewVerdict
from gistline.domain_acting import AlarmSeverity
from gistline.settings_observability import MetricsSettings
from gistline.storage.accuracy_reviews import newest_reviews, newest_times
from gistline.storage.budgets import BudgetState, budget_states
from gistline.storage.fleet_facts import (
    TOKEN_KINDS,
    Attempts,
    QueueFacts,
    TotalFacts,
    metrics_addresses,
    queue_facts,
    total_facts,
)
from gistline.storage.health import Workers
from gistline.storage.session import Sessions, transaction
from gistline.storage.tables import AttemptState, WindowState
from gistline.telemetry.listener import Answer, Exposed, Health
from gistline.telemetry.paced import Family, Part, Reading, paced_registry

WORKER_KINDS: Final = ("detect", "report", "verdicts")
OF_ENGINES: Final = tuple(kind for kind in ReviewKind if kind is not ReviewKind.DRIFT)
ENGINES_H: Final = 24.0 * 14
CAMERAS_H: Final = 72.0
"""Reviews older than so say nothing of today: the engine, or the camera, is gone."""
BILLINGS: Final = ("billed", "simulated")

BUDGET: Final = ("scope_kind", "scope", "period")

FAMILIES: Final = {
    "gistline_frames_waiting": Family("gauge", "Frames that are pending or running.", ("state",)),
    "gistline_oldest_pending_age_seconds": Family("gauge", "How long the oldest pending frame has waited."),
    "gistline_leases_overdue": Family("gauge", "Running frames whose lease ran out and which nobody returned yet."),
    "gistline_report_windows_waiting": Family("gauge", "Report windows that are pending or running.", ("state",)),
    "gistline_oldest_due_window_age_seconds": Family(
        "gauge", "How long the oldest unwritten window is late: since its end, or since its deadline if it has one."
    ),
    "gistline_dead_letters_open": Family("gauge", "Frames given up that nobody has decided about.", ("kind",)),
    "gistline_alarms_firing": Family("gauge", "Alarms that fire at this moment.", ("severity",)),
    "gistline_alarm_deliveries_waiting": Family("gauge", "Notices that have not reached their output yet."),
    "gistline_gate_verdicts_late": Family("gauge", "Frames whose gate should have been told something by now."),
    "gistline_workers": Family(
        "gauge",
        "Workers heard of lately: alive, ready to take work, serving an unproven engine, refusing or failing to serve.",
        ("kind", "condition"),
    ),
    "gistline_frames": Family("gauge", "Stored frames by state; retention makes it smaller.", ("state",)),
    "gistline_report_windows": Family("gauge", "Report windows by state.", ("state",)),
    "gistline_reports": Family("counter", "Reports written, by who wrote them.", ("writer",)),
    "gistline_llm_attempts": Family("counter", "HTTP attempts at the LLM.", ("model", "billing", "state")),
    "gistline_llm_tokens": Family("counter", "Tokens of paid attempts.", ("model", "billing", "kind")),
    "gistline_llm_cost_usd": Family(
        "counter", "US dollars of paid attempts, billed or simulated.", ("model", "billing")
    ),
    "gistline_image_plan_usd": Family("counter", "What sending the reports' frames as images would have cost."),
    "gistline_budget_cap_usd": Family("gauge", "Cap of a budget in its current period.", BUDGET),
    "gistline_budget_settled_usd": Family("gauge", "What of it was spent.", BUDGET),
    "gistline_budget_held_usd": Family("gauge", "What of it is held for calls under way.", BUDGET),
    "gistline_budget_left_usd": Family("gauge", "What of it may still be held.", BUDGET),
    "gistline_accuracy_reviews": Family(
        "gauge", "Newest reviews of engines and cameras, by what they came to.", ("kind", "verdict")
    ),
    "gistline_accuracy_worst": Family(
        "gauge",
        "Worst figure of the newest reviews: points lost, shares of agreement and precision, drift index over limit.",
        ("kind",),
    ),
    "gistline_accuracy_review_age_seconds": Family(
        "gauge", "How long ago the newest of them was; 0 before the first.", ("kind",)
    ),
    "gistline_database_size_bytes": Family("gauge", "Size of the database on disk."),
}
"""Every metric of the exporter. Counters get the ending ``_total`` when they are served."""


def expose_fleet(sessions: Sessions, settings: MetricsSettings, *, model: str = "") -> Exposed:
    """What ``gistline metrics`` serves: the metrics above, and ``/targets``, where Prometheus finds the workers.

    Counters of ``model``, the one that writes, begin at 0, so that its first call is an increase.
    """

    def queue() -> Sequence[Reading]:
        with transaction(sessions) as session:
            return [*_queue(queue_facts(session)), *_budgets(budget_states(session))]

    def totals() -> Sequence[Reading]:
        with transaction(sessions) as session:
            engines = newest_reviews(session, kinds=OF_ENGINES, max_age_h=ENGINES_H)
            cameras = newest_reviews(session, kinds=[ReviewKind.DRIFT], max_age_h=CAMERAS_H)
            reviews = _accuracy([one for one, *_ in (*engines, *cameras)], newest_times(session))
            return [*_totals(total_facts(session), model), *reviews]

    def targets() -> Answer:
        with transaction(sessions) as session:
            found = metrics_addresses(session)
        entries = [
            {"targets": [address], "labels": {"kind": kind, "worker": name}} for name, (kind, address) in found.items()
        ]
        return Answer(json.dumps(entries).encode())

    parts = [Part("queue", settings.refresh_s, queue), Part("totals", settings.totals_refresh_s, totals)]

    def ready() -> bool:
        parts[0].refresh()
        return parts[0].well

    return Exposed(paced_registry(FAMILIES, parts), Health(ready=ready), {"/targets": targets})


def _queue(facts: QueueFacts) -> Iterator[Reading]:
    yield Reading("gistline_frames_waiting", facts.pending, ("pending",))
    yield Reading("gistline_frames_waiting", facts.running, ("running",))
    yield Reading("gistline_oldest_pending_age_seconds", facts.oldest_pending_s)
    yield Reading("gistline_leases_overdue", facts.overdue_leases)
    for state in ("pending", "running"):
        yield Reading("gistline_report_windows_waiting", facts.windows.get(state, 0), (state,))
    yield Reading("gistline_oldest_due_window_age_seconds", facts.oldest_due_window_s)
    for kind in DeadLetterKind:
        yield Reading("gistline_dead_letters_open", facts.dead_letters.get(kind, 0), (kind.value,))
    for severity in AlarmSeverity:
        yield Reading("gistline_alarms_firing", facts.alarms.get(severity, 0), (severity.value,))
    yield Reading("gistline_alarm_deliveries_waiting", facts.deliveries_waiting)
    yield Reading("gistline_gate_verdicts_late", facts.gate_verdicts_late)
    for name in sorted({*WORKER_KINDS, *facts.workers}):
        found = facts.workers.get(name, Workers(0, 0))
        for condition in ("alive", "ready", "unproven", "troubled"):
            yield Reading("gistline_workers", getattr(found, condition), (name, condition))


def _budgets(states: Sequence[BudgetState]) -> Iterator[Reading]:
    for one in states:
        labels = (one.scope_kind.value, one.scope, one.period.value)
        yield Reading("gistline_budget_cap_usd", float(one.cap_usd), labels)
        yield Reading("gistline_budget_settled_usd", float(one.settled_usd), labels)
        yield Reading("gistline_budget_held_usd", float(one.held_usd), labels)
        yield Reading("gistline_budget_left_usd", float(one.left_usd), labels)


def _totals(facts: TotalFacts, model: str) -> Iterator[Reading]:
    for state in FrameState:
        yield Reading("gistline_frames", facts.frames.get(state, 0), (state.value,))
    for window_state in WindowState:
        yield Reading("gistline_report_windows", facts.windows.get(window_state, 0), (window_state.value,))
    for writer, count in facts.reports.items():
        yield Reading("gistline_reports", count, (writer,))
    yield from _money(facts.attempts, model)
    yield Reading("gistline_image_plan_usd", float(facts.image_usd))
    yield Reading("gistline_database_size_bytes", facts.database_bytes)


def _accuracy(newest: Sequence[Review], times: Mapping[ReviewKind, datetime]) -> Iterator[Reading]:
    """Of every kind; a kind without any figure has counts alone, since 0 would be a figure."""
    now = datetime.now(UTC)
    for kind in ReviewKind:
        found = [one for one in newest if one.found.kind is kind]
        for verdict in ReviewVerdict:
            count = sum(one.found.verdict is verdict for one in found)
            yield Reading("gistline_accuracy_reviews", count, (kind.value, verdict.value))
        figures = [badness(one.found) for one in found if one.found.value is not None]
        if figures:
            _, worst = max(figures)
            yield Reading("gistline_accuracy_worst", worst, (kind.value,))
        age = (now - times.get(kind, now)).total_seconds()
        yield Reading("gistline_accuracy_review_age_seconds", age, (kind.value,))


def badness(found: Reviewed) -> tuple[float, float]:
    """How bad a figure is, and how it is told: shares are worse when smaller, drift is a multiple of its limit."""
    value, bound = found.value or 0.0, found.bound or 1.0
    if found.kind is ReviewKind.DRIFT:
        return value / bound, value / bound
    return (value, value) if found.kind is ReviewKind.LABELLED else (-value, value)


def _money(attempts: Sequence[Attempts], model: str) -> Iterator[Reading]:
    found = {(one.model, one.billing, one.state): one for one in attempts}
    pairs = {(one.model, one.billing) for one in attempts} | (
        {(model, billing) for billing in BILLINGS} if model else set()
    )
    for pair in sorted(pairs):
        for state in AttemptState:
            one = found.get((*pair, state.value))
            yield Reading("gistline_llm_attempts", one.count if one else 0, (*pair, state.value))
        paid = found.get((*pair, AttemptState.PAID.value))
        yield Reading("gistline_llm_cost_usd", float(paid.usd) if paid else 0.0, pair)
        for kind in TOKEN_KINDS:
            yield Reading("gistline_llm_tokens", paid.tokens[kind] if paid else 0, (*pair, kind))
