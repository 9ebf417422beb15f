"""Rows whose time is over: whole periods are dropped, what fell into no period is deleted row by row.

Nothing goes that somebody still needs (``what_holds``), and what goes is counted first (``RetiredPartition``), so that
``gistline ledger frames`` agrees before and after.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Delete, delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from gistline.storage.arrays import among
from gistline.storage.moments import lowest_id
from gistline.storage.partitions import DEFAULT, Period, when_quiet
from gistline.storage.tables import (
    DeadLetterRow,
    FindingRow,
    FrameKey,
    FrameRow,
    ReportFinding,
    RetiredPartition,
    VerdictRow,
)

WITH_FRAMES: Final = ("report_findings", "findings", "verdicts", "frames", "submissions")
"""Tables whose partitions of a period go together, those that refer first."""

_HOLDS: Final = {
    "frames that are not finished": "EXISTS (SELECT FROM {frames} WHERE state = 'pending') "
    "OR EXISTS (SELECT FROM {frames} WHERE state = 'running')",
    "frames that no report speaks of yet": "EXISTS (SELECT FROM {frames} "
    "WHERE report_window_id IS NULL AND finished_at IS NOT NULL) "
    "OR EXISTS (SELECT FROM report_windows w WHERE w.state IN ('pending', 'running') "
    "AND EXISTS (SELECT FROM {frames} f WHERE f.report_window_id = w.id))",
    "frames whose bytes are kept": "EXISTS (SELECT FROM {frames} WHERE bytes_stored AND finished_at IS NOT NULL)",
    "open dead letters": "EXISTS (SELECT FROM dead_letters "
    "WHERE resolved_at IS NULL AND frame_id >= :low AND frame_id < :end)",
    "frame keys": "EXISTS (SELECT FROM frame_keys WHERE frame_id >= :low AND frame_id < :end)",
}
"""Why a period stays. Each is answered by an index of its partition, however many rows that has."""

_STRAYS: Final = """
SELECT id FROM frames_default f
WHERE finished_at < :before AND NOT bytes_stored AND report_window_id IS NOT NULL
  AND NOT EXISTS (SELECT FROM report_windows w WHERE w.id = f.report_window_id AND w.state IN ('pending', 'running'))
  AND NOT EXISTS (SELECT FROM dead_letters l WHERE l.frame_id = f.id AND l.resolved_at IS NULL)
ORDER BY id LIMIT :chunk FOR UPDATE SKIP LOCKED
"""

_COUNT: Final = """
SELECT (SELECT coalesce(sum(frames), 0)::bigint FROM {submissions}),
       count(*) FILTER (WHERE state = 'inspected'), count(*) FILTER (WHERE state = 'failed'),
       count(*) FILTER (WHERE state = 'expired'), (SELECT count(*) FROM {findings})
FROM {frames}
"""
_COUNT_STRAYS: Final = """
SELECT 0, count(*) FILTER (WHERE state = 'inspected'), count(*) FILTER (WHERE state = 'failed'),
       count(*) FILTER (WHERE state = 'expired'), (SELECT count(*) FROM findings_default WHERE frame_id = ANY(:ids))
FROM frames_default WHERE id = ANY(:ids)
"""


@dataclass(frozen=True, slots=True)
class Counted:
    """What is counted of rows before they go."""

    accepted: int = 0
    inspected: int = 0
    failed: int = 0
    expired: int = 0
    findings: int = 0


def what_holds(session: Session, period: Period) -> list[str]:
    """Why the period's frames must stay; empty when they may go."""
    frames = f"frames_{period.name}"
    questions = ", ".join(question.format(frames=frames) for question in _HOLDS.values())
    answers = session.execute(text(f"SELECT {questions}"), {"low": period.lowest, "end": period.end}).one()
    return [reason for reason, holds in zip(_HOLDS, answers, strict=True) if holds]


