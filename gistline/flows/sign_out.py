"""A session ends before its time."""

from __future__ import annotations

from gistline.storage import audit
from gistline.storage.session import Sessions, transaction
from gistline.storage.web_sessions import close_session


def sign_out(sessions: Sessions, token: str) -> None:
    """End the session of this token; harmless when it is over already.

    Raises:
        StorageUnavailable: the database does not answer.

    """
    with transaction(sessions) as session:
        person = close_session(session, token)
        if person is not None:
            audit.record(session, actor=person.actor, action="sign_out", subject=f"person {person.name}")
