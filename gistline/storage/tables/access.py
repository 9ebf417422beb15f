"""Who may do what: keys, people, their sessions, and the record of every change."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, CheckConstraint, ForeignKey, Identity, Index, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from gistline.domain import Role
from gistline.storage.tables.base import Base


class ProgramRow(Base):
    """A program of the customer's that reads, or operates, by the API; ``lines`` NULL shows it all of them."""

    __tablename__ = "programs"
    __table_args__ = (CheckConstraint("role <> 'admin' OR lines IS NULL", name="admin_sees_all"),)

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    role: Mapped[Role]
    lines: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ApiKey(Base):
    """A key of a camera or of a program, of which only the SHA-256 is kept: 256 random bits need no slow hash.

    ``prefix`` is its beginning, by which people tell keys apart; keys older than that column have none. A key that was
    replaced is good until ``expires_at``; ``used_at`` is kept for programs' keys, to the minute.
    """

    __tablename__ = "api_keys"
    __table_args__ = (CheckConstraint("num_nonnulls(camera_id, program_id) = 1", name="has_one_owner"),)

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    camera_id: Mapped[int | None] = mapped_column(ForeignKey("cameras.id"), index=True)
    program_id: Mapped[int | None] = mapped_column(ForeignKey("programs.id"), index=True)
    key_sha256: Mapped[bytes] = mapped_column(unique=True)
    prefix: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    used_at: Mapped[datetime | None]


class PersonRow(Base):
    """Somebody who signs in. ``password_hash`` is argon2id with its parameters; ``lines`` NULL shows all lines."""

    __tablename__ = "people"
    __table_args__ = (CheckConstraint("role <> 'admin' OR lines IS NULL", name="admin_sees_all"),)

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str]
    role: Mapped[Role]
    lines: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    disabled_at: Mapped[datetime | None]


class SessionRow(Base):
    """A signed-in browser, of whose token only the SHA-256 is kept; ``seen_at`` is right to the minute."""

    __tablename__ = "sessions"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"), index=True)
    token_sha256: Mapped[bytes] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    seen_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class SignInAttempt(Base):
    """A sign-in that failed or is being checked.

    The name is a digest: people type their password into the wrong field now and then.
    """

    __tablename__ = "sign_in_attempts"
    __table_args__ = (Index(None, "name_sha256", "tried_at"), Index(None, "address", "tried_at"))

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    name_sha256: Mapped[bytes]
    address: Mapped[str]
    tried_at: Mapped[datetime] = mapped_column(server_default=func.now())


class AuditRow(Base):
    """A change, who made it and when; the database refuses to alter or remove it."""

    __tablename__ = "audit_log"
    __table_args__ = (Index(None, "subject", "id"), CheckConstraint("actor <> ''", name="has_actor"))

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=func.now())
    actor: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str]
    detail: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
