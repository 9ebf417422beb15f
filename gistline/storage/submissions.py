"""Rows of accepted frames: the insert, repeated keys, and the lock that keeps a frame's bytes while it is accepted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ARRAY, Integer, bindparam, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from gistline.domain import FrameState
from gistline.storage.tables import FrameRow

BYTES_LOCK = 7161
"""First number of the advisory locks on frame bytes; the second is the start of the digest."""
BUCKET_DIGITS = 3


@dataclass(frozen=True, slots=True)
class NewFrame:
    """What is known of a frame when it is accepted; ``sha256`` is the digest under which the store keeps its bytes."""

    id: UUID
    camera_id: int
    line: str
    part_number: str | None
    idempotency_key: str
    sha256: str
    media_type: str
    byte_count: int
    width: int
    height: int
    captured_at: datetime | None
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class KnownFrame:
    """A frame that is there already."""

    id: UUID
    idempotency_key: str
    sha256: str
    state: FrameState


def hold_bytes(session: Session, digests: Iterable[str]) -> None:
    """Until the transaction ends, nobody who calls :func:`hold_bytes_alone` removes these bytes.

    Equal images share their bytes. Without this a frame could be accepted in the moment in which the bytes of an
    older, finished one are pruned. 4,096 locks serve all digests: few enough for PostgreSQL's lock table whatever the
    load, and enough that those who delete and those who accept seldom meet.
    """
    _lock(session, "pg_advisory_xact_lock_shared", digests)


def hold_bytes_alone(session: Session, digests: Iterable[str]) -> None:
    """Wait until nobody is accepting frames with these bytes, and keep it so until the transaction ends.

    Call it first in a transaction, then look for rows that still need the bytes, then remove them, then commit.
    """
    _lock(session, "pg_advisory_xact_lock", digests)


def find_known(session: Session, camera_id: int, keys: Collection[str]) -> dict[str, KnownFrame]:
    """Frames of this camera under these keys, by key."""
    if not keys:
        return {}
    statement = select(FrameRow.id, FrameRow.idempotency_key, FrameRow.sha256, FrameRow.state).where(
        FrameRow.camera_id == camera_id, FrameRow.idempotency_key.in_(keys)
    )
    return {row.idempotency_key: KnownFrame(*row) for row in session.execute(statement)}


def insert_frames(session: Session, frames: Sequence[NewFrame], *, deadline_s: int = 0) -> set[UUID]:
    """Insert pending frames in one statement, rung now; returns the ids of those whose key was new.

    A key that another transaction is inserting is waited for. ``deadline_s`` above 0 lets a frame expire.
    """
    if not frames:
        return set()
    statement = insert(FrameRow).on_conflict_do_nothing(index_elements=["camera_id", "idempotency_key"])
    fixed = {
        "sent_at": func.now(),
        "expires_at": func.now() + timedelta(seconds=deadline_s) if deadline_s else None,
        "captured_at": func.coalesce(bindparam("captured"), func.now()),
    }
    # in the order of their keys, so that two requests with the same keys cannot wait for each other in a circle
    rows = [_values(frame) for frame in sorted(frames, key=lambda frame: frame.idempotency_key)]
    return set(session.scalars(statement.values(fixed).returning(FrameRow.id), rows))


def _values(frame: NewFrame) -> dict[str, object]:
    return {
        "id": frame.id,
        "camera_id": frame.camera_id,
        "line": frame.line,
        "part_number": frame.part_number,
        "idempotency_key": frame.idempotency_key,
        "sha256": frame.sha256,
        "media_type": frame.media_type,
        "byte_count": frame.byte_count,
        "width": frame.width,
        "height": frame.height,
        "captured": frame.captured_at,
        "traceparent": frame.traceparent,
    }


def _lock(session: Session, function: str, digests: Iterable[str]) -> None:
    buckets = sorted({int(digest[:BUCKET_DIGITS], 16) for digest in digests})
    if buckets:
        bucket = func.unnest(bindparam("buckets", buckets, type_=ARRAY(Integer))).column_valued("bucket")
        session.execute(select(getattr(func, function)(BYTES_LOCK, bucket)))
