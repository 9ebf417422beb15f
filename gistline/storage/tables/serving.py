"""Models, the passports of the engines made of them, what is served, and by whom."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from gistline.domain import PassportVerdict
from gistline.storage.tables.base import Base, ServingAction


class ModelRow(Base):
    """A model file, content included: whoever reaches the database can serve it.

    ``source_sha256`` is the FP32 file that a quantised one was made of; ``recipe`` holds what its quantiser wrote about
    itself. Loaded without ``content`` unless that is asked for.
    """

    __tablename__ = "models"
    __table_args__ = (
        CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="sha256_is_hex"),
        CheckConstraint("octet_length(content) = byte_count", name="content_is_whole"),
    )

    sha256: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(index=True)
    origin: Mapped[str]
    content: Mapped[bytes] = mapped_column(deferred=True, deferred_raiseload=True)
    byte_count: Mapped[int]
    labels: Mapped[dict[str, Any]]
    layout: Mapped[str]
    input_height: Mapped[int]
    input_width: Mapped[int]
    convolutions: Mapped[int]
    quantised_convolutions: Mapped[int]
    source_sha256: Mapped[str | None]
    calibration_sha256: Mapped[str | None]
    recipe: Mapped[dict[str, Any]]
    added_at: Mapped[datetime] = mapped_column(server_default=func.now())


class PassportRow(Base):
    """What an engine was measured to be worth, once and for all; the newest one of an engine counts.

    ``evidence`` is the whole passport, the columns beside it what is searched for.
    """

    __tablename__ = "passports"
    __table_args__ = (Index(None, "engine_id", "machine", "measured_at"), Index(None, "model_sha256", "measured_at"))

    id: Mapped[UUID] = mapped_column(primary_key=True)
    engine_id: Mapped[int] = mapped_column(ForeignKey("engines.id"))
    machine: Mapped[str]
    model_sha256: Mapped[str]
    verdict: Mapped[PassportVerdict]
    labelled_sha256: Mapped[str | None]
    evidence: Mapped[dict[str, Any]]
    measured_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ServingRow(Base):
    """One promotion; the newest row is what the fleet serves, its absence or a NULL model what the settings name.

    ``returns_to`` is the row that a rollback from this one brings back.
    """

    __tablename__ = "serving"
    __table_args__ = (CheckConstraint("NOT forced OR reason <> ''", name="forced_has_reason"),)

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    model_sha256: Mapped[str | None] = mapped_column(ForeignKey("models.sha256"))
    action: Mapped[ServingAction]
    returns_to: Mapped[int | None] = mapped_column(ForeignKey("serving.id"))
    passport_id: Mapped[UUID | None] = mapped_column(ForeignKey("passports.id"))
    forced: Mapped[bool] = mapped_column(server_default=text("false"))
    reason: Mapped[str] = mapped_column(server_default="")
    actor: Mapped[str]
    promoted_at: Mapped[datetime] = mapped_column(server_default=func.now())


class WorkerHeartbeat(Base):
    """Last sign of life of a worker process; ``ready`` is false while it may take no work (``detail`` says why)."""

    __tablename__ = "worker_heartbeats"

    name: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    ready: Mapped[bool]
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    beat_at: Mapped[datetime] = mapped_column(server_default=func.now())
    detail: Mapped[dict[str, Any]]
