"""Rules that look at the state of things: queue, dead letters, missed verdicts, budgets, accuracy and drift."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from sqlalchemy.orm import Session

from gistline.alarms.rules import Rule
from gistline.domain_acting import Reading, RuleKind
from gistline.storage import alarm_sources as sources


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


Look = Callable[[Session, Rule, datetime], Iterator[Reading]]
LOOKS: Final[Mapping[RuleKind, Look]] = MappingProxyType(
    {RuleKind.DEAD_LETTERS: _dead_letters, RuleKind.QUEUE_AGE: _queue_age, RuleKind.VERDICTS_MISSED: _missed}
)
