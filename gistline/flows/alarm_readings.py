"""Rules that look at the state of things: queue, dead letters, missed verdicts, budgets, tokens, accuracy, drift."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from sqlalchemy.orm import Session

from gistline.alarms.rules import Rule
from gistline.domain_accuracy import Advice, Review, Reviewed, ReviewKind, ReviewVerdict
from gistline.domain_acting import Reading, RuleKind, Scope
from gistline.domain_money import BudgetScope
from gistline.findings.accuracy import in_words
from gistline.storage import alarm_sources as sources
from gistline.storage.accuracy_reviews import newest_reviews
from gistline.storage.budgets import budget_states
from gistline.storage.buying_stops import stop_in_force
from gistline.storage.token_record import token_drifts


def read_state(session: Session, rule: Rule, now: datetime) -> Iterator[Reading]:
    """What a rule says now: a reading for each scope that it fires in; what is not named is over."""
    look = LOOKS.get(rule.kind)
    if look is not None:
        yield from look(session, rule, now)


def _dead_letters(session: Session, rule: Rule, _now: datetime) -> Iterator[Reading]:
    least = rule.told.count
    for found in sources.open_letters(session, rule.scope):
        if found.count >= least:
            text = (
                f"{found.count} frames of {found.scope} were given up and wait for a decision, the oldest since "
                f"{found.oldest:%Y-%m-%d %H:%M:%S} UTC. Latest: {found.latest}. See 'gistline dead-letters list'."
            )
            yield Reading(found.scope, True, text, found.oldest, facts={"letters": found.count})


def _queue_age(session: Session, rule: Rule, now: datetime) -> Iterator[Reading]:
    for found in sources.oldest_waiting(session, rule.scope):
        age_s = (now - found.oldest).total_seconds()
        if age_s >= rule.told.seconds:
            text = (
                f"{found.count} frames of {found.scope} wait, the oldest for {age_s:.0f} s; the rule's limit is "
                f"{rule.told.seconds} s."
            )
            yield Reading(
                found.scope, True, text, found.oldest, facts={"waiting": found.count, "oldest_s": round(age_s)}
            )


def _missed(session: Session, rule: Rule, now: datetime) -> Iterator[Reading]:
    told = rule.told
    for found in sources.missed_verdicts(session, rule.scope, since=now - timedelta(seconds=told.window_s)):
        if found.count >= told.count:
            text = (
                f"{found.count} frames of {found.scope} had no verdict of an inspection in the last {told.window_s} s: "
                f"the gate was told otherwise. Latest: {found.latest}."
            )
            yield Reading(found.scope, True, text, found.oldest, facts={"missed": found.count})


def _budget(session: Session, rule: Rule, _now: datetime) -> Iterator[Reading]:
    stop = stop_in_force(session)
    if stop is not None and rule.line is None and rule.camera is None:
        text = (
            f"A limit of spending is reached at the provider ({stop.code}): {stop.said} Reports wait; buying is tried "
            f"again at {stop.until:%Y-%m-%d %H:%M} UTC, or after 'gistline costs resume'."
        )
        yield Reading(Scope(label="provider"), True, text, stop.began_at)
    for state in budget_states(session):
        place = {BudgetScope.LINE: Scope(line=state.scope), BudgetScope.CAMERA: Scope(camera=state.scope)}
        scope = place.get(state.scope_kind, Scope())
        used = state.settled_usd + state.held_usd
        share = float(used / state.cap_usd) if state.cap_usd else 1.0
        if share < rule.told.share or rule.line not in (None, scope.line) or rule.camera not in (None, scope.camera):
            continue
        text = (
            f"{share:.0%} of the budget {state.name} is used: {used:.4f} of {state.cap_usd:.2f} US dollars since "
            f"{state.period_start:%Y-%m-%d %H:%M} UTC; the rule's limit is {rule.told.share:.0%}."
        )
        # A day's and a month's budget of one line are two alarms.
        yield Reading(replace(scope, label=f"budget {state.name}"), True, text, state.period_start)


def _token_drift(session: Session, rule: Rule, now: datetime) -> Iterator[Reading]:
    since = now - timedelta(seconds=rule.told.window_s)
    found = [one for one in token_drifts(session, since=since) if abs(one.share) >= rule.told.share]
    for model in sorted({one.model for one in found}):
        drifts = [one for one in found if one.model == model]
        worst = max(drifts, key=lambda one: abs(one.share))
        text = (
            f"{len(drifts)} requests to {model} were billed otherwise than expected in {rule.told.window_s} s; "
            f"the worst by {worst.share:+.1%}: {worst.tokens} tokens, promised {worst.promised} ({worst.source}, "
            f"template {worst.template})."
        )
        began = min(one.created_at for one in drifts)
        yield Reading(Scope(label=f"tokens of {model}"), True, text, began, facts={"requests": len(drifts)})


def _accuracy(session: Session, rule: Rule, _now: datetime) -> Iterator[Reading]:
    told = rule.told
    kinds = [ReviewKind.LABELLED, ReviewKind.AGREEMENT, ReviewKind.FEEDBACK]
    for newest, *_ in newest_reviews(session, kinds=kinds, max_age_h=told.max_age_h):
        found = newest.found
        if found.low is None or found.high is None:
            continue  # too small a sample says nothing, and never alarms
        lost = {
            ReviewKind.LABELLED: found.low > told.lost,
            ReviewKind.AGREEMENT: found.high < told.agreement,
            ReviewKind.FEEDBACK: found.high < told.precision,
        }
        if lost[found.kind]:
            scope = Scope(label=f"{found.measure} of {newest.model}")
            yield Reading(scope, True, _advised(found), newest.reviewed_at, facts=_facts(newest))


def _drift(session: Session, rule: Rule, _now: datetime) -> Iterator[Reading]:
    told = rule.told
    for reviews in newest_reviews(session, kinds=[ReviewKind.DRIFT], each=told.reviews, max_age_h=told.max_age_h):
        newest, oldest = reviews[0], reviews[-1]
        moved = [
            one for one in reviews if one.found.verdict is ReviewVerdict.WARN and (one.found.value or 0) > told.psi
        ]
        if len(moved) < told.reviews or not _concerns(rule, newest.found.line, newest.found.camera):
            continue
        scope = Scope(newest.found.line, newest.found.camera)
        yield Reading(scope, True, newest.found.text, oldest.reviewed_at, facts=_facts(newest))


def _advised(found: Reviewed) -> str:
    """What was found with advice, also where the rule is stricter than the review was."""
    if found.advice is not Advice.NOTHING:
        return found.text
    by_kind = {ReviewKind.FEEDBACK: Advice.LABEL}
    return in_words(replace(found, advice=by_kind.get(found.kind, Advice.RECALIBRATE)))


def _concerns(rule: Rule, line: str | None, camera: str | None) -> bool:
    return rule.line in (None, line) and rule.camera in (None, camera)


def _facts(one: Review) -> dict[str, object]:
    found = one.found
    told = {name: getattr(found, name) for name in ("measure", "value", "low", "high", "bound", "sample")}
    return told | {"advice": found.advice.value, "model": one.model, "machine": one.machine, "review": str(one.id)}


Look = Callable[[Session, Rule, datetime], Iterator[Reading]]
LOOKS: Final[Mapping[RuleKind, Look]] = MappingProxyType(
    {
        RuleKind.ACCURACY: _accuracy,
        RuleKind.DRIFT: _drift,
        RuleKind.BUDGET: _budget,
        RuleKind.TOKEN_DRIFT: _token_drift,
        RuleKind.DEAD_LETTERS: _dead_letters,
        RuleKind.QUEUE_AGE: _queue_age,
        RuleKind.VERDICTS_MISSED: _missed,
    }
)
