"""The words of what leaves the house: verdicts as a sorting gate hears them, and alarms."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from gistline.domain import VerdictKind


class VerdictSource(StrEnum):
    """Where a gate's verdict came from: an inspection, its failure, or a deadline that passed without either."""

    INSPECTION = "inspection"
    FAILURE = "failure"
    DEADLINE = "deadline"


@dataclass(frozen=True, slots=True)
class GateDecision:
    """What somebody would tell the gate about a frame; it counts if nobody told anything before."""

    frame_id: UUID
    kind: VerdictKind
    reason: str
    source: VerdictSource
    engine_id: int | None = None
    passport_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """The one verdict on a frame that its gate is told, for good.

    ``seq`` counts the verdicts of a camera from 1 on without a gap, in the order of decision. Times are timezone-aware
    UTC: ``captured_at`` by the camera's clock, the others by the database's. ``engine_id`` and ``passport_id`` are None
    when nobody looked.
    """

    seq: int
    kind: VerdictKind
    reason: str
    source: VerdictSource
    camera: str
    line: str
    frame_id: UUID
    frame_key: str
    part_number: str | None
    captured_at: datetime
    accepted_at: datetime
    decided_at: datetime
    engine_id: int | None
    passport_id: UUID | None


class AlarmSeverity(StrEnum):
    """How much an alarm matters."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class AlarmState(StrEnum):
    """Life of an alarm."""

    FIRING = "firing"
    RESOLVED = "resolved"


class AlarmEvent(StrEnum):
    """What a delivery tells: an alarm fires (again), it is over, or somebody tries the way out."""

    FIRING = "firing"
    RESOLVED = "resolved"
    TEST = "test"


class DeliveryState(StrEnum):
    """Life of a delivery: it waits, has arrived, was given up, or somebody let it go."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"
    DISCARDED = "discarded"


class RuleKind(StrEnum):
    """What a rule looks at; the first five at each frame that has ended, the others at the state of things."""

    CLASS = "class"
    SEVERITY = "severity"
    NG_RATE = "ng_rate"
    CONSECUTIVE_NG = "consecutive_ng"
    SILENCE = "silence"
    VERDICTS_MISSED = "verdicts_missed"
    DEAD_LETTERS = "dead_letters"
    QUEUE_AGE = "queue_age"
    BUDGET = "budget"
    TOKEN_DRIFT = "token_drift"  # noqa: S105 - tokens of a language model
    ACCURACY = "accuracy"
    DRIFT = "drift"


FRAME_KINDS: frozenset[RuleKind] = frozenset(
    {RuleKind.CLASS, RuleKind.SEVERITY, RuleKind.NG_RATE, RuleKind.CONSECUTIVE_NG, RuleKind.SILENCE}
)
"""Kinds that are fed with every frame that has ended."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a rule looks, or where an alarm is: a line, a camera, a class; None is all of them."""

    line: str | None = None
    camera: str | None = None
    label: str | None = None

    @property
    def key(self) -> str:
        """One text for each scope."""
        return "\x1f".join(one or "" for one in (self.line, self.camera, self.label))

    def __str__(self) -> str:
        where = self.camera and (f"{self.camera} ({self.line})" if self.line else self.camera)
        where = where or self.line or "the whole site"
        return f"{self.label} at {where}" if self.label else where


@dataclass(frozen=True, slots=True)
class EndedFrame:
    """A frame that has ended, as rules see it: ``findings`` are ``(label, confidence, severity, centre)``."""

    frame_id: UUID
    camera: str
    line: str
    part_number: str | None
    captured_at: datetime
    accepted_at: datetime
    finished_at: datetime
    kind: VerdictKind
    reason: str
    findings: tuple[tuple[str, float, int, tuple[float, float]], ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """What a rule says of one scope now.

    ``hits`` counts what matched since the last reading: 0 for rules that look at a state. ``since`` is when the
    condition began. ``text`` says it all to somebody who can look nowhere else.
    """

    scope: Scope
    firing: bool
    text: str
    since: datetime | None = None
    hits: int = 0
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Notice:
    """What an output sends: ``id`` is the delivery's and stays the same however often it is tried."""

    id: UUID
    alarm_id: UUID
    event: AlarmEvent
    rule: str
    kind: str
    severity: AlarmSeverity
    scope: Scope
    text: str
    since: datetime
    at: datetime
    count: int
    held_back: int
    facts: dict[str, Any] = field(default_factory=dict)
