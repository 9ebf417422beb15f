"""A camera whose frames are urgent now, or no longer."""

from __future__ import annotations

from gistline.storage import audit
from gistline.storage.cameras import find_camera, set_priority
from gistline.storage.session import Sessions, transaction


def change_priority(sessions: Sessions, name: str, priority: int, *, by: str = audit.SYSTEM) -> None:
    """Let the camera's next frames be inspected before those of a larger ``priority`` (0 to 9).

    Raises:
        NotFound: no camera has this name.
        StorageUnavailable: the database does not answer.

    """
    with transaction(sessions) as session:
        before = find_camera(session, name).priority
        set_priority(session, name, priority)
        detail = {"priority": {"before": before, "after": priority}}
        audit.record(session, actor=by, action="camera.set", subject=f"camera {name}", detail=detail)
