"""What requests were billed in tokens, beside what was promised; the API's counts; and alarms where the two differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from gistline.domain import Language
from gistline.storage.tables import TokenCount, TokenDrift, TokenSample

KEPT = 200
"""Latest samples of a template that are read."""

COUNTS_KEPT = timedelta(days=7)
"""A count is of use while its request may be sent again."""


@dataclass(frozen=True, slots=True)
class NewSample:
    """One billed request. ``tokens`` are all its input tokens, cached ones too; ``expected`` None where unknown."""

    body_sha256: str
    model: str
    template: str
    language: Language
    request_bytes: int
    tokens: int
    promised: int
    expected: float | None
    source: str


@dataclass(frozen=True, slots=True)
class Drift:
    """An alarm: a request was billed further from what was expected than chance takes it, or more than promised.

    ``share`` is how far off, signed; ``source`` is what the promise came from (``counted``, ``learned``, ``ceiling``).
    """

    drift_id: int
    model: str
    template: str
    language: Language
    source: str
    promised: int
    tokens: int
    share: float
    created_at: datetime


def latest_samples(session: Session, model: str, template: str, language: Language) -> Sequence[TokenSample]:
    """The latest :data:`KEPT` samples of a template."""
    return session.scalars(
        select(TokenSample)
        .where(TokenSample.model == model, TokenSample.template == template, TokenSample.language == language)
        .order_by(TokenSample.id.desc())
        .limit(KEPT)
    ).all()


def add_sample(session: Session, sample: NewSample) -> bool:
    """Record a billed request; False when this very request was recorded before."""
    columns = {name: getattr(sample, name) for name in NewSample.__dataclass_fields__}
    added = session.execute(
        insert(TokenSample).values(**columns).on_conflict_do_nothing().returning(TokenSample.id)
    ).one_or_none()
    return added is not None


def add_drift(session: Session, sample: NewSample, share: float) -> Drift:
    """Keep an alarm."""
    row = TokenDrift(
        model=sample.model,
        template=sample.template,
        language=sample.language,
        source=sample.source,
        promised=sample.promised,
        tokens=sample.tokens,
        share=share,
    )
    session.add(row)
    session.flush()
    session.refresh(row)
    return _drift(row)


def token_drifts(session: Session, *, since: datetime, limit: int = 100) -> list[Drift]:
    """Alarms since a moment (timezone-aware), newest first."""
    rows = session.scalars(
        select(TokenDrift).where(TokenDrift.created_at >= since).order_by(TokenDrift.id.desc()).limit(limit)
    )
    return [_drift(row) for row in rows]


def known_count(session: Session, body_sha256: str, model: str) -> int | None:
    """The API's count of a request, None where it was not asked."""
    return session.scalar(
        select(TokenCount.tokens).where(TokenCount.body_sha256 == body_sha256, TokenCount.model == model)
    )


def keep_count(session: Session, body_sha256: str, model: str, tokens: int) -> None:
    """Keep the API's count of a request, and forget those that nobody can need any more."""
    session.execute(delete(TokenCount).where(TokenCount.counted_at < func.now() - COUNTS_KEPT))
    session.execute(
        insert(TokenCount).values(body_sha256=body_sha256, model=model, tokens=tokens).on_conflict_do_nothing()
    )


def _drift(row: TokenDrift) -> Drift:
    return Drift(
        drift_id=row.id,
        model=row.model,
        template=row.template,
        language=row.language,
        source=row.source,
        promised=row.promised,
        tokens=row.tokens,
        share=row.share,
        created_at=row.created_at,
    )
