"""Reviews of engines in service, written once, and what each camera's drift is measured against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Final, cast
from uuid import UUID

from sqlalchemy import Select, SQLColumnExpression, delete, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from gistline.domain_accuracy import Review, Reviewed, ReviewKind, ReviewVerdict
from gistline.storage.keyset import AnySelect, Cut, Page, read_page
from gistline.storage.passports import holding_alone
from gistline.storage.session import Sessions
from gistline.storage.sight import Lines, within
from gistline.storage.tables import AccuracyReviewRow, DriftReferenceRow, EngineRow

REVIEW_LOCK: Final = 7_161_238
"""First half of the advisory locks of reviewing: the second is 0 while measuring, 1 while writing."""
_FOUND: Final = tuple(one.name for one in fields(Reviewed))
_ROW = AccuracyReviewRow
_LINE = cast("SQLColumnExpression[str]", _ROW.line)


@contextmanager
def reviewing_alone(sessions: Sessions) -> Iterator[bool]:
    """Try to become the one process that reviews; yields whether it is. Whoever dies lets go."""
    with holding_alone(sessions, REVIEW_LOCK, 0) as alone:
        yield alone


def write_alone(session: Session) -> None:
    """Wait until nobody else writes reviews; holds until the transaction ends."""
    session.execute(select(func.pg_advisory_xact_lock(REVIEW_LOCK, 1)))


def save_reviews(
    session: Session, found: Sequence[Reviewed], *, engine_id: int, passport_id: UUID | None, machine: str
) -> None:
    """Store what was found about one engine; all at the transaction's time."""
    for one in found:
        told = asdict(one) | {"evidence": dict(one.evidence)}
        session.add(_ROW(id=uuid7(), engine_id=engine_id, passport_id=passport_id, machine=machine, **told))


def last_reviewed(session: Session, engine_id: int) -> datetime | None:
    """When an engine was last reviewed, wherever."""
    return session.scalar(select(func.max(_ROW.reviewed_at)).where(_ROW.engine_id == engine_id))


def newest_times(session: Session) -> dict[ReviewKind, datetime]:
    """When the newest review of each kind was, however long ago."""
    newest = session.execute(select(_ROW.kind, func.max(_ROW.reviewed_at)).group_by(_ROW.kind))
    return {row[0]: row[1] for row in newest}


@dataclass(frozen=True, slots=True)
class ReviewFilter:
    """Which reviews; None is everything. ``of_lines`` leaves out those that belong to no line."""

    lines: Lines = None
    kind: ReviewKind | None = None
    verdict: ReviewVerdict | None = None
    camera: str | None = None
    of_lines: bool = False


def list_reviews(session: Session, wanted: ReviewFilter, cut: Cut) -> Page[Review]:
    """Reviews, newest first; those of a camera only where its line may be seen."""
    seen = within(_LINE, wanted.lines)
    statement: AnySelect = _reviews().where(seen if wanted.of_lines else or_(_LINE.is_(None), seen))
    for column, value in ((_ROW.kind, wanted.kind), (_ROW.verdict, wanted.verdict), (_ROW.camera, wanted.camera)):
        if value is not None:
            statement = statement.where(column == value)
    return read_page(session, statement, [_ROW.reviewed_at, _ROW.id], cut, lambda row: _review(row[0], row[1]))


def figures_since(session: Session, since: datetime, *, limit: int) -> list[Review]:
    """Reviews that say something about the whole engine, oldest first; the newest ``limit`` of them."""
    told = _reviews().where(_ROW.reviewed_at >= since, _ROW.value.is_not(None), _ROW.camera.is_(None))
    rows = session.execute(told.order_by(_ROW.reviewed_at.desc(), _ROW.id.desc()).limit(limit)).all()
    return [_review(row[0], row[1]) for row in reversed(rows)]


def get_review(session: Session, review_id: UUID) -> Review | None:
    """One review, None where there is none of this id."""
    row = session.execute(_reviews().where(_ROW.id == review_id)).one_or_none()
    return _review(row[0], row[1]) if row is not None else None


def newest_reviews(
    session: Session, *, kinds: Sequence[ReviewKind] = tuple(ReviewKind), each: int = 1, max_age_h: float = 24 * 365
) -> list[list[Review]]:
    """The newest ``each`` reviews of every kind, machine and camera, newest first, that are not older than so.

    A promotion's first review takes the place of the ones of the engine before.
    """
    rank = func.row_number().over(
        partition_by=(_ROW.kind, _ROW.machine, _ROW.camera), order_by=(_ROW.reviewed_at.desc(), _ROW.id.desc())
    )
    young = _ROW.reviewed_at > func.now() - timedelta(hours=max_age_h)
    ranked = select(_ROW.id, rank.label("rank")).where(young, _ROW.kind.in_(kinds)).subquery()
    newest = _reviews().join(ranked, ranked.c.id == _ROW.id).where(ranked.c.rank <= each)
    rows = session.execute(newest.order_by(_ROW.kind, _ROW.machine, _ROW.camera, ranked.c.rank))
    groups: dict[tuple[Any, ...], list[Review]] = {}
    for found in rows:
        row = found[0]
        groups.setdefault((row.kind, row.machine, row.camera), []).append(_review(row, found[1]))
    return list(groups.values())


def prune_reviews(session: Session, *, keep_days: int) -> int:
    """Delete old reviews; returns how many."""
    old = delete(_ROW).where(_ROW.reviewed_at < func.now() - timedelta(days=keep_days)).returning(_ROW.id)
    return len(session.scalars(old.execution_options(synchronize_session=False)).all())


def references(session: Session, engine_id: int) -> dict[tuple[str, str], DriftReferenceRow]:
    """What drift is measured against, by camera and source."""
    rows = session.scalars(select(DriftReferenceRow).where(DriftReferenceRow.engine_id == engine_id))
    return {(row.camera, row.source): row for row in rows}


def keep_reference(
    session: Session, engine_id: int, place: tuple[str, str], counts: Mapping[str, Any], *, frames: int
) -> None:
    """Keep the first one of a camera and source."""
    camera, source = place
    new = insert(DriftReferenceRow).values(
        engine_id=engine_id, camera=camera, source=source, counts=dict(counts), frames=frames
    )
    session.execute(new.on_conflict_do_nothing())


def forget_references(session: Session, *, camera: str | None) -> list[str]:
    """Forget what a camera (None: every camera) looked like; returns the cameras that had something to forget."""
    gone = delete(DriftReferenceRow).returning(DriftReferenceRow.camera)
    if camera is not None:
        gone = gone.where(DriftReferenceRow.camera == camera)
    return sorted(set(session.scalars(gone.execution_options(synchronize_session=False))))


def _reviews() -> Select[AccuracyReviewRow, str]:
    return select(_ROW, EngineRow.model).join(EngineRow, EngineRow.id == _ROW.engine_id)


def _review(row: AccuracyReviewRow, model: str) -> Review:
    found = Reviewed(**{name: getattr(row, name) for name in _FOUND})
    return Review(row.id, found, row.engine_id, model, row.passport_id, row.machine, row.reviewed_at)
