"""A new key for a camera whose old one was lost, shown around, or is due."""

from __future__ import annotations

from gistline.storage import audit
from gistline.storage.cameras import find_camera
from gistline.storage.keys import Owner, insert_key, retire_keys
from gistline.storage.session import Sessions, transaction


def rekey_camera(sessions: Sessions, name: str, *, overlap_h: float = 0, by: str = audit.SYSTEM) -> str:
    """Make a key and revoke the others at the same moment, or ``overlap_h`` hours later, while it is changed over.

    Raises:
        NotFound: no camera has this name.
        StorageUnavailable: the database does not answer.

    """
    with transaction(sessions) as session:
        owner = Owner(camera_id=find_camera(session, name).id)
        retired = retire_keys(session, owner, in_h=overlap_h)
        detail = {"replaced": retired, "overlap_h": overlap_h}
        audit.record(session, actor=by, action="camera.rekey", subject=f"camera {name}", detail=detail)
        return insert_key(session, owner)
