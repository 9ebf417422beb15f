"""Passports of engines that nobody measured, for tests that need a finding's paper and not its figures."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.orm import Session

from gistline.domain import EngineInfo
from gistline.flows.measure_passport import unproven_passport
from gistline.settings import Settings
from gistline.storage.engines import register_engine
from gistline.storage.passports import save_passport

TEST_ENGINE = EngineInfo("test", "0" * 64, "test", "CPU", "FP32", ("open",), (64, 64), 1, 0)


def add_engine(session: Session, info: EngineInfo = TEST_ENGINE) -> tuple[int, UUID]:
    """Ids of the engine's row and of a note that it serves unproven."""
    passport = unproven_passport(info, Settings())
    save_passport(session, passport)
    session.flush()
    return register_engine(session, info), passport.id
