"""All tables, typed. Postgres only: the queue leans on SKIP LOCKED, partial indexes and RETURNING.

Names of constraints come from the convention below, so that migrations can name them. States are text with a check
constraint made from the enum: adding one is then a plain migration.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    Enum,
    ForeignKey,
    Identity,
    Index,
    MetaData,
    Numeric,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from gistline.domain import FrameState, Placement, VerdictKind

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


class AttemptState(StrEnum):
    """What is known of one HTTP attempt at the LLM: sent, then paid, refused (not billed) or unknown."""

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
        Placement: _enum(Placement, "placement"),
        WindowState: _enum(WindowState, "state"),
        AttemptState: _enum(AttemptState, "state"),
    }


class Camera(Base):
    """A camera; it belongs to a production line."""

    __tablename__ = "cameras"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    line: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ApiKey(Base):
    """A camera's key, of which only the SHA-256 is kept: the key is 256 random bits, so no slow hash is needed."""

    __tablename__ = "api_keys"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    camera_id: Mapped[int] = mapped_column(ForeignKey("cameras.id"), index=True)
    key_sha256: Mapped[bytes] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    revoked_at: Mapped[datetime | None]


class EngineRow(Base):
    """A detector as it really ran, one row for each distinct combination."""

    __tablename__ = "engines"
    __table_args__ = (
        UniqueConstraint(
            "weights_sha256", "runtime", "device", "precision", "int8_convolutions", name="uq_engines_identity"
        ),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    model: Mapped[str]
    weights_sha256: Mapped[str]
    runtime: Mapped[str]
    device: Mapped[str]
    precision: Mapped[str]
    convolutions: Mapped[int]
    int8_convolutions: Mapped[int]
    labels: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ReportWindow(Base):
    """A stretch of time of one line that gets one report; a job like a frame, with lease and token."""

    __tablename__ = "report_windows"
    __table_args__ = (
        Index(None, "available_at", postgresql_where=text("state = 'pending'")),
        Index(None, "lease_until", postgresql_where=text("state = 'running'")),
        Index(None, "line", "starts_at"),
        CheckConstraint("ends_at > starts_at", name="ends_after_start"),
        CheckConstraint("(state = 'running') = (lease_until IS NOT NULL)", name="running_has_lease"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    line: Mapped[str]
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    state: Mapped[WindowState] = mapped_column(server_default=WindowState.PENDING.value)
    attempts: Mapped[int] = mapped_column(server_default="0")
    token: Mapped[UUID | None]
    lease_until: Mapped[datetime | None]
    available_at: Mapped[datetime] = mapped_column(server_default=func.now())
    sent_at: Mapped[datetime | None]
    error: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class FrameRow(Base):
    """An accepted frame: the job that must not be lost. Its bytes live in the frame store under ``sha256``."""

    __tablename__ = "frames"
    __table_args__ = (
        UniqueConstraint("camera_id", "idempotency_key"),
        Index("ix_frames_pending", "priority", "accepted_at", "id", postgresql_where=text("state = 'pending'")),
        Index("ix_frames_running", "lease_until", postgresql_where=text("state = 'running'")),
        Index(
            "ix_frames_unreported",
            "line",
            "finished_at",
            postgresql_where=text("report_window_id IS NULL AND finished_at IS NOT NULL"),
        ),
        Index("ix_frames_kept", "finished_at", postgresql_where=text("bytes_stored AND finished_at IS NOT NULL")),
        Index(
            "ix_frames_suspect",
            "priority",
            "accepted_at",
            "id",
            postgresql_where=text("state = 'pending' AND (attempts > 0 OR error IS NOT NULL)"),
        ),
        Index(
            "ix_frames_deadline", "expires_at", postgresql_where=text("state = 'pending' AND expires_at IS NOT NULL")
        ),
        CheckConstraint("(state = 'running') = (lease_until IS NOT NULL)", name="running_has_lease"),
        CheckConstraint(
            "(state IN ('inspected', 'failed', 'expired')) = (finished_at IS NOT NULL)", name="final_has_end"
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    camera_id: Mapped[int] = mapped_column(ForeignKey("cameras.id"))
    line: Mapped[str]
    part_number: Mapped[str | None]
    idempotency_key: Mapped[str]
    sha256: Mapped[str] = mapped_column(index=True)
    media_type: Mapped[str]
    byte_count: Mapped[int]
    width: Mapped[int]
    height: Mapped[int]
    bytes_stored: Mapped[bool] = mapped_column(server_default=text("true"))
    captured_at: Mapped[datetime]
    accepted_at: Mapped[datetime] = mapped_column(server_default=func.now())

    state: Mapped[FrameState] = mapped_column(server_default=FrameState.PENDING.value)
    priority: Mapped[int] = mapped_column(server_default="5")
    attempts: Mapped[int] = mapped_column(server_default="0")
    token: Mapped[UUID | None]
    lease_until: Mapped[datetime | None]
    available_at: Mapped[datetime] = mapped_column(server_default=func.now())
    sent_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    error: Mapped[str | None]
    traceparent: Mapped[str | None]

    engine_id: Mapped[int | None] = mapped_column(ForeignKey("engines.id"))
    report_window_id: Mapped[UUID | None] = mapped_column(ForeignKey("report_windows.id"), index=True)


class FindingRow(Base):
    """A detection that counted, with the thresholds that made it."""

    __tablename__ = "findings"
    __table_args__ = (
        UniqueConstraint("frame_id", "engine_id", "label", "x", "y", "w", "h"),
        CheckConstraint("confidence BETWEEN 0 AND 1", name="confidence_is_share"),
        CheckConstraint("severity BETWEEN 1 AND 3", name="severity_in_range"),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    frame_id: Mapped[UUID] = mapped_column(ForeignKey("frames.id"))
    engine_id: Mapped[int] = mapped_column(ForeignKey("engines.id"))
    label: Mapped[str]
    confidence: Mapped[float]
    x: Mapped[float]
    y: Mapped[float]
    w: Mapped[float]
    h: Mapped[float]
    severity: Mapped[int]
    min_confidence: Mapped[float]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class VerdictRow(Base):
    """The one verdict on a frame."""

    __tablename__ = "verdicts"

    frame_id: Mapped[UUID] = mapped_column(ForeignKey("frames.id"), primary_key=True)
    engine_id: Mapped[int | None] = mapped_column(ForeignKey("engines.id"))
    kind: Mapped[VerdictKind]
    reason: Mapped[str]
    ng_confidence: Mapped[float]
    decided_at: Mapped[datetime] = mapped_column(server_default=func.now())


class PriceUsed(Base):
    """A price vector as it stood when a call was priced; never edited."""

    __tablename__ = "prices_used"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    model: Mapped[str]
    source: Mapped[str]
    source_version: Mapped[str]
    vector: Mapped[dict[str, Any]]
    vector_sha256: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ReportRow(Base):
    """A written report with its price and, beside it, what sending the frames' images would have cost."""

    __tablename__ = "reports"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    window_id: Mapped[UUID] = mapped_column(ForeignKey("report_windows.id"), unique=True)
    writer: Mapped[str]
    model: Mapped[str]
    body: Mapped[str]
    totals: Mapped[dict[str, Any]]
    token_budget: Mapped[int]
    prompt_tokens: Mapped[int]
    prompt_ceiling_tokens: Mapped[int]
    input_tokens: Mapped[int]
    output_tokens: Mapped[int]
    cost_usd: Mapped[Decimal]
    simulated: Mapped[bool]
    image_tokens: Mapped[int]
    image_usd: Mapped[Decimal]
    image_plan: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)


class ReportFinding(Base):
    """Where in a report a finding was counted; a finding is in one report only."""

    __tablename__ = "report_findings"

    finding_id: Mapped[int] = mapped_column(ForeignKey("findings.id"), primary_key=True)
    report_id: Mapped[UUID] = mapped_column(ForeignKey("reports.id"), index=True)
    placement: Mapped[Placement]


class LlmAttempt(Base):
    """The ledger: one row for each HTTP attempt, written before it is sent."""

    __tablename__ = "llm_attempts"
    __table_args__ = (
        UniqueConstraint("window_id", "attempt"),
        CheckConstraint("state <> 'paid' OR (usd IS NOT NULL AND price_id IS NOT NULL)", name="paid_has_price"),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    window_id: Mapped[UUID] = mapped_column(ForeignKey("report_windows.id"))
    attempt: Mapped[int]
    state: Mapped[AttemptState] = mapped_column(server_default=AttemptState.SENT.value)
    writer: Mapped[str]
    model: Mapped[str]
    simulated: Mapped[bool]
    body_sha256: Mapped[str]
    request_id: Mapped[str | None]
    http_status: Mapped[int | None]
    input_tokens: Mapped[int | None]
    output_tokens: Mapped[int | None]
    cache_read_tokens: Mapped[int | None]
    cache_write_5m_tokens: Mapped[int | None]
    cache_write_1h_tokens: Mapped[int | None]
    usd: Mapped[Decimal | None]
    price_id: Mapped[int | None] = mapped_column(ForeignKey("prices_used.id"))
    answer: Mapped[str | None]
    error: Mapped[str | None]
    sent_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)
    settled_at: Mapped[datetime | None]


class WorkerHeartbeat(Base):
    """Last sign of life of a worker process; ``ready`` is false while it may take no work (``detail`` says why)."""

    __tablename__ = "worker_heartbeats"

    name: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    ready: Mapped[bool]
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    beat_at: Mapped[datetime] = mapped_column(server_default=func.now())
    detail: Mapped[dict[str, Any]]
