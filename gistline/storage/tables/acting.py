"""What gates are told, when alarms are raised, and whom they reach."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, ForeignKey, Identity, Index, UniqueConstraint, Uuid, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from gistline.domain import VerdictKind
from gistline.domain_acting import AlarmSeverity, AlarmState, DeliveryState, VerdictSource
from gistline.storage.tables.base import Base


class GateVerdictRow(Base):
    """A frame that a gate waits for, and the one verdict that it is told; without ``kind`` nothing is decided yet.

    It repeats what the gate must know of the frame, so that deciding reads one row and old frames may go. ``late_kind``
    is what an inspection found after the gate was told something else.
    """

    __tablename__ = "gate_verdicts"
    __table_args__ = (
        UniqueConstraint("camera_id", "seq"),
        CheckConstraint("(kind IS NULL) = (seq IS NULL)", name="decided_has_seq"),
        CheckConstraint("(kind IS NULL) = (decided_at IS NULL)", name="decided_has_time"),
        CheckConstraint("(kind IS NULL) = (source IS NULL)", name="decided_has_source"),
        Index("ix_gate_verdicts_awaited", "due_at", postgresql_where=text("kind IS NULL")),
        Index(
            "ix_gate_verdicts_unpublished",
            "publish_at",
            postgresql_where=text("kind IS NOT NULL AND published_at IS NULL"),
        ),
        Index("ix_gate_verdicts_decided_at", "decided_at"),
    )

    frame_id: Mapped[UUID] = mapped_column(primary_key=True)
    camera_id: Mapped[int]
    camera: Mapped[str]
    line: Mapped[str]
    frame_key: Mapped[str]
    part_number: Mapped[str | None]
    captured_at: Mapped[datetime]
    accepted_at: Mapped[datetime]
    due_at: Mapped[datetime]
    kind: Mapped[VerdictKind | None]
    source: Mapped[VerdictSource | None]
    reason: Mapped[str | None]
    seq: Mapped[int | None]
    engine_id: Mapped[int | None]
    passport_id: Mapped[UUID | None]
    decided_at: Mapped[datetime | None]
    publish_at: Mapped[datetime | None]
    published_at: Mapped[datetime | None]
    late_kind: Mapped[str | None]
    late_at: Mapped[datetime | None]


class GateChannelRow(Base):
    """How many verdicts of a camera were decided: the number of its last one."""

    __tablename__ = "gate_channels"

    camera_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    camera: Mapped[str]
    last_seq: Mapped[int]


class AlarmRuleRow(Base):
    """A rule as :class:`gistline.alarms.rules.Rule` checked it."""

    __tablename__ = "alarm_rules"
    __table_args__ = (CheckConstraint("cooldown_s >= 0", name="cooldown_is_time"),)

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str]
    severity: Mapped[AlarmSeverity]
    line: Mapped[str | None]
    camera: Mapped[str | None]
    label: Mapped[str | None]
    params: Mapped[dict[str, Any]]
    cooldown_s: Mapped[int]
    outputs: Mapped[list[str]] = mapped_column(JSONB())
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class AlarmStateRow(Base):
    """What a rule remembers of one scope: counts, the alarm that fires, the last notice and what was held back."""

    __tablename__ = "alarm_states"

    rule_id: Mapped[int] = mapped_column(ForeignKey("alarm_rules.id", ondelete="CASCADE"), primary_key=True)
    scope: Mapped[str] = mapped_column(primary_key=True)
    line: Mapped[str | None]
    camera: Mapped[str | None]
    label: Mapped[str | None]
    memory: Mapped[dict[str, Any]]
    alarm_id: Mapped[UUID | None]
    notified_at: Mapped[datetime | None]
    held_back: Mapped[int] = mapped_column(server_default="0")


class AlarmRow(Base):
    """An alarm: what, where, since when, how often. It outlives its rule, so it names it."""

    __tablename__ = "alarms"
    __table_args__ = (
        CheckConstraint("(state = 'resolved') = (resolved_at IS NOT NULL)", name="resolved_has_end"),
        Index("ix_alarms_firing", "fired_at", postgresql_where=text("state = 'firing'")),
        Index("ix_alarms_fired_at", "fired_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    rule: Mapped[str]
    kind: Mapped[str]
    severity: Mapped[AlarmSeverity]
    line: Mapped[str | None]
    camera: Mapped[str | None]
    label: Mapped[str | None]
    state: Mapped[AlarmState]
    text: Mapped[str]
    facts: Mapped[dict[str, Any]]
    count: Mapped[int]
    held_back: Mapped[int] = mapped_column(server_default="0")
    since: Mapped[datetime]
    fired_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_at: Mapped[datetime] = mapped_column(server_default=func.now())
    resolved_at: Mapped[datetime | None]


class AlarmDeliveryRow(Base):
    """One notice to one output: written with the alarm, delivered at least once under the same id."""

    __tablename__ = "alarm_deliveries"
    __table_args__ = (
        Index("ix_alarm_deliveries_due", "available_at", postgresql_where=text("state = 'pending'")),
        Index("ix_alarm_deliveries_tried_at", "output", "tried_at"),
        Index("ix_alarm_deliveries_alarm_id", "alarm_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    alarm_id: Mapped[UUID]
    output: Mapped[str]
    target: Mapped[str] = mapped_column(server_default="")
    notice: Mapped[dict[str, Any]]
    state: Mapped[DeliveryState]
    attempts: Mapped[int] = mapped_column(server_default="0")
    available_at: Mapped[datetime] = mapped_column(server_default=func.now())
    tried_at: Mapped[datetime | None]
    error: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    ended_at: Mapped[datetime | None]


class AlarmInboxRow(Base):
    """Frames that ended in one transaction and that no rule has seen; gone once the rules have."""

    __tablename__ = "alarm_inbox"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    frame_ids: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid()))
