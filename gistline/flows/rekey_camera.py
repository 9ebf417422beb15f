"""A new key for a camera whose old one was lost or shown around."""

from __future__ import annotations

from gistline.storage.cameras import find_camera, insert_key, revoke_keys
from gistline.storage.session import Sessions, transaction


def rekey_camera(sessions: Sessions, name: str, *, keep_old: bool = False) -> str:
    """Make a key and revoke the others at the same moment; ``keep_old`` lets them live while a camera is changed over.

    Raises:
        NotFound: no camera has this name.
        StorageUnavailable: the database does not answer.

    """
    with transaction(sessions) as session:
        camera = find_camera(session, name)
        if not keep_old:
            revoke_keys(session, camera.id)
        return insert_key(session, camera.id)
