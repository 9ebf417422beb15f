"""What a person may see: a condition of every page's queries, and the choices that its filters offer."""

from __future__ import annotations

from sqlalchemy import ColumnElement, SQLColumnExpression, any_, false, literal, select, true
from sqlalchemy.dialects.postgresql import ARRAY, TEXT
from sqlalchemy.orm import Session

from gistline.storage.tables import Camera

Lines = frozenset[str] | None
"""Names of the production lines that somebody may see; None for all of them."""


def within(column: SQLColumnExpression[str], lines: Lines) -> ColumnElement[bool]:
    """Whether a row's line is one of these."""
    if lines is None:
        return true()
    return column == any_(literal(sorted(lines), ARRAY(TEXT))) if lines else false()


def known_lines(session: Session, lines: Lines) -> list[str]:
    """Lines that have a camera and may be seen, sorted."""
    found = select(Camera.line).where(within(Camera.line, lines)).group_by(Camera.line)
    return sorted(session.scalars(found))


def known_cameras(session: Session, lines: Lines) -> list[str]:
    """Cameras that may be seen, sorted."""
    return sorted(session.scalars(select(Camera.name).where(within(Camera.line, lines))))
