"""Rules look at what has happened; alarms and their notices are written in the same transaction.

One process at a time does it, any may: who dies half-way has done nothing, and the frames are still in the inbox.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import flag_modified
from uuid_utils.compat import uuid7

from gistline.alarms import frames as frame_rules
from gistline.alarms.notice import as_json
from gistline.alarms.rules import Rule, check_rule
from gistline.domain_acting import (
    FRAME_KINDS,
    AlarmEvent,
    AlarmState,
    DeliveryState,
    EndedFrame,
    Notice,
    Reading,
    RuleKind,
    Scope,
)
from gistline.errors import RequestRejected
from gistline.flows.alarm_readings import read_state
from gistline.storage import alarms
from gistline.storage.alarm_inbox import take_ended
from gistline.storage.alarm_rules import StoredRule, list_rules, new_state, states_of
from gistline.storage.cameras import list_cameras
from gistline.storage.session import Sessions, transaction
from gistline.storage.tables import AlarmDeliveryRow, AlarmRow, AlarmStateRow

log = logging.getLogger(__name__)

EVENTS = (RuleKind.CLASS, RuleKind.SEVERITY)
"""Kinds whose every match is news, so that one during a cooldown is a notice held back."""


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One round: frames judged, notices written, notices held back by cooldowns, and whether more frames wait."""

    frames: int = 0
    notices: int = 0
    held_back: int = 0
    more: bool = False


def evaluate_alarms(sessions: Sessions) -> Evaluated:
    """Do one round; nothing when another process does.

    Raises:
        StorageUnavailable: the database does not answer; nothing was changed.

    """
    with transaction(sessions) as session:
        if not alarms.evaluate_alone(session):
            return Evaluated()
        now = session.scalar(select(func.now()))
        if now is None:
            raise AssertionError("now() has a value")
        ended, more = take_ended(session)
        rules = [(stored.id, _checked(stored)) for stored in list_rules(session, only_enabled=True)]
        rounds = [_Round(session, rule_id, rule, now) for rule_id, rule in rules if rule is not None]
        for one in rounds:
            one.look(ended)
        return Evaluated(len(ended), sum(one.notices for one in rounds), sum(one.held_back for one in rounds), more)


def end_alarms(session: Session, stored: StoredRule, why: str) -> None:
    """End what a rule left firing, tell whoever heard of it, and forget what the rule remembered."""
    rule = _checked(stored)
    if rule is None:
        alarms.resolve_orphans(session, str(stored.fields["name"]))
        return
    _Round(session, stored.id, rule, session.execute(select(func.now())).scalar_one()).end(why)


