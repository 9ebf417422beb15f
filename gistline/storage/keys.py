"""Keys of cameras and programs: shown once. The database keeps the digest and, to tell keys apart, the beginning."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.orm import Session

from gistline.storage.secret_digests import digest, new_secret
from gistline.storage.tables import ApiKey

CAMERA_PREFIX: Final = "gl_"
PROGRAM_PREFIX: Final = "glp_"
SHOWN: Final = 8
"""Characters behind the kind of key that are kept and shown: 48 of its 256 bits."""
_SHAPE: Final = re.compile(r"glp?_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose key it is: a camera's or a program's, by id; exactly one is given."""

    camera_id: int | None = None
    program_id: int | None = None


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """A key as listed: its beginning (None for keys older than that), and until when it is good."""

    prefix: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    used_at: datetime | None


def insert_key(session: Session, owner: Owner) -> str:
    """Make a key of 256 random bits and return it; it cannot be read again."""
    kind = CAMERA_PREFIX if owner.camera_id is not None else PROGRAM_PREFIX
    key = new_secret(kind)
    session.add(
        ApiKey(
            camera_id=owner.camera_id,
            program_id=owner.program_id,
            key_sha256=digest(key),
            prefix=key[: len(kind) + SHOWN],
        )
    )
    session.flush()
    return key


def is_key(text: str) -> bool:
    """Whether it looks like a key at all; nothing else is worth asking the database about."""
    return _SHAPE.fullmatch(text) is not None


def has_digest(key: str) -> ColumnElement[bool]:
    """Condition on a row: it is of this key. The look-up is by digest: its time tells nothing of a key's characters."""
    return ApiKey.key_sha256 == digest(key)


def is_good() -> ColumnElement[bool]:
    """Condition on a row: neither revoked nor run out."""
    return ApiKey.revoked_at.is_(None) & or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > func.now())


def retire_keys(session: Session, owner: Owner, *, in_h: float = 0) -> int:
    """Let every good key of an owner run out in so many hours, at once for 0; returns how many.

    One that runs out sooner anyway is not prolonged.
    """
    if in_h > 0:
        moment = func.now() + func.make_interval(0, 0, 0, 0, 0, 0, in_h * 3_600)
        end = update(ApiKey).values(expires_at=func.least(ApiKey.expires_at, moment))
    else:
        end = update(ApiKey).values(revoked_at=func.now())
    return len(session.scalars(end.where(_of(owner), is_good()).returning(ApiKey.id)).all())


def list_keys(session: Session, owner: Owner) -> Sequence[KeyEntry]:
    """Keys of an owner, newest first, those that are good no longer too."""
    rows = session.scalars(select(ApiKey).where(_of(owner)).order_by(ApiKey.id.desc()))
    return [KeyEntry(row.prefix, row.created_at, row.expires_at, row.revoked_at, row.used_at) for row in rows]


def _of(owner: Owner) -> ColumnElement[bool]:
    if owner.camera_id is not None:
        return ApiKey.camera_id == owner.camera_id
    return ApiKey.program_id == owner.program_id
