"""Report windows, reports and the ledger of what they cost."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from gistline.domain import Language, Placement
from gistline.storage.tables.base import (
    AttemptState,
    Base,
    BatchState,
    Processing,
    WaitsFor,
    WindowState,
    cut_by,
    hangs_on,
)
from gistline.storage.tables.inspection import FindingRow


class ReportWindow(Base):
    """A stretch of time of one line that gets one report; a job like a frame, with lease and token.

    ``plan`` is what its prompts were first packed by, so that a later attempt packs the same ones. The findings of a
    ``deferred`` one wait for a later window's report; ``told_with`` is that window, from its claim on. ``waits_for``
    says why a pending window is not due, where that is no failure; ``error`` has the words. One with a ``deadline_at``
    is not urgent: its report may wait for a batch until then.
    """

    __tablename__ = "report_windows"
    __table_args__ = (
        Index(None, "available_at", postgresql_where=text("state = 'pending'")),
        Index(None, "lease_until", postgresql_where=text("state = 'running'")),
        Index(None, "line", "starts_at"),
        Index(None, "starts_at", "id"),
        Index("ix_report_windows_waiting", "line", postgresql_where=text("deferred AND told_with IS NULL")),
        CheckConstraint("ends_at > starts_at", name="ends_after_start"),
        CheckConstraint("(state = 'running') = (lease_until IS NOT NULL)", name="running_has_lease"),
        CheckConstraint("waits_for IS NULL OR state = 'pending'", name="pending_waits"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    line: Mapped[str]
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    plan: Mapped[dict[str, Any] | None]
    deferred: Mapped[bool] = mapped_column(server_default=text("false"))
    told_with: Mapped[UUID | None] = mapped_column(ForeignKey("report_windows.id"), index=True)
    state: Mapped[WindowState] = mapped_column(server_default=WindowState.PENDING.value)
    attempts: Mapped[int] = mapped_column(server_default="0")
    token: Mapped[UUID | None]
    lease_until: Mapped[datetime | None]
    available_at: Mapped[datetime] = mapped_column(server_default=func.now())
    sent_at: Mapped[datetime | None]
    waits_for: Mapped[WaitsFor | None]
    deadline_at: Mapped[datetime | None]
    error: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


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
    """A written report with its price and, beside it, what sending the frames' images would have cost.

    ``levels`` are the dollars, as decimal texts, that the same report would have cost in plainer forms.
    ``evidence`` has an object for every number and name of the body, in order: what it was traced to.
    ``findings`` is how many have their place in it, which the database holds it to when it is committed.
    """

    __tablename__ = "reports"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    window_id: Mapped[UUID] = mapped_column(ForeignKey("report_windows.id"), unique=True)
    writer: Mapped[str]
    model: Mapped[str]
    language: Mapped[Language] = mapped_column(server_default=Language.ENGLISH.value)
    body: Mapped[str]
    evidence: Mapped[list[Any]] = mapped_column(JSONB(), server_default=text("'[]'"))
    totals: Mapped[dict[str, Any]]
    findings: Mapped[int]
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
    levels: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)


class ReportFinding(Base):
    """Where in a report a finding was counted; a finding is in one report only."""

    __tablename__ = "report_findings"
    __table_args__ = (cut_by("frame_id"),)

    frame_id: Mapped[UUID] = mapped_column(primary_key=True)
    finding_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    report_id: Mapped[UUID] = mapped_column(ForeignKey("reports.id"), index=True)
    placement: Mapped[Placement]


class LlmBatch(Base):
    """A batch of requests at the provider, known there as ``api_id``; ``deadline_at`` is the first of its windows'."""

    __tablename__ = "llm_batches"
    __table_args__ = (
        Index("ix_llm_batches_open", "id", postgresql_where=text("state IN ('submitting', 'running', 'lost')")),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    api_id: Mapped[str | None] = mapped_column(unique=True)
    state: Mapped[BatchState]
    requests: Mapped[int]
    deadline_at: Mapped[datetime]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime | None]
    looked_at: Mapped[datetime | None]
    cancel_asked_at: Mapped[datetime | None]
    retry_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    error: Mapped[str | None]


class LlmAttempt(Base):
    """The ledger: one row for each HTTP attempt, written before it is sent.

    ``call`` names the answer of its window that was asked for; attempts at one call are numbered from 1. ``latency_ms``
    runs from sending to the end of the answer, or to giving up. ``promised_usd`` is the dearest that the attempt could
    come to, ``cameras`` counts the findings of each camera that it is about: budgets bear their shares by these. An
    attempt whose end nobody saw may be settled or released by hand; who did so, when and why stays in the row. One
    that goes with a batch keeps its ``request`` until that has ended. ``fixed_sha256`` tells which attempts share the
    part of the request that a prompt cache may keep.
    """

    __tablename__ = "llm_attempts"
    __table_args__ = (
        UniqueConstraint("window_id", "call", "attempt"),
        CheckConstraint("state <> 'paid' OR (usd IS NOT NULL AND price_id IS NOT NULL)", name="paid_has_price"),
        CheckConstraint(
            "(reconciled_at IS NULL) = (reconciled_by IS NULL) AND (reconciled_at IS NULL) = (reason IS NULL)",
            name="reconciled_with_reason",
        ),
        Index("ix_llm_attempts_open", "id", postgresql_where=text("state IN ('queued', 'sent', 'unknown')")),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    window_id: Mapped[UUID] = mapped_column(ForeignKey("report_windows.id"))
    call: Mapped[str] = mapped_column(server_default="report")
    attempt: Mapped[int]
    state: Mapped[AttemptState] = mapped_column(server_default=AttemptState.SENT.value)
    writer: Mapped[str]
    model: Mapped[str]
    simulated: Mapped[bool]
    processing: Mapped[Processing] = mapped_column(server_default=Processing.STANDARD.value)
    batch_id: Mapped[int | None] = mapped_column(ForeignKey("llm_batches.id"), index=True)
    request: Mapped[dict[str, Any] | None]
    body_sha256: Mapped[str]
    fixed_sha256: Mapped[str | None]
    request_id: Mapped[str | None]
    http_status: Mapped[int | None]
    input_tokens: Mapped[int | None]
    output_tokens: Mapped[int | None]
    cache_read_tokens: Mapped[int | None]
    cache_write_5m_tokens: Mapped[int | None]
    cache_write_1h_tokens: Mapped[int | None]
    latency_ms: Mapped[int | None]
    cameras: Mapped[dict[str, Any] | None]
    promised_usd: Mapped[Decimal | None]
    usd: Mapped[Decimal | None]
    price_id: Mapped[int | None] = mapped_column(ForeignKey("prices_used.id"))
    answer: Mapped[str | None]
    error: Mapped[str | None]
    sent_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)
    settled_at: Mapped[datetime | None]
    reconciled_at: Mapped[datetime | None]
    reconciled_by: Mapped[str | None]
    reason: Mapped[str | None]


hangs_on(ReportFinding, FindingRow)
