"""Sign-ins that failed lately, so that passwords cannot be tried out.

An attempt is noted before it is checked and struck out if it succeeds: attempts that run at once all count.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, delete, func, or_, select, text
from sqlalchemy.orm import Session

from gistline.storage.secret_digests import digest
from gistline.storage.tables import SignInAttempt

ATTEMPTS_LOCK = 7_161_237
"""First half of the advisory lock on a name's attempts."""


@dataclass(frozen=True, slots=True)
class Attempts:
    """Failed sign-ins within the window, and how long until the oldest is forgotten, in seconds."""

    of_both: int
    of_name: int
    of_address: int
    oldest_s: float


def note_attempt(session: Session, name: str, address: str) -> int:
    """Write an attempt down; returns its key."""
    row = SignInAttempt(name_sha256=digest(name), address=address)
    session.add(row)
    session.flush()
    return row.id


def count_attempts(session: Session, name: str, address: str, *, window_min: int) -> Attempts:
    """Failures of this name and of this address, with the name locked until the transaction ends."""
    named = digest(name)
    lock = {"space": ATTEMPTS_LOCK, "name": int.from_bytes(named[:4], signed=True)}
    session.execute(text("SELECT pg_advisory_xact_lock(:space, :name)"), lock)
    of_name, of_address = SignInAttempt.name_sha256 == named, SignInAttempt.address == address
    counted = select(
        func.count().filter(of_name, of_address),
        func.count().filter(of_name),
        func.count().filter(of_address),
        func.coalesce(func.extract("epoch", func.min(SignInAttempt.tried_at) + _window(window_min) - func.now()), 0),
    ).where(or_(of_name, of_address), SignInAttempt.tried_at > func.now() - _window(window_min))
    both, name_only, address_only, oldest = session.execute(counted).one()
    return Attempts(both, name_only, address_only, float(oldest))


def forget_attempts(session: Session, name: str) -> None:
    """Strike out what failed under this name: its owner is in now, or got a new password."""
    session.execute(delete(SignInAttempt).where(SignInAttempt.name_sha256 == digest(name)))


def prune_attempts(session: Session, *, window_min: int) -> None:
    """Remove what does not count any more."""
    session.execute(delete(SignInAttempt).where(SignInAttempt.tried_at < func.now() - _window(window_min)))


def _window(minutes: int) -> ColumnElement[datetime]:
    return func.make_interval(0, 0, 0, 0, 0, minutes)
