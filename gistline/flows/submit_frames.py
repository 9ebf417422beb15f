"""Bytes in, accepted frames out: verified, stored, committed, rung. All images of a call are accepted, or none."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy.orm import Session

from gistline.dispatch import Dispatcher
from gistline.domain import FrameId, FrameState
from gistline.errors import Conflict, ImageRejected, ImageTooLarge, RequestRejected
from gistline.frames.decode import verify
from gistline.frames.store import FrameStore
from gistline.settings import Settings
from gistline.storage.cameras import CameraIdentity
from gistline.storage.gate_verdicts import await_verdicts
from gistline.storage.moments import ids_at
from gistline.storage.session import Sessions, transaction
from gistline.storage.submissions import KnownFrame, NewFrame, find_known, hold_bytes, insert_frames

NOT_YET = UUID(int=0)
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
"""A capture before this is a clock that was never set."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """One image as a camera sends it.

    ``frame_key`` names the frame for the camera, so that sending it twice makes one frame; without it every call makes
    a new one. ``captured_at`` is timezone-aware, by default the moment of acceptance. ``line`` is only compared with
    the camera's own. ``deadline_s`` is after how many seconds nobody needs the verdict any more, by default
    ``frames.deadline_s``. ``traceparent`` (W3C trace context) links the frame's inspection to the caller's trace.
    """

    data: bytes
    frame_key: str | None = None
    captured_at: datetime | None = None
    part_number: str | None = None
    line: str | None = None
    deadline_s: int | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """A frame that will not be lost any more; ``duplicate`` when its key was known with the same bytes."""

    id: FrameId
    frame_key: str
    state: FrameState
    duplicate: bool


@dataclass(frozen=True, slots=True)
class _Checked:
    """An image that may be stored, and the row that it will be unless its key is known; its id comes last."""

    data: bytes
    row: NewFrame
    is_own_key: bool


def submit_frames(
    camera: CameraIdentity,
    images: Sequence[Submitted],
    *,
    sessions: Sessions,
    store: FrameStore,
    dispatcher: Dispatcher,
    settings: Settings,
) -> list[Accepted]:
    """Accept images of one camera, in their order.

    Every image is decoded in full first, so that what is accepted can be inspected. Bytes are durable before the rows
    are committed, and the workers are rung after that.

    Raises:
        ImageRejected: an image is damaged or of another format; the message and ``ids["index"]`` say which one.
        ImageTooLarge: an image is over a limit; likewise.
        RequestRejected: no image, a capture time without zone or in the future, another line; likewise.
        Conflict: a frame key was used before for other bytes.
        StorageUnavailable: the database or the frame store does not answer; nothing was accepted.

    """
    if not images:
        raise RequestRejected("The request holds no image.", cure="Send at least one.")
    checked = [_check(index, image, camera, settings) for index, image in enumerate(images)]
    with transaction(sessions) as session:
        accepted = _save(session, camera.id, checked, store=store, settings=settings)
    dispatcher.ring_detect([frame.id for frame in accepted if not frame.duplicate])
    return accepted


def _check(index: int, image: Submitted, camera: CameraIdentity, settings: Settings) -> _Checked:
    with _numbered(index):
        _check_claims(image, camera, settings.api.clock_skew_s)
        facts = verify(image.data, settings.frames)
    row = NewFrame(
        id=NOT_YET,
        camera_id=camera.id,
        line=camera.line,
        part_number=image.part_number,
        idempotency_key=image.frame_key or uuid4().hex,
        sha256=hashlib.sha256(image.data).hexdigest(),
        media_type=facts.media_type,
        byte_count=len(image.data),
        width=facts.width,
        height=facts.height,
        captured_at=image.captured_at,
        traceparent=image.traceparent,
        deadline_s=image.deadline_s or settings.frames.deadline_s,
    )
    return _Checked(image.data, row, image.frame_key is not None)


def _check_claims(image: Submitted, camera: CameraIdentity, skew_s: int) -> None:
    if image.line is not None and image.line != camera.line:
        raise RequestRejected(
            f"line is {image.line!r}, but camera {camera.name!r} stands at {camera.line!r}.",
            cure="Leave line out, or send with the key of a camera of that line.",
        )
    captured = image.captured_at
    if captured is None:
        return
    if captured.utcoffset() is None:
        raise RequestRejected(
            f"captured_at = {captured.isoformat()} has no time zone.", cure="End it with Z or an offset such as +02:00."
        )
    latest = datetime.now(UTC) + timedelta(seconds=skew_s)
    if not EARLIEST <= captured <= latest:
        raise RequestRejected(
            f"captured_at = {captured.isoformat()} is not between {EARLIEST.isoformat()} and {latest.isoformat()}.",
            cure="Set the camera's clock, or leave captured_at out.",
        )


@contextmanager
def _numbered(index: int) -> Iterator[None]:
    """Say in an error which image it is about."""
    try:
        yield
    except (ImageRejected, ImageTooLarge, RequestRejected) as error:
        raise type(error)(f"Image {index}: {error.message}", cure=error.cure, index=index) from error


def _save(
    session: Session, camera_id: int, checked: Sequence[_Checked], *, store: FrameStore, settings: Settings
) -> list[Accepted]:
    began = hold_bytes(session, {one.row.sha256 for one in checked})
    checked = [
        replace(one, row=replace(one.row, id=made))
        for one, made in zip(checked, ids_at(began, len(checked)), strict=True)
    ]
    known = find_known(session, camera_id, {one.row.idempotency_key for one in checked if one.is_own_key})
    fresh = {one.row.idempotency_key: one for one in reversed(checked) if one.row.idempotency_key not in known}
    _refuse_other_bytes(checked, {key: one.row.sha256 for key, one in fresh.items()} | _digests(known))
    store.put_many({one.row.sha256: one.data for one in fresh.values()})
    inserted = insert_frames(
        session,
        [one.row for one in checked if fresh.get(one.row.idempotency_key) is one],
        fair_rate=settings.fleet.fair_rate,
    )
    if settings.verdicts.enabled:
        await_verdicts(session, inserted, settings.verdicts)
    beaten = find_known(session, camera_id, {key for key, one in fresh.items() if one.row.id not in inserted})
    _refuse_other_bytes(checked, _digests(beaten))
    return [_accepted(one.row, known | beaten, inserted=one.row.id in inserted, fresh=fresh) for one in checked]


def _digests(known: Mapping[str, KnownFrame]) -> dict[str, str]:
    return {key: frame.sha256 for key, frame in known.items()}


def _refuse_other_bytes(checked: Sequence[_Checked], digests: Mapping[str, str]) -> None:
    for index, one in enumerate(checked):
        key = one.row.idempotency_key
        if digests.get(key, one.row.sha256) != one.row.sha256:
            raise Conflict(
                f"Image {index}: frame_key {key!r} was used before for other bytes.",
                cure="Give every frame a key of its own; repeat one only with the same bytes.",
                index=index,
                frame_key=key,
            )


def _accepted(
    row: NewFrame, known: Mapping[str, KnownFrame], *, inserted: bool, fresh: Mapping[str, _Checked]
) -> Accepted:
    key = row.idempotency_key
    if key in known:
        return Accepted(FrameId(known[key].id), key, known[key].state, duplicate=True)
    return Accepted(FrameId(fresh[key].row.id), key, FrameState.PENDING, duplicate=not inserted)
