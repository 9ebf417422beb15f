"""People who may sign in."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from gistline.domain import Person, Role
from gistline.errors import Conflict, NotFound
from gistline.storage.tables import PersonRow, SessionRow

PEOPLE_LOCK = 7_161_236
"""Advisory lock of changing people: two admins who disable each other at once would leave none."""


@dataclass(frozen=True, slots=True)
class PersonEntry:
    """A person as listed; ``seen_at`` is the last sign of life of a session, None if there never was one."""

    id: int
    name: str
    role: Role
    lines: tuple[str, ...] | None
    created_at: datetime
    disabled_at: datetime | None
    seen_at: datetime | None


def lock_people(session: Session) -> None:
    """Let nobody else change people until the transaction ends."""
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": PEOPLE_LOCK})


def insert_person(
    session: Session, name: str, password_hash: str, role: Role, lines: Collection[str] | None = None
) -> Person:
    """Add somebody.

    Raises:
        Conflict: the name is taken.

    """
    values = {"name": name, "password_hash": password_hash, "role": role, "lines": stored_lines(lines)}
    statement = insert(PersonRow).values(values).on_conflict_do_nothing().returning(PersonRow.id)
    found = session.scalar(statement)
    if found is None:
        raise Conflict(
            f"There is a person {name!r} already.", cure="Take another name, or change that one: 'gistline people set'."
        )
    return Person(found, name, role, None if lines is None else frozenset(lines))


def find_person(session: Session, name: str) -> PersonRow:
    """Look somebody up by the name.

    Raises:
        NotFound: nobody has it.

    """
    row = named(session, name)
    if row is None:
        raise NotFound(f"There is no person {name!r}.", cure="'gistline people list' shows all.")
    return row


def named(session: Session, name: str) -> PersonRow | None:
    """Whoever has this name, disabled or not."""
    if "\0" in name:  # the database takes none, so nobody has it
        return None
    return session.scalar(select(PersonRow).where(PersonRow.name == name))


def other_admins(session: Session, person_id: int) -> int:
    """How many admins beside this person can sign in."""
    can = (PersonRow.role == Role.ADMIN, PersonRow.disabled_at.is_(None), PersonRow.id != person_id)
    return session.scalar(select(func.count()).select_from(PersonRow).where(*can)) or 0


def anybody(session: Session) -> bool:
    """Whether there is a person at all."""
    return session.scalar(select(PersonRow.id).limit(1)) is not None


def list_people(session: Session) -> Sequence[PersonEntry]:
    """Everybody, by name."""
    seen = select(func.max(SessionRow.seen_at)).where(SessionRow.person_id == PersonRow.id).scalar_subquery()
    rows = session.execute(select(PersonRow, seen).order_by(PersonRow.name))
    return [
        PersonEntry(
            id=row.id,
            name=row.name,
            role=row.role,
            lines=None if row.lines is None else tuple(row.lines),
            created_at=row.created_at,
            disabled_at=row.disabled_at,
            seen_at=last,
        )
        for row, last in rows
    ]


def as_person(row: PersonRow) -> Person:
    """The words for a row."""
    return Person(row.id, row.name, row.role, None if row.lines is None else frozenset(row.lines))


def stored_lines(lines: Collection[str] | None) -> list[str] | None:
    """Lines in one order, so that equal sets are stored alike."""
    return None if lines is None else sorted(set(lines))
