"""A camera that may send no longer."""

from __future__ import annotations

from gistline.storage.cameras import find_camera, revoke_keys
from gistline.storage.session import Sessions, transaction


def revoke_camera(sessions: Sessions, name: str) -> int:
    """Revoke all keys of a camera, at once; returns how many were good until now. Its frames stay.

    Raises:
        NotFound: no camera has this name.
        StorageUnavailable: the database does not answer.

    """
    with transaction(sessions) as session:
        return revoke_keys(session, find_camera(session, name).id)
