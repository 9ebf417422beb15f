"""Rows of accepted frames: the insert, repeated keys, and the lock that keeps a frame's bytes while it is accepted."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ARRAY, Text, TextClause, Uuid, any_, bindparam, select, text
from sqlalchemy.orm import Session

from gistline.domain import FrameState
from gistline.storage.moments import ids_at, moment_of
from gistline.storage.tables import FrameKey, FrameRow

BYTES_LOCK = 7161
"""First number of the advisory locks on frame bytes; the second is the start of the digest."""
BUCKET_DIGITS = 3
SILENT_S: Final = 60
"""Longest silence of a transaction that holds such a lock, in seconds: it waits for the store, whose time-out for one
object is less. The database ends it then, so that a frozen process keeps nobody waiting for ever."""

_HOLD = (
    "SELECT now(), count({function}(:lock, bucket)), "
    "set_config('idle_in_transaction_session_timeout', :silent, true) "
    "FROM unnest(CAST(:buckets AS int[])) AS bucket"
)
_SHARED: Final = text(_HOLD.format(function="pg_advisory_xact_lock_shared"))
_ALONE: Final = text(_HOLD.format(function="pg_advisory_xact_lock"))

_INSERT: Final = text("""
    WITH new AS (
        SELECT * FROM json_to_recordset(CAST(:frames AS json)) AS new(
            id uuid, line text, part_number text, idempotency_key text, sha256 text, media_type text,
            byte_count bigint, width integer, height integer, captured_at timestamptz, traceparent text,
            deadline_s integer, place integer)
    ), camera AS (
        SELECT id, priority,
            (SELECT max(queue_at) FROM frames WHERE camera_id = :camera_id AND state = 'pending') AS last_place
        FROM cameras WHERE id = :camera_id
    ), named AS (
        INSERT INTO frame_keys (camera_id, frame_key, frame_id)
        SELECT CAST(:camera_id AS bigint), idempotency_key, id FROM new
        ON CONFLICT DO NOTHING RETURNING frame_id
    ), inserted AS (
        INSERT INTO frames (id, camera_id, line, part_number, idempotency_key, sha256, media_type, byte_count, width,
            height, traceparent, captured_at, priority, queue_at, sent_at, expires_at)
        SELECT new.id, camera.id, line, part_number, idempotency_key, sha256, media_type, byte_count, width,
            height, traceparent, coalesce(captured_at, now()), priority,
            greatest(now(), last_place) + make_interval(secs => place / CAST(:rate AS float8)), now(),
            now() + make_interval(secs => nullif(deadline_s, 0))
        FROM new CROSS JOIN camera JOIN named ON named.frame_id = new.id
        RETURNING id
    ), counted AS (
        INSERT INTO submissions (id, camera_id, frames)
        SELECT :beside, :camera_id, count(*) FROM inserted HAVING count(*) > 0
    )
    SELECT id FROM inserted
""").columns(id=Uuid())
"""Text, and not put together of expressions for every request: that took longer than the rest of the request's SQL.

Names are taken first (``named``); only frames whose name was free are inserted, and the submission counts those.
"""


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


_GIVEN: Final = tuple(one.name for one in fields(NewFrame) if one.name != "camera_id")


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
    return _lock(session, _SHARED, digests)


def hold_bytes_alone(session: Session, digests: Iterable[str]) -> None:
    """Wait until nobody is accepting frames with these bytes, and keep it so until the transaction ends.

    Call it first in a transaction, then look for rows that still need the bytes, then remove them, then commit.
    """
    _lock(session, _ALONE, digests)


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
    [beside] = ids_at(moment_of(frames[0].id), 1)
    bound = {"camera_id": frames[0].camera_id, "rate": fair_rate, "beside": beside, "frames": _rows(frames)}
    return set(session.scalars(_INSERT, bound))


def _rows(frames: Sequence[NewFrame]) -> str:
    """The frames as JSON: an array for each column would be put together element by element, in Python.

    In the order of their keys, so that two requests with the same keys cannot wait for each other in a circle.
    """
    placed = sorted(enumerate(frames, start=1), key=lambda one: one[1].idempotency_key)
    return json.dumps(
        [{name: getattr(one, name) for name in _GIVEN} | {"place": place} for place, one in placed], default=str
    )


def _lock(session: Session, statement: TextClause, digests: Iterable[str]) -> datetime:
    buckets = sorted({int(digest[:BUCKET_DIGITS], 16) for digest in digests})
    moment: datetime = session.execute(
        statement, {"lock": BYTES_LOCK, "buckets": buckets, "silent": f"{SILENT_S}s"}
    ).one()[0]
    return moment
