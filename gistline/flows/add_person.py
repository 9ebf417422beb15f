"""Somebody new who may sign in."""

from __future__ import annotations

from dataclasses import dataclass

from gistline.domain import Person, Role
from gistline.errors import RequestRejected
from gistline.flows.sign_in import canonical
from gistline.settings_access import AccessSettings
from gistline.storage import audit
from gistline.storage.passwords import LONGEST, hash_password
from gistline.storage.people import insert_person, stored_lines
from gistline.storage.session import Sessions, transaction

LONGEST_NAME = 64


@dataclass(frozen=True, slots=True)
class Rights:
    """Role and lines (None: all) together: what a person may do."""

    role: Role
    lines: frozenset[str] | None = None


def add_person(
    sessions: Sessions,
    name: str,
    password: str,
    rights: Rights,
    *,
    settings: AccessSettings,
    by: str = audit.SYSTEM,
) -> Person:
    """Add somebody.

    Raises:
        RequestRejected: name, password or lines are not acceptable.
        Conflict: the name is taken.
        StorageUnavailable: the database does not answer.

    """
    name = canonical(name)
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise RequestRejected(f"name = {name!r} is no name.", cure=f"Take 1 to {LONGEST_NAME} printable characters.")
    check_rights(rights)
    check_password(name, password, settings)
    hashed = hash_password(password)
    with transaction(sessions) as session:
        person = insert_person(session, name, hashed, rights.role, rights.lines)
        detail = {"role": rights.role, "lines": stored_lines(rights.lines)}
        audit.record(session, actor=by, action="person.add", subject=f"person {name}", detail=detail)
    return person


def check_password(name: str, password: str, settings: AccessSettings) -> None:
    """Refuse what is guessed first.

    Raises:
        RequestRejected: too short, too long, of few different characters, or the name itself; it is not shown.

    """
    cure = f"Take at least {settings.min_password} characters (access.min_password), such as four random words."
    if not settings.min_password <= len(password) <= LONGEST:
        raise RequestRejected(f"The password has {len(password)} characters.", cure=cure)
    if len(set(password)) < 5 or canonical(password) in {name, name * 2}:
        raise RequestRejected("The password is easily guessed.", cure=cure)


def check_rights(rights: Rights) -> None:
    """Refuse an admin who sees some lines only: whoever changes people could give himself the others.

    Raises:
        RequestRejected: such an admin, a line without a name, or no line at all.

    """
    lines = rights.lines
    if lines is None:
        return
    if rights.role is Role.ADMIN:
        raise RequestRejected("An admin sees all lines.", cure="Give no lines, or another role.")
    if not lines or not all(line.strip() and line.isprintable() for line in lines):
        raise RequestRejected(f"lines = {sorted(lines)} names no line.", cure="Name at least one, or none for all.")
