"""Which model a worker serves, opened, warmed up and proven: nothing else may look at a frame.

A model named by ``detection.model`` wins; then the promotion in force; then the bundled one of ``detection.precision``.
"""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from gistline.detection.model_file import load_model
from gistline.detection.passport import judge
from gistline.domain import EngineInfo, Judgement, Passport, PassportVerdict
from gistline.errors import EngineUnproven, NotFound
from gistline.flows.measure_passport import (
    MeasuringTools,
    TriedDetector,
    limits_of,
    machine_of,
    measure_passport,
    unproven_passport,
)
from gistline.flows.register_model import fetch_model, register_bundled, register_model
from gistline.settings import Settings
from gistline.storage import passports, serving
from gistline.storage.engines import register_engine
from gistline.storage.findings import Measure
from gistline.storage.models import StoredModel, get_model
from gistline.storage.session import Sessions, transaction

log = logging.getLogger(__name__)

ASK_AGAIN_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Wanted:
    """The model to serve, why (in words, for people), and the promotion in force, if any."""

    model: StoredModel
    why: str
    promotion_id: int | None


@dataclass(frozen=True, slots=True)
class Serving:
    """A proven engine, and what it writes beside every finding."""

    detector: TriedDetector
    measure: Measure
    passport: Passport
    wanted: Wanted | None

    def facts(self) -> dict[str, object]:
        """What a heartbeat says of it."""
        info = self.passport.engine
        found: dict[str, object] = {
            "model": info.model,
            "sha256": info.weights_sha256,
            "passport": str(self.passport.id),
            "verdict": self.passport.judgement.verdict.value,
        }
        if self.wanted is not None:
            found |= {"why": self.wanted.why, "promotion": self.wanted.promotion_id}
        return found


def wanted_model(sessions: Sessions, settings: Settings) -> Wanted:
    """Find out what to serve; takes the bundled pair, or the settings' own model, into the database first.

    Raises:
        ModelRejected: the settings' or the bundled file does not fit.
        NotFound: the promoted model is not in the database.
        StorageUnavailable: the database does not answer.

    """
    bundled = register_bundled(sessions, settings)
    with transaction(sessions) as session:
        promotion = serving.current(session)
        promoted = get_model(session, promotion.model_sha256) if promotion and promotion.model_sha256 else None
    number = promotion.id if promotion else None
    if settings.detection.model:
        own = register_model(sessions, load_model(settings.detection), settings.registry).model
        if promotion is not None and promotion.model_sha256 not in (None, own.sha256):
            log.warning("promotion %s is not followed: detection.model names %s", number, settings.detection.model)
        return Wanted(own, f"detection.model = {settings.detection.model}, which wins over promotions", number)
    if promotion is None or promotion.model_sha256 is None:
        precision = settings.detection.precision
        return Wanted(bundled[precision], f"nothing is promoted; detection.precision = {precision}", number)
    if promoted is None:
        raise NotFound(
            f"The promoted model {promotion.model_sha256} is not in the database.", cure="gistline model rollback"
        )
    return Wanted(promoted, f"{promotion.action.value} {promotion.id} by {promotion.actor}", number)


def serve_model(wanted: Wanted, tools: MeasuringTools) -> Serving:
    """Open and warm up a model's engine and see its passport; measures it where there is none and the settings agree.

    Raises:
        EngineUnproven: it may not serve here; the message says why, and what cures it.
        EngineUnavailable: the engine cannot run.
        ModelRejected: the file does not fit.

    """
    detector = tools.open_with(fetch_model(tools.sessions, wanted.model, tools.settings), tools.settings.detection)
    with ExitStack() as unless_proven:
        unless_proven.callback(detector.close)
        detector.warm_up()
        serving = admit(tools, detector, prove(wanted.model, detector, tools), wanted)
        unless_proven.pop_all()
    return serving


def admit(tools: MeasuringTools, detector: TriedDetector, passport: Passport, wanted: Wanted | None) -> Serving:
    """Bind a detector to the passport that speaks for it."""
    settings = tools.settings
    with transaction(tools.sessions) as session:
        engine_id = register_engine(session, passport.engine)
    measure = Measure(
        engine_id, settings.detection.min_confidence, settings.verdict.ng_confidence, passport_id=passport.id
    )
    return Serving(detector, measure, passport, wanted)


def prove(stored: StoredModel, detector: TriedDetector, tools: MeasuringTools) -> Passport:
    """The passport that lets this engine serve here; of several processes one measures, the others wait for it.

    Raises:
        EngineUnproven: there is none, or it fails within the limits that are in force now.

    """
    info = detector.info
    known = _known(tools.sessions, info)
    if known is None and not tools.settings.passport.required:
        return unproven(tools.sessions, info, tools.settings)
    if known is None and not tools.settings.passport.measure_at_start:
        raise EngineUnproven(
            f"{stored.name} has no passport for {info.runtime} on {machine_of(info)}, and passport.measure_at_start is "
            "off.",
            cure=f"Run 'gistline model passport {stored.name}' on this machine.",
        )
    passport = known or _measured_once(stored, detector, tools)
    judgement = judged_now(passport, tools.settings)
    if judgement.verdict is PassportVerdict.PASSED:
        return passport
    if not tools.settings.passport.required:
        log.warning("%s FAILED its passport and serves all the same: passport.required is off", stored.name)
        return passport
    raise EngineUnproven(
        f"{stored.name} on {info.runtime}, {machine_of(info)}, does not pass: {'; '.join(judgement.reasons)}.",
        cure=f"See 'gistline model show {stored.name}'. Promote another model, or raise the limits (passport.*).",
    )


def judged_now(passport: Passport, settings: Settings) -> Judgement:
    """A passport's verdict within the limits that are in force now; its figures stay what they were."""
    if passport.measurement is None:
        return passport.judgement
    return judge(passport.measurement, limits_of(settings.passport))


def unproven(sessions: Sessions, info: EngineInfo, settings: Settings) -> Passport:
    """The note under which an engine serves without a passport: ``passport.required`` is off."""
    log.warning("%s serves UNPROVEN on %s: passport.required is off", info.model, machine_of(info))
    with transaction(sessions) as session:
        known = passports.newest_of_engine(session, info, machine_of(info), measured=False)
        if known is None:
            known = unproven_passport(info, settings)
            passports.save_passport(session, known)
    return known


def _known(sessions: Sessions, info: EngineInfo) -> Passport | None:
    with transaction(sessions) as session:
        return passports.newest_of_engine(session, info, machine_of(info))


def _measured_once(stored: StoredModel, detector: TriedDetector, tools: MeasuringTools) -> Passport:
    with transaction(tools.sessions) as session:
        engine_id = register_engine(session, detector.info)
    deadline = time.monotonic() + tools.settings.passport.wait_s
    while time.monotonic() < deadline and not tools.stopping():
        with passports.measuring_alone(tools.sessions, engine_id) as alone:
            # Asked again under the lock: another process may have finished between the look and the lock.
            known = _known(tools.sessions, detector.info)
            if known is not None:
                return known
            if alone:
                log.info("measuring %s against its FP32 twin, since it has no passport here", stored.name)
                return measure_passport(stored, tools, engine=detector)
        time.sleep(ASK_AGAIN_S)
    raise EngineUnproven(
        f"Another process has been measuring {stored.name} for {tools.settings.passport.wait_s:g} s.",
        cure="See its log, or raise GISTLINE_PASSPORT__WAIT_S.",
    )
