"""Rules come, change and go; each change is noted in the audit. A rule can be tried out before it is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from uuid_utils.compat import uuid7

from gistline.alarms.rules import Rule, check_rule
from gistline.domain_acting import AlarmEvent, AlarmState, DeliveryState
from gistline.flows.evaluate_alarms import end_alarms, write_delivery
from gistline.storage import alarm_rules, alarms, audit
from gistline.storage.session import Sessions, transaction
from gistline.storage.tables import AlarmRow

LOOKS_AT: Final = ("kind", "line", "camera", "label", "params", "enabled")
"""Fields of a rule that say what it sees; the others say what becomes of that."""


def add_rule(sessions: Sessions, given: Mapping[str, Any], *, by: str) -> Rule:
    """Add a rule; it is looked at from the next round on.

    Raises:
        RequestRejected: a value is unknown or out of bounds.
        Conflict: there is a rule of this name.
        StorageUnavailable: the database does not answer.

    """
    rule = check_rule(given)
    with transaction(sessions) as session:
        alarm_rules.insert_rule(session, rule.model_dump(mode="json"), by=by)
        audit.record(session, actor=by, action="alarm.add", subject=f"rule {rule.name}", detail=_detail(rule))
    return rule


def set_rule(sessions: Sessions, name: str, changes: Mapping[str, Any], *, by: str) -> Rule:
    """Change fields of a rule; ``params`` are changed one by one.

    A rule that looks at something else now, or is switched off, ends its alarms and begins anew.

    Raises:
        RequestRejected: a value is unknown or out of bounds.
        NotFound: there is no rule of this name.
        StorageUnavailable: the database does not answer.

    """
    with transaction(sessions) as session:
        alarms.wait_for_evaluation(session)
        before = alarm_rules.get_rule(session, name)
        params = {**before.fields["params"], **changes.get("params", {})}
        rule = check_rule({**before.fields, **changes, "params": params, "name": name})
        fields = rule.model_dump(mode="json")
        if any(fields[one] != before.fields[one] for one in LOOKS_AT):
            end_alarms(session, before, "Its rule was changed.")
        alarm_rules.replace_rule(session, fields)
        audit.record(session, actor=by, action="alarm.set", subject=f"rule {name}", detail=_detail(rule))
    return rule


def remove_rule(sessions: Sessions, name: str, *, by: str) -> None:
    """Remove a rule; its alarms end and stay to be read.

    Raises:
        NotFound: there is no rule of this name.
        StorageUnavailable: the database does not answer.

    """
    with transaction(sessions) as session:
        alarms.wait_for_evaluation(session)
        end_alarms(session, alarm_rules.get_rule(session, name), "Its rule was removed.")
        session.flush()
        alarm_rules.delete_rule(session, name)
        audit.record(session, actor=by, action="alarm.remove", subject=f"rule {name}")


def try_rule(sessions: Sessions, name: str, *, by: str) -> list[UUID]:
    """Send a notice marked TEST by every output of a rule, through the same outbox; returns the deliveries' ids.

    Raises:
        NotFound: there is no rule of this name.
        StorageUnavailable: the database does not answer.

    """
    now = datetime.now(UTC)
    with transaction(sessions) as session:
        rule = check_rule(alarm_rules.get_rule(session, name).fields)
        alarm = AlarmRow(
            id=uuid7(),
            rule=rule.name,
            kind=rule.kind.value,
            severity=rule.severity,
            line=rule.line,
            camera=rule.camera,
            label=rule.label,
            state=AlarmState.RESOLVED,
            text=f"A test of rule {name}, asked for by {by}. Nothing is wrong.",
            facts={"test": True},
            count=0,
            held_back=0,
            since=now,
            resolved_at=now,
        )
        session.add(alarm)
        audit.record(session, actor=by, action="alarm.test", subject=f"rule {name}")
        return [
            write_delivery(session, alarm, output, AlarmEvent.TEST, text=alarm.text, at=now) for output in rule.outputs
        ]


def decide_deliveries(sessions: Sessions, ids: Sequence[UUID] | None, state: DeliveryState, *, by: str) -> list[UUID]:
    """Try dead deliveries again, or let them go; None takes all dead ones. Returns the ids that were changed.

    Raises:
        StorageUnavailable: the database does not answer; nothing was changed.

    """
    with transaction(sessions) as session:
        changed = alarms.decide_deliveries(session, ids, state)
        verb = "retry" if state is DeliveryState.PENDING else "discard"
        for one in changed:
            audit.record(session, actor=by, action=f"delivery.{verb}", subject=f"delivery {one}")
    return changed


def _detail(rule: Rule) -> dict[str, Any]:
    """The rule without what may be secret: a webhook's own address."""
    told: dict[str, Any] = rule.model_dump(mode="json")
    return told | {"outputs": [one.partition(":")[0] if one.startswith("webhook") else one for one in rule.outputs]}
