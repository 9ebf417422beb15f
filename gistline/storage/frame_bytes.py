"""Whose bytes are still needed. Equal images share theirs, so they go with the last row that claims them.

Every function that decides holds the lock that a submission of the same bytes takes (``hold_bytes_alone``) until the
caller's transaction ends: delete in it, then commit. A transaction that is silent for ``submissions.SILENT_S`` is ended
by the database, so that a frozen process does not keep cameras waiting: ask :func:`still_alone` in time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import timedelta
from typing import Final, cast
from uuid import UUID

from sqlalchemy import ARRAY, Exists, Table, Text, any_, bindparam, exists, func, select, text, update
from sqlalchemy.orm import Session

from gistline.storage.arrays import among_given, given_ids
from gistline.storage.submissions import hold_bytes_alone
from gistline.storage.tables import DeadLetterRow, FrameRow


def release_bytes(session: Session, frames: Iterable[tuple[UUID, str]]) -> set[str]:
    """Note that these frames (id, digest) keep no bytes; returns the digests that no other frame needs."""
    digests = dict(frames)
    hold_bytes_alone(session, digests.values())
    session.connection().execute(RELEASE, given_ids(digests.keys()))
    return _unclaimed(session, set(digests.values()))


def orphans(session: Session, digests: Collection[str]) -> set[str]:
    """Those of the digests that no frame claims."""
    hold_bytes_alone(session, digests)
    return _unclaimed(session, set(digests))


def still_alone(session: Session) -> None:
    """Return if the transaction, and with it the lock, is still there; another ``submissions.SILENT_S`` begin.

    Raises:
        sqlalchemy.exc.DBAPIError: it is not; which bytes are needed may have changed.

    """
    session.execute(text("SELECT 1"))


def outlived_bytes(session: Session, *, keep_days: int, limit: int) -> Sequence[tuple[UUID, str]]:
    """Finished frames (id, digest) whose bytes were kept long enough, oldest first; none with an open dead letter."""
    old = FrameRow.finished_at < func.now() - timedelta(days=keep_days)
    kept = select(FrameRow.id, FrameRow.sha256).where(
        text("frames.bytes_stored AND frames.finished_at IS NOT NULL"), old, ~_undecided()
    )
    return [(row.id, row.sha256) for row in session.execute(kept.order_by(FrameRow.finished_at).limit(limit))]


def _undecided() -> Exists:
    return exists().where(DeadLetterRow.frame_id == FrameRow.id, DeadLetterRow.resolved_at.is_(None))


def _unclaimed(session: Session, digests: set[str]) -> set[str]:
    return digests - set(session.connection().scalars(CLAIMED, {"wanted": sorted(digests)}))


FRAMES: Final = cast("Table", FrameRow.__table__)
RELEASE: Final = update(FRAMES).where(among_given(FRAMES.c.id)).values(bytes_stored=False)
WANTED: Final = bindparam("wanted", type_=ARRAY(Text()))
CLAIMED: Final = select(FRAMES.c.sha256).where(FRAMES.c.sha256 == any_(WANTED), FRAMES.c.bytes_stored)
