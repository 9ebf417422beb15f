"""What requests to the LLM were counted and billed in tokens, beside what was promised."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, Identity, Index, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from gistline.domain import Language
from gistline.storage.tables.base import Base


class TokenSample(Base):
    """One billed request: what a bound is learned from."""

    __tablename__ = "token_samples"
    __table_args__ = (
        UniqueConstraint("body_sha256", "model"),
        Index(None, "model", "template", "language", "id"),
        CheckConstraint("request_bytes > 0 AND tokens >= 0", name="counts_something"),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    body_sha256: Mapped[str]
    model: Mapped[str]
    template: Mapped[str]
    language: Mapped[Language]
    request_bytes: Mapped[int]
    tokens: Mapped[int]
    promised: Mapped[int]
    expected: Mapped[float | None]
    source: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class TokenCount(Base):
    """The API's own count of a request, by its digest."""

    __tablename__ = "token_counts"

    body_sha256: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    tokens: Mapped[int]
    counted_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)


class TokenDrift(Base):
    """An alarm: a bill further from what was expected than chance takes it."""

    __tablename__ = "token_drifts"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    model: Mapped[str]
    template: Mapped[str]
    language: Mapped[Language]
    source: Mapped[str]
    promised: Mapped[int]
    tokens: Mapped[int]
    share: Mapped[float]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)
