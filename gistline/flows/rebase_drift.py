"""A change of a camera is meant to stay: what it shows from now on is the new normal."""

from __future__ import annotations

from gistline.errors import NotFound
from gistline.storage import audit
from gistline.storage.accuracy_reviews import forget_references
from gistline.storage.session import Sessions, transaction


def rebase_drift(sessions: Sessions, camera: str | None, *, by: str = audit.SYSTEM) -> list[str]:
    """Forget what a camera (None: every camera) looked like; the next review keeps what it looks like then.

    Returns:
        The cameras that had something to forget.

    Raises:
        NotFound: the camera was never reviewed.
        StorageUnavailable: the database does not answer.

    """
    with transaction(sessions) as session:
        gone = forget_references(session, camera=camera)
        if camera is not None and not gone:
            raise NotFound(
                f"Nothing is known of how camera {camera} looked.",
                cure="See 'gistline accuracy list --kind drift': the first review with enough frames keeps it.",
            )
        for name in gone:
            audit.record(session, actor=by, action="drift.rebase", subject=f"camera {name}")
    return gone
