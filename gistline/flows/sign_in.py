"""A name and a password in, a session out; whoever tries too often waits."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from math import ceil

from sqlalchemy.orm import Session

from gistline.domain import Person
from gistline.errors import NotAuthenticated, TooManyRequests
from gistline.settings_access import AccessSettings
from gistline.storage import audit
from gistline.storage.passwords import LONGEST, hash_password, is_outdated, is_password
from gistline.storage.people import as_person, named
from gistline.storage.session import Sessions, transaction
from gistline.storage.sign_in_attempts import count_attempts, forget_attempts, note_attempt, prune_attempts
from gistline.storage.tables import PersonRow
from gistline.storage.web_sessions import open_session


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Who is in, and the token for the browser's cookie."""

    person: Person
    token: str


def sign_in(sessions: Sessions, name: str, password: str, *, address: str, settings: AccessSettings) -> SignedIn:
    """Check name and password and open a session.

    A wrong password, an unknown name and a disabled person are answered alike and take equally long.

    Raises:
        NotAuthenticated: name or password is wrong.
        TooManyRequests: too many attempts failed lately, under this name or from this address.
        StorageUnavailable: the database does not answer.

    """
    name = canonical(name)
    with transaction(sessions) as session:
        begin_attempt(session, name, address, settings)
        row = named(session, name)
        known = row.password_hash if row is not None else None
    # No transaction is open while this takes its tenths of a second.
    right = len(password) <= LONGEST and is_password(password, known)
    with transaction(sessions) as session:
        row = named(session, name)
        if row is None or row.disabled_at is not None or not right or row.password_hash != known:
            subject = f"person {name}" if row is not None else "nobody"
            audit.record(session, actor=f"address {address}", action="sign_in.refuse", subject=subject)
        else:
            return _let_in(session, row, password, address=address, settings=settings)
    raise NotAuthenticated("Name or password is wrong.", cure="An admin can set a new password.")


def canonical(name: str) -> str:
    """The one spelling of a name: composed, lower case, no blanks around it."""
    return unicodedata.normalize("NFKC", name).strip().casefold()


def begin_attempt(session: Session, name: str, address: str, settings: AccessSettings) -> None:
    """Note that a password is tried from ``address``; it is struck out when it was right.

    Raises:
        TooManyRequests: too many were wrong lately, under this name or from this address.

    """
    prune_attempts(session, window_min=settings.lockout_min)
    failed = count_attempts(session, name, address, window_min=settings.lockout_min)
    most = settings.attempts_anywhere
    if failed.of_both >= settings.attempts or failed.of_name >= most or failed.of_address >= most:
        wait_s = max(1, ceil(failed.oldest_s))
        raise TooManyRequests(
            "Too many sign-ins failed.", cure=f"Try again in {ceil(wait_s / 60)} minutes.", retry_after_s=wait_s
        )
    note_attempt(session, name, address)


def _let_in(session: Session, row: PersonRow, password: str, *, address: str, settings: AccessSettings) -> SignedIn:
    forget_attempts(session, row.name)
    if is_outdated(row.password_hash):
        row.password_hash = hash_password(password)
    person = as_person(row)
    audit.record(
        session, actor=person.actor, action="sign_in", subject=f"person {row.name}", detail={"address": address}
    )
    return SignedIn(person, open_session(session, row.id, max_h=settings.session_max_h))
