"""Another role, other lines, another password, or no longer welcome."""

from __future__ import annotations

from sqlalchemy import func
from sqlalchemy.orm import Session

from gistline.domain import Role
from gistline.errors import Conflict, NotAllowed
from gistline.flows.add_person import Rights, check_password, check_rights
from gistline.flows.sign_in import begin_attempt, canonical
from gistline.settings_access import AccessSettings
from gistline.storage import audit
from gistline.storage.passwords import hash_password, is_password
from gistline.storage.people import find_person, lock_people, other_admins, stored_lines
from gistline.storage.session import Sessions, transaction
from gistline.storage.sign_in_attempts import forget_attempts
from gistline.storage.tables import PersonRow
from gistline.storage.web_sessions import close_sessions


def set_rights(sessions: Sessions, name: str, rights: Rights, *, by: str = audit.SYSTEM) -> None:
    """Give a person a role and lines, from the next request on.

    Raises:
        NotFound: nobody has this name.
        Conflict: it would leave no admin who can sign in.
        RequestRejected: an admin with lines.
        StorageUnavailable: the database does not answer.

    """
    check_rights(rights)
    with transaction(sessions) as session:
        row = _held(session, name, stays_admin=rights.role is Role.ADMIN)
        before = {"role": row.role, "lines": row.lines}
        row.role, row.lines = rights.role, stored_lines(rights.lines)
        detail = {"before": before, "after": {"role": row.role, "lines": row.lines}}
        audit.record(session, actor=by, action="person.set", subject=f"person {row.name}", detail=detail)


def set_password(
    sessions: Sessions, name: str, password: str, *, settings: AccessSettings, by: str = audit.SYSTEM
) -> None:
    """Give a person a new password; every session is over, and failed sign-ins are forgotten.

    Raises:
        NotFound: nobody has this name.
        RequestRejected: the password is not acceptable.
        StorageUnavailable: the database does not answer.

    """
    name = canonical(name)
    check_password(name, password, settings)
    hashed = hash_password(password)
    with transaction(sessions) as session:
        _replace_password(session, find_person(session, name), hashed, by=by)


def change_own_password(sessions: Sessions, name: str, *, old: str, new: str, settings: AccessSettings) -> None:
    """Let somebody who knows the old password set a new one; every session is over.

    A wrong one counts like a failed sign-in: a stolen session is no place to try passwords out.

    Raises:
        NotAllowed: the old password is wrong.
        TooManyRequests: too many were wrong lately.
        RequestRejected: the new password is not acceptable.
        StorageUnavailable: the database does not answer.

    """
    check_password(name, new, settings)
    with transaction(sessions) as session:
        begin_attempt(session, name, f"password of {name}", settings)
        known = find_person(session, name).password_hash
    # No transaction is open while this takes its tenths of a second.
    hashed = hash_password(new) if is_password(old, known) else ""
    with transaction(sessions) as session:
        row = find_person(session, name)
        if hashed and row.password_hash == known:
            _replace_password(session, row, hashed, by=f"person {name}")
            return
    raise NotAllowed("The old password is wrong.", cure="An admin can set a new one.")


def disable_person(sessions: Sessions, name: str, *, by: str = audit.SYSTEM) -> int:
    """Let a person sign in no longer and end all sessions, at once; returns how many. What they did stays.

    Raises:
        NotFound: nobody has this name.
        Conflict: it would leave no admin who can sign in.
        StorageUnavailable: the database does not answer.

    """
    with transaction(sessions) as session:
        row = _held(session, name, stays_admin=False)
        row.disabled_at = row.disabled_at or session.scalar(func.now())
        audit.record(session, actor=by, action="person.disable", subject=f"person {row.name}")
        return close_sessions(session, row.id)


def enable_person(sessions: Sessions, name: str, *, by: str = audit.SYSTEM) -> None:
    """Let a disabled person sign in again, with the password of before.

    Raises:
        NotFound: nobody has this name.
        StorageUnavailable: the database does not answer.

    """
    with transaction(sessions) as session:
        row = find_person(session, canonical(name))
        row.disabled_at = None
        audit.record(session, actor=by, action="person.enable", subject=f"person {row.name}")


def _held(session: Session, name: str, *, stays_admin: bool) -> PersonRow:
    lock_people(session)
    row = find_person(session, canonical(name))
    is_last = row.role is Role.ADMIN and row.disabled_at is None and not other_admins(session, row.id)
    if is_last and not stays_admin:
        raise Conflict(f"{row.name!r} is the last admin.", cure="Make another person an admin first.")
    return row


def _replace_password(session: Session, row: PersonRow, hashed: str, *, by: str) -> None:
    row.password_hash = hashed
    forget_attempts(session, row.name)
    ended = close_sessions(session, row.id)
    audit.record(
        session, actor=by, action="person.password", subject=f"person {row.name}", detail={"sessions_ended": ended}
    )
