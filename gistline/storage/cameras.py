"""Cameras, and who sends with a camera's key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Select, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from gistline.errors import Conflict, NotAuthenticated, NotFound
from gistline.storage.keys import is_good, is_key
from gistline.storage.secret_digests import digest
from gistline.storage.tables import ApiKey, Camera

NORMAL = 5
"""Priority of a camera of which nothing else is said."""


@dataclass(frozen=True, slots=True)
class CameraIdentity:
    """Who sends: the camera that a key belongs to, its production line, and how urgent its frames are (0 first)."""

    id: int
    name: str
    line: str
    priority: int = NORMAL


@dataclass(frozen=True, slots=True)
class CameraEntry:
    """A camera with how many keys open the door for it, and when the newest was made."""

    id: int
    name: str
    line: str
    priority: int
    created_at: datetime
    keys: int
    newest_key_at: datetime | None


def insert_camera(session: Session, name: str, line: str, priority: int = NORMAL) -> CameraIdentity:
    """Add a camera whose frames are inspected before those of a larger ``priority`` (0 to 9).

    Raises:
        Conflict: the name is taken.

    """
    statement = (
        insert(Camera).values(name=name, line=line, priority=priority).on_conflict_do_nothing().returning(Camera.id)
    )
    found = session.scalar(statement)
    if found is None:
        raise Conflict(f"There is a camera {name!r} already.", cure="Take another name, or make it a new key.")
    return CameraIdentity(found, name, line, priority)


def set_priority(session: Session, name: str, priority: int) -> None:
    """Let the camera's next frames be inspected before those of a larger ``priority`` (0 to 9).

    Raises:
        NotFound: no such camera.

    """
    camera = find_camera(session, name)
    session.execute(update(Camera).where(Camera.id == camera.id).values(priority=priority))


def find_camera(session: Session, name: str) -> CameraIdentity:
    """Look a camera up by its name.

    Raises:
        NotFound: no such camera.

    """
    row = session.execute(_identity().where(Camera.name == name)).one_or_none()
    if row is None:
        raise NotFound(f"There is no camera {name!r}.", cure="'gistline cameras list' shows them all.")
    return CameraIdentity(*row)


def list_cameras(session: Session) -> Sequence[CameraEntry]:
    """All cameras by name."""
    good = is_good()
    statement = (
        select(
            Camera.id,
            Camera.name,
            Camera.line,
            Camera.priority,
            Camera.created_at,
            func.count(ApiKey.id).filter(good),
            func.max(ApiKey.created_at).filter(good),
        )
        .outerjoin(ApiKey, ApiKey.camera_id == Camera.id)
        .group_by(Camera.id)
        .order_by(Camera.name)
    )
    return [CameraEntry(*row) for row in session.execute(statement)]


def authenticate(session: Session, key: str) -> CameraIdentity:
    """Find the camera of a key. The look-up is by digest, so its time says nothing about how much of a key is right.

    Raises:
        NotAuthenticated: malformed, unknown or revoked; which of them is not said.

    """
    row = None
    if is_key(key):
        row = session.connection().execute(OF_KEY, {"digest": digest(key)}).one_or_none()
    if row is None:
        raise NotAuthenticated(
            "The key is unknown or revoked.", cure="'gistline cameras rekey NAME' makes a camera a new one."
        )
    return CameraIdentity(*row)


def _identity() -> Select[int, str, str, int]:
    return select(Camera.id, Camera.name, Camera.line, Camera.priority)


OF_KEY: Final = (
    _identity()
    .join(ApiKey, ApiKey.camera_id == Camera.id)
    .where(ApiKey.key_sha256 == bindparam("digest", type_=ApiKey.key_sha256.type), is_good())
)