class _Round:
    """One rule in one round."""

    def __init__(self, session: Session, rule_id: int, rule: Rule, now: datetime) -> None:
        self._session = session
        self._rule_id = rule_id
        self._rule = rule
        self._now = now
        self._states: dict[str, AlarmStateRow] = states_of(session, rule_id)
        self.notices = self.held_back = 0

    def look(self, ended: Sequence[EndedFrame]) -> None:
        if self._rule.kind in FRAME_KINDS:
            self._feed(ended)
            return
        read = list(read_state(self._session, self._rule, self._now))
        for reading in read:
            self._apply(self._state(reading.scope), reading)
        firing = {reading.scope.key for reading in read}
        for key, state in self._states.items():
            if key not in firing and state.alarm_id is not None:
                self._apply(state, Reading(_scope(state), False, "It is over."))

    def end(self, why: str) -> None:
        """Let go of every scope."""
        for key in list(self._states):
            self._let_go(key, why)

    def _feed(self, ended: Iterable[EndedFrame]) -> None:
        by_scope: dict[Scope, list[EndedFrame]] = {}
        for frame in ended:
            if frame_rules.concerns(self._rule, frame):
                by_scope.setdefault(frame_rules.scope_of(self._rule, frame), []).append(frame)
        for scope in self._watched():
            by_scope.setdefault(scope, [])
        if self._rule.kind is RuleKind.SILENCE:
            for key in self._states.keys() - {scope.key for scope in by_scope}:
                self._let_go(key, "Its camera may send no longer.")
        for scope, frames in by_scope.items():
            state = self._state(scope)
            memory: dict[str, Any] = copy.deepcopy(state.memory)
            reading = frame_rules.feed(self._rule, memory, scope, frames, self._now)
            if memory != state.memory or frames:
                state.memory = memory
                flag_modified(state, "memory")
            if reading is not None:
                self._apply(state, reading)

    def _watched(self) -> Iterable[Scope]:
        """Scopes that are looked at though no frame came: those remembered; for silence, cameras that may send."""
        if self._rule.kind is not RuleKind.SILENCE:
            yield from (_scope(state) for state in self._states.values())
            return
        for camera in list_cameras(self._session):
            if camera.keys and self._rule.line in (None, camera.line) and self._rule.camera in (None, camera.name):
                yield Scope(camera.line, camera.name)

    def _state(self, scope: Scope) -> AlarmStateRow:
        if scope.key not in self._states:
            self._states[scope.key] = new_state(self._session, self._rule_id, scope)
        return self._states[scope.key]

    def _apply(self, state: AlarmStateRow, reading: Reading) -> None:
        alarm = self._session.get(AlarmRow, state.alarm_id) if state.alarm_id is not None else None
        if alarm is not None and alarm.state is AlarmState.RESOLVED:  # its rule was switched off meanwhile
            alarm = state.alarm_id = None
        if not reading.firing:
            if alarm is not None:
                self._resolve(state, alarm, reading)
            return
        is_new = alarm is None
        if alarm is None:
            alarm = self._fire(state, reading)
        else:
            alarm.text, alarm.facts, alarm.last_at = reading.text, reading.facts, self._now
            alarm.count += reading.hits
        if is_new or (self._rule.kind in EVENTS and reading.hits):
            self._notify_or_hold(state, alarm, max(1, reading.hits))

    def _fire(self, state: AlarmStateRow, reading: Reading) -> AlarmRow:
        alarm = AlarmRow(
            id=uuid7(),
            rule=self._rule.name,
            kind=self._rule.kind.value,
            severity=self._rule.severity,
            line=state.line,
            camera=state.camera,
            label=state.label,
            state=AlarmState.FIRING,
            text=reading.text,
            facts=reading.facts,
            count=max(1, reading.hits),
            held_back=0,
            since=reading.since or self._now,
            fired_at=self._now,
            last_at=self._now,
        )
        self._session.add(alarm)
        state.alarm_id = alarm.id
        return alarm

    def _notify_or_hold(self, state: AlarmStateRow, alarm: AlarmRow, hits: int) -> None:
        cooldown = timedelta(seconds=self._rule.cooldown_s)
        if state.notified_at is not None and self._now - state.notified_at < cooldown:
            state.held_back += hits
            alarm.held_back += hits
            self.held_back += hits
            return
        state.notified_at = self._now
        self._write(alarm, AlarmEvent.FIRING, alarm.text)

    def _resolve(self, state: AlarmStateRow, alarm: AlarmRow, reading: Reading) -> None:
        alarm.state, alarm.resolved_at, alarm.last_at = AlarmState.RESOLVED, self._now, self._now
        state.alarm_id = None
        if state.notified_at is not None and state.notified_at >= alarm.fired_at:  # who never heard of it needs no end
            self._write(alarm, AlarmEvent.RESOLVED, f"{reading.text} It was: {alarm.text}")

    def _let_go(self, key: str, why: str) -> None:
        """A scope is looked at no longer: its alarm, if it has one, is over."""
        state = self._states.pop(key)
        self._apply(state, Reading(_scope(state), False, why))
        self._session.delete(state)

    def _write(self, alarm: AlarmRow, event: AlarmEvent, text: str) -> None:
        for output in self._rule.outputs:
            write_delivery(self._session, alarm, output, event, text=text, at=self._now)
            self.notices += 1


def write_delivery(
    session: Session, alarm: AlarmRow, output: str, event: AlarmEvent, *, text: str, at: datetime
) -> UUID:
    """Put one notice into the outbox."""
    name, _, target = output.partition(":")
    notice = Notice(
        id=uuid7(),
        alarm_id=alarm.id,
        event=event,
        rule=alarm.rule,
        kind=alarm.kind,
        severity=alarm.severity,
        scope=Scope(alarm.line, alarm.camera, alarm.label),
        text=text,
        since=alarm.since,
        at=at,
        count=alarm.count,
        held_back=alarm.held_back,
        facts=alarm.facts,
    )
    told: Mapping[str, Any] = as_json(notice)
    session.add(
        AlarmDeliveryRow(
            id=notice.id,
            alarm_id=alarm.id,
            output=name,
            target=target,
            notice=told,
            state=DeliveryState.PENDING,
            attempts=0,
        )
    )
    return notice.id


def _checked(stored: StoredRule) -> Rule | None:
    """None for a rule that another version of the program wrote and this one does not understand."""
    try:
        return check_rule(stored.fields)
    except RequestRejected as error:
        log.error("rule %s is not looked at: %s", stored.fields["name"], error)
        return None


def _scope(state: AlarmStateRow) -> Scope:
    return Scope(state.line, state.camera, state.label)
