"""The customer's programs that ask by the API: a BI tool, an ERP, a PLC."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from gistline.domain import Program, Role
from gistline.errors import Conflict, NotAuthenticated, NotFound
from gistline.storage.keys import KeyEntry, Owner, has_digest, is_good, is_key, list_keys
from gistline.storage.people import stored_lines
from gistline.storage.tables import ApiKey, ProgramRow

TOUCH_S = 60
"""``used_at`` of a key is written at most this often."""


@dataclass(frozen=True, slots=True)
class ProgramEntry:
    """A program as listed, with all its keys, newest first."""

    name: str
    role: Role
    lines: tuple[str, ...] | None
    created_at: datetime
    keys: Sequence[KeyEntry]


def insert_program(session: Session, name: str, role: Role, lines: Collection[str] | None) -> Program:
    """Add a program.

    Raises:
        Conflict: the name is taken.

    """
    values = {"name": name, "role": role, "lines": stored_lines(lines)}
    found = session.scalar(insert(ProgramRow).values(values).on_conflict_do_nothing().returning(ProgramRow.id))
    if found is None:
        raise Conflict(f"There is a program {name!r} already.", cure="Take another name, or rotate its key.")
    return Program(found, name, role, None if lines is None else frozenset(lines))


def find_program(session: Session, name: str) -> Program:
    """Look a program up by its name.

    Raises:
        NotFound: no such program.

    """
    row = session.scalar(select(ProgramRow).where(ProgramRow.name == name))
    if row is None:
        raise NotFound(f"There is no program {name!r}.", cure="'gistline keys list' shows all.")
    return _program(row)


def list_programs(session: Session) -> Sequence[ProgramEntry]:
    """All programs by name."""
    rows = session.scalars(select(ProgramRow).order_by(ProgramRow.name))
    return [
        ProgramEntry(
            name=row.name,
            role=row.role,
            lines=None if row.lines is None else tuple(row.lines),
            created_at=row.created_at,
            keys=list_keys(session, Owner(program_id=row.id)),
        )
        for row in rows
    ]


def authenticate_program(session: Session, key: str) -> Program:
    """Find the program of a key, and note that it was used.

    Raises:
        NotAuthenticated: malformed, unknown, run out or revoked; which of them is not said.

    """
    row = None
    if is_key(key):
        statement = select(ProgramRow, ApiKey.id).join(ApiKey, ApiKey.program_id == ProgramRow.id)
        row = session.execute(statement.where(has_digest(key), is_good())).one_or_none()
    if row is None:
        raise NotAuthenticated("The key is unknown or revoked.", cure="'gistline keys rotate NAME' makes a new one.")
    program, key_id = row
    stale = or_(ApiKey.used_at.is_(None), ApiKey.used_at < func.now() - func.make_interval(0, 0, 0, 0, 0, 0, TOUCH_S))
    session.execute(update(ApiKey).where(ApiKey.id == key_id, stale).values(used_at=func.now()))
    return _program(program)


def _program(row: ProgramRow) -> Program:
    return Program(row.id, row.name, row.role, None if row.lines is None else frozenset(row.lines))
