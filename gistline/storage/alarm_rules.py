"""Rules, and what each remembers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from gistline.domain_acting import Scope
from gistline.errors import Conflict, NotFound
from gistline.storage.tables import AlarmRuleRow, AlarmStateRow


@dataclass(frozen=True, slots=True)
class StoredRule:
    """A rule with its id; ``fields`` are what :func:`gistline.alarms.rules.check_rule` takes.

    ``firing`` counts its scopes that have an alarm, ``held_back`` the notices that its cooldown dropped so far.
    """

    id: int
    fields: Mapping[str, Any]
    created_by: str
    created_at: datetime
    updated_at: datetime
    firing: int = 0
    held_back: int = 0


FIELDS = ("name", "kind", "severity", "line", "camera", "label", "params", "cooldown_s", "outputs", "enabled")


def insert_rule(session: Session, fields: Mapping[str, Any], *, by: str) -> None:
    """Add a rule.

    Raises:
        Conflict: there is one of this name.

    """
    new = insert(AlarmRuleRow).values(**fields, created_by=by).on_conflict_do_nothing(index_elements=["name"])
    if session.scalar(new.returning(AlarmRuleRow.id)) is None:
        raise Conflict(
            f"There is a rule {fields['name']!r} already.", cure="Take another name, or change it: gistline alarms set."
        )


def replace_rule(session: Session, fields: Mapping[str, Any]) -> None:
    """Change a rule.

    Raises:
        NotFound: there is none of this name.

    """
    changed = update(AlarmRuleRow).where(AlarmRuleRow.name == fields["name"])
    rule_id = session.scalar(changed.values(**fields, updated_at=func.now()).returning(AlarmRuleRow.id))
    if rule_id is None:
        raise _unknown(fields["name"])


def delete_rule(session: Session, name: str) -> None:
    """Remove a rule and what it remembers; alarms that it raised stay.

    Raises:
        NotFound: there is none of this name.

    """
    if session.scalar(delete(AlarmRuleRow).where(AlarmRuleRow.name == name).returning(AlarmRuleRow.id)) is None:
        raise _unknown(name)


def list_rules(session: Session, *, only_enabled: bool = False) -> list[StoredRule]:
    """Rules by name."""
    state = (
        select(
            AlarmStateRow.rule_id,
            func.count(AlarmStateRow.alarm_id).label("firing"),
            func.sum(AlarmStateRow.held_back).label("held_back"),
        )
        .group_by(AlarmStateRow.rule_id)
        .subquery()
    )
    statement = select(AlarmRuleRow, func.coalesce(state.c.firing, 0), func.coalesce(state.c.held_back, 0))
    statement = statement.outerjoin(state, state.c.rule_id == AlarmRuleRow.id).order_by(AlarmRuleRow.name)
    if only_enabled:
        statement = statement.where(AlarmRuleRow.enabled)
    return [_rule(row, int(firing), int(held)) for row, firing, held in session.execute(statement)]


def get_rule(session: Session, name: str) -> StoredRule:
    """One rule.

    Raises:
        NotFound: there is none of this name.

    """
    row = session.scalar(select(AlarmRuleRow).where(AlarmRuleRow.name == name))
    if row is None:
        raise _unknown(name)
    return _rule(row)


def states_of(session: Session, rule_id: int) -> dict[str, AlarmStateRow]:
    """What a rule remembers, by scope; changes of these rows are saved at the commit."""
    rows = session.scalars(select(AlarmStateRow).where(AlarmStateRow.rule_id == rule_id))
    return {row.scope: row for row in rows}


def new_state(session: Session, rule_id: int, scope: Scope) -> AlarmStateRow:
    """Begin to remember a scope."""
    row = AlarmStateRow(rule_id=rule_id, scope=scope.key, memory={}, held_back=0)
    row.line, row.camera, row.label = scope.line, scope.camera, scope.label
    session.add(row)
    return row


def _rule(row: AlarmRuleRow, firing: int = 0, held_back: int = 0) -> StoredRule:
    fields: Sequence[str] = FIELDS
    given = {name: getattr(row, name) for name in fields}
    return StoredRule(row.id, given, row.created_by, row.created_at, row.updated_at, firing, held_back)


def _unknown(name: str) -> NotFound:
    return NotFound(f"There is no rule {name!r}.", cure="'gistline alarms list' shows them all.")
