"""A new camera, and the key that it sends with."""

from __future__ import annotations

from gistline.errors import RequestRejected
from gistline.storage import audit
from gistline.storage.cameras import NORMAL, CameraIdentity, insert_camera
from gistline.storage.keys import Owner, insert_key
from gistline.storage.session import Sessions, transaction

LONGEST_NAME = 100


def add_camera(
    sessions: Sessions, name: str, line: str, *, priority: int = NORMAL, by: str = audit.SYSTEM
) -> tuple[CameraIdentity, str]:
    """Add a camera at a production line; returns it with its key, which cannot be read again.

    Frames of a smaller ``priority`` (0 to 9) are inspected first.

    Raises:
        RequestRejected: name or line is empty, longer than 100 characters or holds control characters.
        Conflict: the name is taken.
        StorageUnavailable: the database does not answer.

    """
    for field, value in (("name", name), ("line", line)):
        if not value.strip() or len(value) > LONGEST_NAME or not value.isprintable():
            raise RequestRejected(
                f"{field} = {value!r} is no name.", cure=f"Take 1 to {LONGEST_NAME} printable characters."
            )
    with transaction(sessions) as session:
        camera = insert_camera(session, name, line, priority)
        detail = {"line": line, "priority": priority}
        audit.record(session, actor=by, action="camera.add", subject=f"camera {name}", detail=detail)
        return camera, insert_key(session, Owner(camera_id=camera.id))
