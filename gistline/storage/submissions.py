"""Rows of accepted frames: the insert, repeated keys, and the lock that keeps a frame's bytes while it is accepted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    CTE,
    BigInteger,
    ColumnElement,
    DateTime,
    Double,
    Integer,
    Label,
    TableValuedAlias,
    Text,
    Uuid,
    any_,
    bindparam,
    func,
    literal,
    select,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from gistline.domain import FrameState
from gistline.storage.arrays import unnested
from gistline.storage.moments import ids_at, moment_of
from gistline.storage.tables import Camera, FrameKey, FrameRow, SubmissionRow

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
    deadline_s: int = 0
    """Seconds after which the frame expires unless it was inspected; 0 never."""


@dataclass(frozen=True, slots=True)
class KnownFrame:
    """A frame that is there already."""

    id: UUID
    idempotency_key: str
    sha256: str
    state: FrameState


def hold_bytes(session: Session, digests: Iterable[str]) -> datetime:
    """Until the transaction ends, nobody who calls :func:`hold_bytes_alone` removes these bytes.

    Equal images share their bytes. Without this a frame could be accepted in the moment in which the bytes of an
    older, finished one are pruned. 4,096 locks serve all digests: few enough for PostgreSQL's lock table whatever the
    load, and enough that those who delete and those who accept seldom meet.

    Returns:
        When the transaction began, by the database's clock: the moment that the ids of its frames shall carry.

    """
    return _lock(session, "pg_advisory_xact_lock_shared", digests)


def hold_bytes_alone(session: Session, digests: Iterable[str]) -> None:
    """Wait until nobody is accepting frames with these bytes, and keep it so until the transaction ends.

    Call it first in a transaction, then look for rows that still need the bytes, then remove them, then commit.
    """
    _lock(session, "pg_advisory_xact_lock", digests)


def find_known(session: Session, camera_id: int, keys: Collection[str]) -> dict[str, KnownFrame]:
    """Frames of this camera under these keys, by key."""
    if not keys:
        return {}
    wanted = bindparam(None, list(keys), type_=ARRAY(Text()))
    statement = (
        select(FrameRow.id, FrameKey.frame_key, FrameRow.sha256, FrameRow.state)
        .join(FrameRow, FrameRow.id == FrameKey.frame_id)
        .where(FrameKey.camera_id == camera_id, FrameKey.frame_key == any_(wanted))
    )
    return {row.frame_key: KnownFrame(*row) for row in session.execute(statement)}


def insert_frames(session: Session, frames: Sequence[NewFrame], *, fair_rate: float = 10.0) -> set[UUID]:
    """Insert pending frames of one camera in one statement, rung now, and count them; returns the ids of the new keys.

    A key that another transaction is inserting is waited for. The frames take places in the queue ``1 / fair_rate``
    seconds apart, behind those of the same camera that still wait: a camera that sends faster than ``fair_rate``
    frames/s for long queues behind itself, not before the others.
    """
    if not frames:
        return set()
    # in the order of their keys, so that two requests with the same keys cannot wait for each other in a circle
    new = _columns(sorted(frames, key=lambda frame: frame.idempotency_key), order=[one.id for one in frames])
    place = func.make_interval(0, 0, 0, 0, 0, 0, new.c.place / literal(fair_rate, Double()))
    camera = (
        select(Camera.priority, _last_place(frames[0].camera_id)).where(Camera.id == frames[0].camera_id).subquery()
    )
    fixed: dict[str, ColumnElement[Any]] = {
        "camera_id": literal(frames[0].camera_id, BigInteger()),
        "captured_at": func.coalesce(new.c.captured, func.now()),
        "priority": camera.c.priority,
        "queue_at": func.greatest(func.now(), camera.c.last_place) + place,
        "sent_at": func.now(),
        "expires_at": func.now() + func.make_interval(0, 0, 0, 0, 0, 0, func.nullif(new.c.deadline_s, 0)),
    }
    given = [column for column in new.c if column.key not in {"captured", "place", "deadline_s"}]
    named = _name(new, fixed["camera_id"])
    unseen = new.join(camera, true()).join(named, named.c.frame_id == new.c.id)
    rows = select(*given, *fixed.values()).select_from(unseen)
    into = insert(FrameRow).add_cte(named).from_select([column.key for column in given] + list(fixed), rows)
    inserted = set(session.scalars(into.returning(FrameRow.id)))
    if inserted:
        [beside] = ids_at(moment_of(frames[0].id), 1)
        counted = {"id": beside, "camera_id": frames[0].camera_id, "frames": len(inserted)}
        session.execute(insert(SubmissionRow).values(counted))
    return inserted


def _name(new: TableValuedAlias, camera_id: ColumnElement[int]) -> CTE:
    """Take the names that are still free."""
    rows = select(camera_id, new.c.idempotency_key, new.c.id).select_from(new)
    taken = insert(FrameKey).from_select(["camera_id", "frame_key", "frame_id"], rows)
    return taken.on_conflict_do_nothing().returning(FrameKey.frame_id).cte("named")


def _last_place(camera_id: int) -> Label[datetime]:
    """Place of the camera's last frame that still waits."""
    waiting = FrameRow.camera_id == camera_id, text("frames.state = 'pending'")
    return select(func.max(FrameRow.queue_at)).where(*waiting).scalar_subquery().label("last_place")


def _columns(frames: Sequence[NewFrame], *, order: Sequence[UUID]) -> TableValuedAlias:
    place = {one: number for number, one in enumerate(order, start=1)}
    texts = ("line", "part_number", "idempotency_key", "sha256", "media_type", "traceparent")
    numbers = ("byte_count", "width", "height", "deadline_s")
    return unnested(
        id=(Uuid(), [one.id for one in frames]),
        captured=(DateTime(timezone=True), [one.captured_at for one in frames]),
        place=(Integer(), [place[one.id] for one in frames]),
        **{name: (Text(), [getattr(one, name) for one in frames]) for name in texts},
        **{name: (BigInteger(), [getattr(one, name) for one in frames]) for name in numbers},
    )


def _lock(session: Session, function: str, digests: Iterable[str]) -> datetime:
    buckets = sorted({int(digest[:BUCKET_DIGITS], 16) for digest in digests})
    bucket = func.unnest(bindparam("buckets", buckets, type_=ARRAY(Integer))).column_valued("bucket")
    held = func.count(getattr(func, function)(BYTES_LOCK, bucket))
    return session.execute(select(func.now(), held)).one()[0]
