"""Operators' opinions of findings: kept one by one, the newest of a finding counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from gistline.domain import Feedback
from gistline.errors import NotFound
from gistline.storage.sight import Lines, within
from gistline.storage.tables import Camera, FeedbackRow, FindingRow, FrameRow

LONGEST_NOTE = 500


@dataclass(frozen=True, slots=True)
class FindingKey:
    """A finding and the frame that it is on; both are needed to find it quickly."""

    frame_id: UUID
    finding_id: int


@dataclass(frozen=True, slots=True)
class NewFeedback:
    """What somebody thinks of a finding; ``person`` is the name under which it is kept."""

    key: FindingKey
    opinion: Feedback
    note: str
    person: str


@dataclass(frozen=True, slots=True)
class FeedbackCount:
    """Opinions that count, of one class as one engine found it."""

    label: str
    engine_id: int
    correct: int
    incorrect: int
    inconclusive: int


def save_feedback(session: Session, new: NewFeedback, *, lines: Lines) -> str:
    """Store an opinion; the one before it is kept and counts no more. Returns the finding's line.

    Raises:
        NotFound: there is no such finding on one of ``lines``; which of both is not said.

    """
    key = new.key
    found = session.execute(
        select(FindingRow, Camera.name, FrameRow.line)
        .join(FrameRow, FrameRow.id == FindingRow.frame_id)
        .join(Camera, Camera.id == FrameRow.camera_id)
        .where(FindingRow.frame_id == key.frame_id, FindingRow.id == key.finding_id, FrameRow.id == key.frame_id)
        .where(within(FrameRow.line, lines))
        .with_for_update(of=FindingRow)  # two opinions at once: one after the other
    ).one_or_none()
    if found is None:
        raise NotFound(
            f"There is no finding {key.finding_id} on frame {key.frame_id}.",
            cure="It went with its retention, or it belongs to a line that you may not see.",
            finding_id=key.finding_id,
        )
    finding, camera, line = found
    session.execute(
        update(FeedbackRow)
        .where(FeedbackRow.finding_id == key.finding_id, FeedbackRow.replaced_at.is_(None))
        .values(replaced_at=func.now())
        .execution_options(synchronize_session=False)
    )
    session.add(
        FeedbackRow(
            frame_id=key.frame_id,
            finding_id=key.finding_id,
            line=line,
            camera=camera,
            label=finding.label,
            confidence=finding.confidence,
            engine_id=finding.engine_id,
            passport_id=finding.passport_id,
            opinion=new.opinion,
            note=new.note,
            person=new.person,
        )
    )
    session.flush()
    return str(line)


def feedback_of_frame(session: Session, frame_id: UUID) -> Sequence[FeedbackRow]:
    """Every opinion of the frame's findings, newest first; those replaced too."""
    found = select(FeedbackRow).where(FeedbackRow.frame_id == frame_id)
    return session.scalars(found.order_by(FeedbackRow.id.desc())).all()


def feedback_counts(session: Session, *, since: datetime, lines: Lines) -> list[FeedbackCount]:
    """Opinions that count, given at ``since`` (timezone-aware) or later, by class and engine."""
    correct, incorrect, inconclusive = (func.count().filter(FeedbackRow.opinion == one) for one in Feedback)
    rows = session.execute(
        select(FeedbackRow.label, FeedbackRow.engine_id, correct, incorrect, inconclusive)
        .where(FeedbackRow.replaced_at.is_(None), FeedbackRow.given_at >= since, within(FeedbackRow.line, lines))
        .group_by(FeedbackRow.label, FeedbackRow.engine_id)
        .order_by(FeedbackRow.label, FeedbackRow.engine_id)
    )
    return [FeedbackCount(*row) for row in rows]
