"""A camera that may send no longer."""

from __future__ import annotations

from gistline.storage import audit
from gistline.storage.cameras import find_camera
from gistline.storage.keys import Owner, retire_keys
from gistline.storage.session import Sessions, transaction


def revoke_camera(sessions: Sessions, name: str, *, by: str = audit.SYSTEM) -> int:
    """Revoke all keys of a camera, at once; returns how many were good until now. Its frames stay.

    Raises:
        NotFound: no camera has this name.
        StorageUnavailable: the database does not answer.

    """
    with transaction(sessions) as session:
        count = retire_keys(session, Owner(camera_id=find_camera(session, name).id))
        audit.record(session, actor=by, action="camera.revoke", subject=f"camera {name}", detail={"keys": count})
        return count
