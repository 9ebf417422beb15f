"""The record of changes: who changed what, when. Written in the transaction of the change itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from gistline.storage.tables import AuditRow

SYSTEM: Final = "system"
"""Actor of what the program does by itself."""


def record(session: Session, *, actor: str, action: str, subject: str, detail: Mapping[str, Any] | None = None) -> None:
    """Note a change; it is kept if the transaction commits, and gone with it otherwise.

    Args:
        session: the transaction that makes the change.
        actor: who: ``person anna``, ``program erp``, ``root@gate-pc`` for the command line, or :data:`SYSTEM`.
        action: what, as ``noun.verb``: ``camera.add``, ``model.promote``.
        subject: to which: ``camera gate-7``.
        detail: what is worth knowing, as JSON; never a password, a key or a token.

    """
    session.execute(insert(AuditRow).values(actor=actor, action=action, subject=subject, detail=dict(detail or {})))


def newest(session: Session, *, limit: int, subject: str | None = None) -> Sequence[AuditRow]:
    """The latest changes, newest first; with ``subject``, those made to it."""
    statement = select(AuditRow).order_by(AuditRow.id.desc()).limit(limit)
    if subject is not None:
        statement = statement.where(AuditRow.subject == subject)
    return session.scalars(statement).all()
