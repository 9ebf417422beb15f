"""What all tables share: names of constraints, types, states as text.

Names of constraints come from the convention below, so that migrations can name them. States are text with a check
constraint made from the enum: adding one is then a plain migration.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, cast

from sqlalchemy import BigInteger, DateTime, Enum, MetaData, Numeric, Table, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase

from gistline.domain import (
    DeadLetterKind,
    DeadLetterResolution,
    Feedback,
    FrameState,
    Language,
    PassportVerdict,
    Placement,
    Role,
    VerdictKind,
)
from gistline.domain_accuracy import Advice, ReviewKind, ReviewVerdict
from gistline.domain_acting import AlarmSeverity, AlarmState, DeliveryState, VerdictSource
from gistline.domain_money import BudgetPeriod, BudgetScope

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class WindowState(StrEnum):
    """Life of a report window: ``pending -> running -> written | failed``."""

    PENDING = "pending"
    RUNNING = "running"
    WRITTEN = "written"
    FAILED = "failed"


class WaitsFor(StrEnum):
    """What a pending window waits for, other than its turn."""

    BUDGET = "budget"
    BATCH = "batch"
    PROVIDER = "provider"


class Processing(StrEnum):
    """How an attempt is processed: at once, or with a batch at half the price."""

    STANDARD = "standard"
    BATCH = "batch"


class BatchState(StrEnum):
    """Life of a batch at the provider: ``submitting -> running -> collected``, or turned down, or lost and found."""

    SUBMITTING = "submitting"
    RUNNING = "running"
    TURNED_DOWN = "turned_down"
    LOST = "lost"
    COLLECTED = "collected"


class ServingAction(StrEnum):
    """How a model came to be served."""

    PROMOTE = "promote"
    ROLLBACK = "rollback"


class AttemptState(StrEnum):
    """What is known of one attempt at the LLM: sent, then paid, refused (not billed) or unknown.

    One that goes with a batch is queued first.
    """

    QUEUED = "queued"
    SENT = "sent"
    PAID = "paid"
    REFUSED = "refused"
    UNKNOWN = "unknown"


def _enum(kind: type[StrEnum], name: str) -> Enum:
    return Enum(
        kind,
        name=name,
        native_enum=False,
        create_constraint=True,
        length=16,
        values_callable=lambda members: [member.value for member in members],
    )


class Base(DeclarativeBase):
    """Base of all tables: time zones always kept, money exact."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012  (SQLAlchemy's own declared attribute)
        datetime: DateTime(timezone=True),
        str: Text(),
        int: BigInteger(),
        Decimal: Numeric(20, 12),
        dict[str, Any]: JSONB(),
        FrameState: _enum(FrameState, "state"),
        VerdictKind: _enum(VerdictKind, "kind"),
        VerdictSource: _enum(VerdictSource, "source"),
        AlarmSeverity: _enum(AlarmSeverity, "severity"),
        AlarmState: _enum(AlarmState, "state"),
        DeliveryState: _enum(DeliveryState, "state"),
        Placement: _enum(Placement, "placement"),
        WindowState: _enum(WindowState, "state"),
        AttemptState: _enum(AttemptState, "state"),
        PassportVerdict: _enum(PassportVerdict, "verdict"),
        ServingAction: _enum(ServingAction, "action"),
        Language: _enum(Language, "language"),
        WaitsFor: _enum(WaitsFor, "waits_for"),
        Processing: _enum(Processing, "processing"),
        BatchState: _enum(BatchState, "state"),
        BudgetScope: _enum(BudgetScope, "scope_kind"),
        BudgetPeriod: _enum(BudgetPeriod, "period"),
        DeadLetterKind: _enum(DeadLetterKind, "kind"),
        DeadLetterResolution: _enum(DeadLetterResolution, "resolution"),
        Role: _enum(Role, "role"),
        Feedback: _enum(Feedback, "opinion"),
        ReviewKind: _enum(ReviewKind, "kind"),
        ReviewVerdict: _enum(ReviewVerdict, "verdict"),
        Advice: _enum(Advice, "advice"),
    }


def cut_by(column: str) -> dict[str, str]:
    """Table arguments of one that is cut into ranges of an id of version 7, and so by time."""
    return {"postgresql_partition_by": f"RANGE ({column})"}


def hangs_on(row: type[Base], other: type[Base]) -> None:
    """Rows of the first table refer to rows of the second, by keys that only their partitions have."""
    cast(Table, row.__table__).add_is_dependent_on(cast(Table, other.__table__))
