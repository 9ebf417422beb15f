"""Frames that have ended, on their way to the rules.

The transaction that ends them puts them in, the one that judges them takes them out: none is judged twice or forgotten,
whoever commits first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import delete, exists, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from gistline.domain_acting import FRAME_KINDS, EndedFrame
from gistline.storage.arrays import IDS, among, given_ids
from gistline.storage.tables import AlarmInboxRow, AlarmRuleRow, Camera, FindingRow, FrameRow, VerdictRow

ROUND: Final = 64
"""Transactions whose frames are judged in one round."""
RULES_LOOK: Final = exists().where(AlarmRuleRow.enabled, AlarmRuleRow.kind.in_(sorted(FRAME_KINDS)))
TELL_RULES: Final = insert(AlarmInboxRow).from_select(["frame_ids"], select(IDS).where(RULES_LOOK))


def tell_rules(session: Session, frame_ids: Sequence[UUID]) -> None:
    """Let the rules see these frames after the commit; costs nothing to speak of where no rule looks at frames."""
    if not frame_ids:
        return
    session.connection().execute(TELL_RULES, given_ids(frame_ids))


def take_ended(session: Session) -> tuple[list[EndedFrame], bool]:
    """Take frames out of the inbox, in the order of their ends; says whether there are more."""
    oldest = select(AlarmInboxRow.id).order_by(AlarmInboxRow.id).limit(ROUND).with_for_update(skip_locked=True)
    taken = delete(AlarmInboxRow).where(AlarmInboxRow.id.in_(oldest)).returning(AlarmInboxRow.frame_ids)
    batches = session.scalars(taken.execution_options(synchronize_session=False)).all()
    frames = _load(session, [one for batch in batches for one in batch])
    return frames, len(batches) == ROUND


def _load(session: Session, ids: Iterable[UUID]) -> list[EndedFrame]:
    wanted = list(dict.fromkeys(ids))
    if not wanted:
        return []
    found: dict[UUID, list[tuple[str, float, int, tuple[float, float]]]] = {}
    rows = select(FindingRow).where(among(FindingRow.frame_id, wanted)).order_by(FindingRow.confidence.desc())
    for row in session.scalars(rows):
        centre = (row.x + row.w / 2, row.y + row.h / 2)
        found.setdefault(row.frame_id, []).append((row.label, row.confidence, row.severity, centre))
    frames = (
        select(FrameRow, Camera.name, VerdictRow.kind, VerdictRow.reason)
        .join(Camera, Camera.id == FrameRow.camera_id)
        .join(VerdictRow, VerdictRow.frame_id == FrameRow.id)
        .where(among(FrameRow.id, wanted), FrameRow.finished_at.is_not(None))
        .order_by(FrameRow.finished_at, FrameRow.captured_at)
    )
    return [
        EndedFrame(
            frame_id=row.id,
            camera=camera,
            line=row.line,
            part_number=row.part_number,
            captured_at=row.captured_at,
            accepted_at=row.accepted_at,
            finished_at=row.finished_at,
            kind=kind,
            reason=reason,
            findings=tuple(found.get(row.id, ())),
        )
        for row, camera, kind, reason in session.execute(frames)
        if row.finished_at is not None
    ]
