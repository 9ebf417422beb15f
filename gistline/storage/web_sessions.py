"""Sessions of signed-in browsers. A token is in the browser's cookie only; the database knows its digest."""

from __future__ import annotations

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from gistline.domain import Person
from gistline.errors import NotAuthenticated
from gistline.storage.people import as_person
from gistline.storage.secret_digests import digest, new_secret
from gistline.storage.tables import PersonRow, SessionRow

PREFIX = "gls_"
"""So that a token is known for one, and masked, wherever it turns up."""
TOUCH_S = 60
"""``seen_at`` is written at most this often."""


def open_session(session: Session, person_id: int, *, max_h: int) -> str:
    """Start a session that is over ``max_h`` hours from now; returns its token, which cannot be read again."""
    token = new_secret(PREFIX)
    row = {"person_id": person_id, "token_sha256": digest(token), "expires_at": func.now() + _minutes(max_h * 60)}
    session.add(SessionRow(**row))
    session.flush()
    return token


def person_of_session(session: Session, token: str, *, idle_min: int) -> Person:
    """Who signed in with this session, and may still.

    Raises:
        NotAuthenticated: no such session, or it is revoked, idle for too long, too old, or its person is disabled.

    """
    statement = (
        select(PersonRow, SessionRow.id, SessionRow.seen_at < func.now() - _minutes(TOUCH_S / 60))
        .join(SessionRow, SessionRow.person_id == PersonRow.id)
        .where(
            SessionRow.token_sha256 == digest(token),
            SessionRow.revoked_at.is_(None),
            SessionRow.expires_at > func.now(),
            SessionRow.seen_at > func.now() - _minutes(idle_min),
            PersonRow.disabled_at.is_(None),
        )
    )
    found = session.execute(statement).one_or_none()
    if found is None:
        raise NotAuthenticated("The session is over.", cure="Sign in again at /login.")
    person, session_id, stale = found
    if stale:
        session.execute(update(SessionRow).where(SessionRow.id == session_id).values(seen_at=func.now()))
    return as_person(person)


def close_session(session: Session, token: str) -> Person | None:
    """End a session; returns whose it was, None when it was over already."""
    ended = _end(session, SessionRow.token_sha256 == digest(token))
    row = session.get(PersonRow, ended[0]) if ended else None
    return as_person(row) if row else None


def close_sessions(session: Session, person_id: int) -> int:
    """End every session of a person, at once; returns how many."""
    return len(_end(session, SessionRow.person_id == person_id))


def _end(session: Session, whose: ColumnElement[bool]) -> list[int]:
    end = update(SessionRow).where(whose, SessionRow.revoked_at.is_(None)).values(revoked_at=func.now())
    return list(session.scalars(end.returning(SessionRow.person_id)))


def _minutes(count: float) -> ColumnElement[object]:
    return func.make_interval(0, 0, 0, 0, 0, 0, count * 60)
