"""Passports of engines that nobody measured, for tests that need a finding's paper and not its figures."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from sqlalchemy.orm import Session

from gistline.domain import ClassComparison, Comparison, EngineInfo, Estimate, Measurement, PassportVerdict
from gistline.flows.measure_passport import unproven_passport
from gistline.settings import Settings
from gistline.storage.engines import register_engine
from gistline.storage.models import NewModel, insert_model
from gistline.storage.passports import save_passport

TEST_ENGINE = EngineInfo("test", "0" * 64, "test", "CPU", "FP32", ("open",), (64, 64), 1, 0)


def add_engine(session: Session, info: EngineInfo = TEST_ENGINE) -> tuple[int, UUID]:
    """Ids of the engine's row and of a note that it serves unproven."""
    passport = unproven_passport(info, Settings())
    save_passport(session, passport)
    session.flush()
    return register_engine(session, info), passport.id


def add_measured(session: Session, info: EngineInfo) -> UUID:
    """A model with a passport that passes: 97.6 mAP50, of which 0.4 points are lost."""

    def about(engine: float, loss: float) -> Comparison:
        low, high = engine - 0.01, engine + 0.01
        reference = Estimate(engine + loss, low + loss, high + loss)
        return Comparison(Estimate(engine, low, high), reference, Estimate(loss, loss - 0.002, loss + 0.002))

    whole = about(0.976, 0.004), about(0.820, 0.006)
    classes = tuple(ClassComparison(label, 40, 30, *whole) for label in info.labels)
    measured = Measurement("boards", "1" * 64, 48, 240, about(0.981, 0.003), *whole, classes, 66.2, 36.4, 1_000, 1)
    new = NewModel(
        sha256=info.weights_sha256,
        name=info.model,
        origin="added",
        labels=info.labels,
        layout="yolov8",
        input_size=info.input_size,
        convolutions=info.convolutions,
        quantised_convolutions=info.int8_convolutions,
        source_sha256=None,
        calibration_sha256=None,
        recipe={},
        byte_count=5,
    )
    insert_model(session, new, b"model")
    unproven = unproven_passport(info, Settings())
    judgement = replace(unproven.judgement, verdict=PassportVerdict.PASSED, reasons=())
    passport = replace(unproven, reference=info, measurement=measured, judgement=judgement)
    save_passport(session, passport)
    return passport.id
