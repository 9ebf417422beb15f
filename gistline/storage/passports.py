"""Passports of engines: written once, never changed; the newest of an engine counts."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Final
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import Engine, func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from gistline.domain import EngineInfo, Passport, PassportVerdict
from gistline.errors import NotFound
from gistline.storage.engines import register_engine
from gistline.storage.session import Sessions, transaction
from gistline.storage.tables import PassportRow

MEASURE_LOCK: Final = 7_161_235
"""First half of the advisory locks of measuring; the second is the engine's id."""
_EVIDENCE: Final = TypeAdapter(Passport)


def save_passport(session: Session, passport: Passport) -> None:
    """Store a passport and, if it is new, the engine that it is of."""
    measured = passport.measurement
    session.add(
        PassportRow(
            id=passport.id,
            engine_id=register_engine(session, passport.engine),
            machine=passport.machine,
            model_sha256=passport.engine.weights_sha256,
            verdict=passport.judgement.verdict,
            labelled_sha256=measured.labelled_sha256 if measured else None,
            evidence=json.loads(_EVIDENCE.dump_json(passport)),
            measured_at=passport.measured_at,
        )
    )


def get_passport(session: Session, passport_id: UUID) -> Passport:
    """One passport.

    Raises:
        NotFound: there is none of this id.

    """
    return _passport(read_passport(session, passport_id))


def read_passport(session: Session, passport_id: UUID) -> PassportRow:
    """One passport as it is stored.

    Raises:
        NotFound: there is none of this id.

    """
    row = session.get(PassportRow, passport_id)
    if row is None:
        raise NotFound(f"There is no passport {passport_id}.", cure="'gistline model show' names those of a model.")
    return row


def newest_of_engine(session: Session, info: EngineInfo, machine: str, *, measured: bool = True) -> Passport | None:
    """The passport that counts for this engine (weights, runtime with version, device, precision) on such a machine.

    Without ``measured`` the newest note that it serves unproven.
    """
    unproven = PassportRow.verdict == PassportVerdict.UNPROVEN
    of_engine = select(PassportRow).where(
        PassportRow.engine_id == register_engine(session, info),
        PassportRow.machine == machine,
        ~unproven if measured else unproven,
    )
    row = session.scalar(of_engine.order_by(PassportRow.measured_at.desc(), PassportRow.id.desc()).limit(1))
    return _passport(row) if row is not None else None


def newest_of_model(session: Session, sha256: str) -> Sequence[Passport]:
    """The passport that counts of each engine that was made of a model, on each kind of machine, newest first."""
    rank = func.row_number().over(
        partition_by=(PassportRow.engine_id, PassportRow.machine),
        order_by=(PassportRow.measured_at.desc(), PassportRow.id.desc()),
    )
    measured = PassportRow.verdict != PassportVerdict.UNPROVEN
    ranked = select(PassportRow.id, rank.label("rank")).where(PassportRow.model_sha256 == sha256, measured).subquery()
    newest = select(PassportRow).join(ranked, ranked.c.id == PassportRow.id).where(ranked.c.rank == 1)
    return [_passport(row) for row in session.scalars(newest.order_by(PassportRow.measured_at.desc()))]


def measured_passports(session: Session, *, limit: int, before: datetime | None = None) -> Sequence[Passport]:
    """Up to ``limit`` passports of engines that were measured, newest first; those older than ``before`` only."""
    found = select(PassportRow).where(PassportRow.verdict != PassportVerdict.UNPROVEN)
    if before is not None:
        found = found.where(PassportRow.measured_at < before)
    ordered = found.order_by(PassportRow.measured_at.desc(), PassportRow.id.desc()).limit(limit)
    return [_passport(row) for row in session.scalars(ordered)]


def news(session: Session) -> tuple[int, str]:
    """Changes whenever a passport is written: their number, and the newest one's time."""
    count, newest = session.execute(select(func.count(), func.max(PassportRow.measured_at))).one()
    return count, str(newest)


@contextmanager
def measuring_alone(sessions: Sessions, engine_id: int) -> Iterator[bool]:
    """Try to become the one process that measures this engine; yields whether it is."""
    with holding_alone(sessions, MEASURE_LOCK, engine_id) as alone:
        yield alone


@contextmanager
def holding_alone(sessions: Sessions, space: int, key: int) -> Iterator[bool]:
    """Try to take an advisory lock of two numbers; yields whether it is held.

    The lock lives on a connection of its own, so that no transaction stays open while engines run, and ends with it.

    Raises:
        StorageUnavailable: the database does not answer.

    """
    bind = sessions.kw["bind"]
    assert isinstance(bind, Engine)  # noqa: S101 - what open_database makes
    keys = {"space": space, "key": key}
    with transaction(sessions):  # says in our words that the database is away
        pass
    with bind.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        alone = bool(connection.scalar(text("SELECT pg_try_advisory_lock(:space, :key)"), keys))
        try:
            yield alone
        finally:
            if alone and not connection.closed and not connection.invalidated:
                with suppress(DBAPIError):  # a connection that broke meanwhile took the lock with it
                    connection.execute(text("SELECT pg_advisory_unlock(:space, :key)"), keys)


def _passport(row: PassportRow) -> Passport:
    return dataclasses.replace(_EVIDENCE.validate_python(row.evidence), id=row.id)