def count_period(session: Session, period: Period) -> Counted:
    """Count what a period holds, without a lock: of a period that nothing holds nothing changes any more."""
    frames, findings, submissions = (f"{table}_{period.name}" for table in ("frames", "findings", "submissions"))
    session.execute(text("SET LOCAL statement_timeout = 0"))  # it reads the whole of it
    counted = _COUNT.format(frames=frames, findings=findings, submissions=submissions)
    return Counted(*session.execute(text(counted)).one())


def drop_period(session: Session, period: Period, counted: Counted, *, wait_ms: int) -> bool:
    """Drop the partitions of the period's frames and all that hangs on them, and book what they held.

    Returns:
        Whether they are gone; false when somebody needs them after all, or the tables stayed busy for ``wait_ms``.

    """

    def drop() -> bool:
        if what_holds(session, period):
            return False
        session.execute(insert(RetiredPartition).values(partition=period.name, **asdict(counted)))
        of_period = DeadLetterRow.frame_id >= period.lowest, DeadLetterRow.frame_id < period.end
        session.execute(delete(DeadLetterRow).where(*of_period))
        session.execute(text(f"DROP TABLE {', '.join(f'{table}_{period.name}' for table in WITH_FRAMES)}"))
        return True

    return when_quiet(session, WITH_FRAMES, drop, wait_ms=wait_ms)


def drop_batches(session: Session, period: Period, *, wait_ms: int) -> bool:
    """Drop the period's notes about batches; false when the table stayed busy."""

    def drop() -> bool:
        session.execute(text(f"DROP TABLE batches_{period.name}"))
        return True

    return when_quiet(session, ["batches"], drop, wait_ms=wait_ms)


def forget_keys(session: Session, *, before: datetime, chunk: int) -> int:
    """Delete keys of frames that were accepted before a moment; returns how many, at most ``chunk``."""
    old = select(FrameKey.frame_id).where(FrameKey.frame_id < lowest_id(before)).limit(chunk)
    ids = session.scalars(old.order_by(FrameKey.frame_id)).all()
    _delete(session, delete(FrameKey).where(among(FrameKey.frame_id, ids)))
    return len(ids)


def delete_strays(session: Session, *, before: datetime, chunk: int) -> int:
    """Delete frames that lie in no period and ended before a moment; returns how many, at most ``chunk``."""
    ids = session.scalars(text(_STRAYS), {"before": before, "chunk": chunk}).all()
    if not ids:
        return 0
    _book(session, Counted(*session.execute(text(_COUNT_STRAYS), {"ids": ids}).one()))
    session.execute(text("SET LOCAL gistline.retention = 'on'"))
    for row, column in ((ReportFinding, ReportFinding.frame_id), (FindingRow, FindingRow.frame_id)):
        _delete(session, delete(row).where(among(column, ids)))
    _delete(session, delete(VerdictRow).where(among(VerdictRow.frame_id, ids)))
    _delete(session, delete(DeadLetterRow).where(among(DeadLetterRow.frame_id, ids)))
    _delete(session, delete(FrameKey).where(among(FrameKey.frame_id, ids)))
    _delete(session, delete(FrameRow).where(among(FrameRow.id, ids)))
    return len(ids)


def fold_stray_submissions(session: Session, *, before: datetime) -> None:
    """Sum up submissions that lie in no period and were accepted before a moment."""
    gone = text("DELETE FROM submissions_default WHERE accepted_at < :before RETURNING frames")
    if accepted := sum(session.scalars(gone, {"before": before})):
        _book(session, Counted(accepted=accepted))


def _book(session: Session, counted: Counted) -> None:
    """Add to what is known of rows that lay in no period."""
    row = insert(RetiredPartition).values(partition=DEFAULT, **asdict(counted))
    table = RetiredPartition.__table__
    added = {name: table.c[name] + row.excluded[name] for name in asdict(counted)}
    session.execute(row.on_conflict_do_update(index_elements=["partition"], set_=added | {"retired_at": func.now()}))


def _delete(session: Session, statement: Delete) -> None:
    session.execute(statement.execution_options(synchronize_session=False))
