"""Alarms and their deliveries: written together, so that no alarm is without its notices, whatever dies.

Deliveries are an outbox: whoever takes one has it for a lease, and it comes back when that runs out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import any_, delete, func, select, text, update
from sqlalchemy.orm import Session

from gistline.domain_acting import AlarmState, DeliveryState
from gistline.storage.arrays import uuids
from gistline.storage.tables import AlarmDeliveryRow, AlarmRow

EVALUATE_LOCK: Final = 7_161_234_005
"""Advisory lock of evaluating: rules remember counts, so one process at a time feeds them."""
DELIVER_LOCK: Final = 7_161_234_006
"""Advisory lock of taking deliveries: the limits of the outputs are counted over all processes."""
DUE: Final = text("alarm_deliveries.state = 'pending' AND alarm_deliveries.available_at <= now()")
AT_ONCE: Final = 20


def evaluate_alone(session: Session) -> bool:
    """Whether this transaction may evaluate: false while another one does."""
    return bool(session.scalar(select(func.pg_try_advisory_xact_lock(EVALUATE_LOCK))))


def wait_for_evaluation(session: Session) -> None:
    """Return when nobody evaluates; nobody begins to before this transaction ends."""
    session.execute(select(func.pg_advisory_xact_lock(EVALUATE_LOCK)))


def take_due(session: Session, *, lease_s: float, max_per_minute: int) -> list[AlarmDeliveryRow]:
    """Take deliveries that are due, oldest first; each output gets at most ``max_per_minute`` attempts a minute."""
    if not session.scalar(select(func.pg_try_advisory_xact_lock(DELIVER_LOCK))):
        return []
    minute = AlarmDeliveryRow.tried_at > func.now() - timedelta(minutes=1)
    counts = select(AlarmDeliveryRow.output, func.count()).where(minute).group_by(AlarmDeliveryRow.output)
    left = {output: max_per_minute - used for output, used in session.execute(counts)}
    taken: list[AlarmDeliveryRow] = []
    due = select(AlarmDeliveryRow).where(DUE).order_by(AlarmDeliveryRow.created_at, AlarmDeliveryRow.id)
    full = [output for output, rest in left.items() if rest <= 0]
    for row in session.scalars(due.where(AlarmDeliveryRow.output.not_in(full)).limit(AT_ONCE).with_for_update()):
        left[row.output] = left.get(row.output, max_per_minute) - 1
        if left[row.output] < 0:
            continue
        row.attempts += 1
        row.tried_at = func.now()
        row.available_at = func.now() + timedelta(seconds=lease_s)
        taken.append(row)
    session.flush()
    session.expunge_all()
    return taken


def end_delivery(session: Session, delivery_id: UUID, state: DeliveryState, error: str | None = None) -> None:
    """A delivery has arrived, or is given up; one that somebody discarded meanwhile stays so."""
    end = update(AlarmDeliveryRow).where(
        AlarmDeliveryRow.id == delivery_id, AlarmDeliveryRow.state == DeliveryState.PENDING
    )
    session.execute(end.values(state=state, error=error, ended_at=func.now()))


def put_off(session: Session, delivery_id: UUID, error: str, wait_s: float) -> None:
    """A delivery failed and is to be tried again."""
    again = update(AlarmDeliveryRow).where(AlarmDeliveryRow.id == delivery_id)
    session.execute(again.values(error=error, available_at=func.now() + timedelta(seconds=wait_s)))


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery, for people."""

    id: UUID
    alarm_id: UUID
    output: str
    target: str
    state: DeliveryState
    attempts: int
    error: str | None
    notice: Mapping[str, Any]
    created_at: datetime
    available_at: datetime
    ended_at: datetime | None


def list_deliveries(
    session: Session, *, limit: int, states: Sequence[DeliveryState] = (), alarm_id: UUID | None = None
) -> list[Delivery]:
    """Deliveries, newest first."""
    statement = select(AlarmDeliveryRow).order_by(AlarmDeliveryRow.created_at.desc(), AlarmDeliveryRow.id.desc())
    if states:
        statement = statement.where(AlarmDeliveryRow.state.in_(states))
    if alarm_id is not None:
        statement = statement.where(AlarmDeliveryRow.alarm_id == alarm_id)
    names = Delivery.__dataclass_fields__
    return [Delivery(**{name: getattr(row, name) for name in names}) for row in session.scalars(statement.limit(limit))]


def decide_deliveries(session: Session, ids: Sequence[UUID] | None, state: DeliveryState) -> list[UUID]:
    """Try dead deliveries again (``PENDING``) or let dead and waiting ones go (``DISCARDED``); None: all dead.

    Returns:
        The ids changed.

    """
    from_ = (
        [DeliveryState.DEAD]
        if state is DeliveryState.PENDING or ids is None
        else [
            DeliveryState.DEAD,
            DeliveryState.PENDING,
        ]
    )
    change = update(AlarmDeliveryRow).where(AlarmDeliveryRow.state.in_(from_))
    if ids is not None:
        change = change.where(AlarmDeliveryRow.id == any_(uuids(ids)))
    values: dict[str, Any] = {"state": state, "ended_at": func.now()}
    if state is DeliveryState.PENDING:
        values = {"state": state, "ended_at": None, "attempts": 0, "available_at": func.now()}
    changed = change.values(**values).returning(AlarmDeliveryRow.id)
    return list(session.scalars(changed.execution_options(synchronize_session=False)))


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm, for people."""

    id: UUID
    rule: str
    kind: str
    severity: str
    line: str | None
    camera: str | None
    label: str | None
    state: AlarmState
    text: str
    facts: Mapping[str, Any]
    count: int
    held_back: int
    since: datetime
    fired_at: datetime
    last_at: datetime
    resolved_at: datetime | None


def list_alarms(session: Session, *, limit: int, firing: bool = False) -> list[Alarm]:
    """Alarms, newest first; with ``firing`` only those that are not over."""
    statement = select(AlarmRow).order_by(AlarmRow.fired_at.desc(), AlarmRow.id.desc()).limit(limit)
    if firing:
        statement = statement.where(AlarmRow.state == AlarmState.FIRING)
    names = Alarm.__dataclass_fields__
    return [Alarm(**{name: getattr(row, name) for name in names}) for row in session.scalars(statement)]


def resolve_orphans(session: Session, rule: str) -> None:
    """End what a rule left firing that this version of the program does not understand."""
    end = update(AlarmRow).where(AlarmRow.rule == rule, AlarmRow.state == AlarmState.FIRING)
    session.execute(end.values(state=AlarmState.RESOLVED, resolved_at=func.now()))


def prune_alarms(session: Session, *, keep_days: int) -> None:
    """Delete what was over long ago, with its deliveries."""
    old = func.now() - timedelta(days=keep_days)
    gone = delete(AlarmRow).where(AlarmRow.state == AlarmState.RESOLVED, AlarmRow.resolved_at < old)
    session.execute(gone)
    left = AlarmDeliveryRow.alarm_id.not_in(select(AlarmRow.id))
    ended = AlarmDeliveryRow.state != DeliveryState.PENDING
    session.execute(delete(AlarmDeliveryRow).where(AlarmDeliveryRow.created_at < old, ended, left))
