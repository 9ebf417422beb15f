"""An engine and its FP32 reference look at the same labelled images; what that shows becomes the engine's passport."""

from __future__ import annotations

import hashlib
import logging
import platform
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import islice
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray
from uuid_utils.compat import uuid7

from gistline.detection import hardware
from gistline.detection.detector import open_model
from gistline.detection.evaluation import LabelledBox
from gistline.detection.model_file import ModelFile
from gistline.detection.passport import MEASURED_FROM, Trial, compare, judge
from gistline.domain import Detection, EngineInfo, Judgement, Measurement, Passport, PassportLimits, PassportVerdict
from gistline.errors import EngineUnproven
from gistline.flows.measure_engine import Detects, engine_rate
from gistline.flows.register_model import fetch_model
from gistline.flows.trial_images import LabelledFiles, TrialImages, digest_sample, trial_images
from gistline.settings import DetectionSettings, PassportSettings, Settings
from gistline.storage.models import StoredModel, get_model
from gistline.storage.passports import save_passport
from gistline.storage.session import Sessions, transaction

log = logging.getLogger(__name__)

CHUNK: Final = 16
"""Pictures held at once; the first of them are also those that both engines are timed on."""
TURN_S: Final = 0.4
TURNS: Final = 2


class TriedDetector(Detects, Protocol):
    """What a trial, and a worker, need of a detector."""

    def detect_each(
        self, images: Iterable[NDArray[np.uint8]], min_confidence: float | None = None
    ) -> Generator[list[Detection], None, None]:
        """Detections of each image, in order, as soon as they are there; images are drawn one by one."""
        ...

    def warm_up(self) -> None:
        """Raise :class:`EngineUnavailable` when it cannot infer."""
        ...

    def close(self) -> None:
        """Free it."""
        ...


OpenModel = Callable[[ModelFile, DetectionSettings], TriedDetector]


@dataclass(frozen=True, slots=True)
class MeasuringTools:
    """What measuring needs: the database, the settings, who opens engines, and whether to stop half-way."""

    sessions: Sessions
    settings: Settings
    open_with: OpenModel = open_model
    stopping: Callable[[], bool] = field(default=lambda: False)


def measure_passport(
    stored: StoredModel,
    tools: MeasuringTools,
    *,
    files: LabelledFiles | None = None,
    against: StoredModel | None = None,
    engine: TriedDetector | None = None,
) -> Passport:
    """Measure a stored model's engine on this machine and store the passport, whatever its verdict.

    Args:
        stored: the model.
        tools: see :class:`MeasuringTools`.
        files: labelled images; None takes the settings' set, else rendered boards.
        against: the FP32 model to hold it against; None takes its twin, and an FP32 model itself.
        engine: the opened engine, which stays open; None opens and closes one.

    Raises:
        EngineUnproven: it cannot be measured: no labelled images of its classes, no FP32 twin, or asked to stop.
        EngineUnavailable: an engine failed.
        ModelRejected: a file does not fit.
        RequestRejected: the labelled images are not usable.

    """
    images = trial_images(stored.labels, tools.settings, files)
    with ExitStack() as stack:
        pair = open_pair(stored, tools, stack, against=against, engine=engine)
        measured = measure_loss(pair, images, tools)
        passport = _passport(stored, (pair[0].info, pair[1].info), measured, tools.settings)
    with transaction(tools.sessions) as session:
        save_passport(session, passport)
    log.info("passport %s of %s: %s", passport.id, stored.name, passport.judgement.verdict.value)
    return passport


def unproven_passport(info: EngineInfo, settings: Settings) -> Passport:
    """A note that an engine serves without having been measured, as ``passport.required`` allows."""
    judgement = Judgement(PassportVerdict.UNPROVEN, ("it was not measured; passport.required is off",))
    return _sign(info, None, (None, None, judgement), settings)


def machine_of(info: EngineInfo) -> str:
    """The hardware as far as it decides what an engine computes: on a CPU its instructions count beside its name."""
    if not _on_cpu(info):
        return info.device
    return f"{info.device} ({' '.join(hardware.cpu().flags) or 'instructions unknown'})"


def limits_of(settings: PassportSettings) -> PassportLimits:
    """The settings' limits."""
    return PassportLimits(**{name: getattr(settings, name) for name in PassportLimits.__dataclass_fields__})


def open_pair(
    stored: StoredModel,
    tools: MeasuringTools,
    stack: ExitStack,
    *,
    against: StoredModel | None = None,
    engine: TriedDetector | None = None,
) -> tuple[TriedDetector, TriedDetector]:
    """Open a model's engine and its FP32 reference, both closed by ``stack``; twice the same where it is its own.

    Raises:
        EngineUnproven: there is no FP32 twin.
        EngineUnavailable: an engine failed.
        ModelRejected: a file does not fit.

    """
    twin = reference_of(stored, tools.sessions, against)
    tried = engine or open_stored(stored, tools, tools.settings.detection, stack)
    if twin.sha256 == stored.sha256 and is_plain(tried.info):
        return tried, tried
    return tried, open_reference(twin, tools, stack)


def open_reference(twin: StoredModel, tools: MeasuringTools, stack: ExitStack) -> TriedDetector:
    """Open an FP32 model as a reference; ``stack`` closes it."""
    # FP32 arithmetic to the letter is what OpenVINO's hint promises; a GPU would round it to TF32.
    plain = tools.settings.detection.model_copy(update={"runtime": "openvino"})
    return open_stored(twin, tools, plain, stack)


def reference_of(stored: StoredModel, sessions: Sessions, against: StoredModel | None = None) -> StoredModel:
    """The FP32 model to hold it against: ``against``, else the one that it was made of; an FP32 model itself.

    Raises:
        EngineUnproven: it names none, one that is not in the database, or one that is no such model.

    """
    if against is None and not stored.quantised:
        return stored
    name = f"gistline model passport {stored.name} --against FP32_MODEL"
    if against is None and stored.source_sha256 is None:
        raise EngineUnproven(
            f"{stored.name} does not say which FP32 model it was made of, so its loss cannot be measured.",
            cure=f"Add the FP32 model and name it: {name}.",
        )
    if against is None:
        with transaction(sessions) as session:
            against = get_model(session, stored.source_sha256 or "")
    if against is None:
        raise EngineUnproven(
            f"{stored.name} was made of the FP32 model {stored.source_sha256}, which is not in the database.",
            cure="Take it in with 'gistline model add', then measure again.",
        )
    if against.quantised or against.labels != stored.labels:
        raise EngineUnproven(
            f"{against.name} is no FP32 model with the classes of {stored.name}.", cure=f"Name another one: {name}."
        )
    return against


def measure_loss(
    pair: tuple[TriedDetector, TriedDetector], images: TrialImages, tools: MeasuringTools, *, timed: bool = True
) -> Measurement:
    """Let an engine and its reference look at labelled images; without ``timed`` their rates are given as 0.

    Raises:
        EngineUnproven: asked to stop.
        EngineUnavailable: an engine failed.

    """
    trial = _try(pair, images, tools.stopping, timed=timed)
    return compare(trial, pair[0].info.labels, resamples=tools.settings.passport.resamples)


def open_stored(
    stored: StoredModel, tools: MeasuringTools, settings: DetectionSettings, stack: ExitStack
) -> TriedDetector:
    """Open and warm up a stored model; ``stack`` closes it."""
    made = tools.open_with(fetch_model(tools.sessions, stored, tools.settings), settings)
    stack.callback(made.close)
    made.warm_up()
    return made


def is_plain(info: EngineInfo) -> bool:
    """Whether it computes in FP32 to the letter, so that it is its own reference."""
    return info.precision == "FP32" and info.int8_convolutions == 0 and _on_cpu(info)


def _on_cpu(info: EngineInfo) -> bool:
    return not info.runtime.lower().startswith("tensorrt")


def _try(
    pair: tuple[TriedDetector, TriedDetector], images: TrialImages, stopping: Callable[[], bool], *, timed: bool
) -> Trial:
    engine, reference = pair
    digest = hashlib.sha256()
    truth: list[list[LabelledBox]] = []
    found: tuple[list[list[Detection]], list[list[Detection]]] = ([], [])
    first: list[NDArray[np.uint8]] = []
    samples = images.samples()
    while chunk := list(islice(samples, CHUNK)):
        if stopping():
            raise EngineUnproven("The process was asked to leave, or its time was over, while it measured an engine.")
        for sample in chunk:
            digest_sample(digest, sample)
        pictures = [sample.image for sample in chunk]
        first = first or pictures
        truth += [sample.boxes for sample in chunk]
        found[0].extend(engine.detect(pictures, MEASURED_FROM))
        found[1].extend(found[0][-len(chunk) :] if reference is engine else reference.detect(pictures, MEASURED_FROM))
    return Trial(images.name, digest.hexdigest(), truth, *found, _rates(pair, first) if timed else (0.0, 0.0))


def _rates(pair: tuple[TriedDetector, TriedDetector], images: Sequence[NDArray[np.uint8]]) -> tuple[float, float]:
    """Frames a second of both, in turns, so that a busy moment slows both."""
    if pair[0] is pair[1]:
        rate = engine_rate(pair[0], images, seconds=TURN_S)
        return rate, rate
    rates = [[engine_rate(one, images, seconds=TURN_S) for one in pair] for _ in range(TURNS)]
    engine, reference = np.mean(rates, axis=0).tolist()
    return engine, reference


def _passport(
    stored: StoredModel, infos: tuple[EngineInfo, EngineInfo], measured: Measurement, settings: Settings
) -> Passport:
    judgement = judge(measured, limits_of(settings.passport))
    return _sign(infos[0], stored.calibration_sha256, (infos[1], measured, judgement), settings)


def _sign(
    info: EngineInfo,
    calibration_sha256: str | None,
    result: tuple[EngineInfo | None, Measurement | None, Judgement],
    settings: Settings,
) -> Passport:
    reference, measured, judgement = result
    return Passport(
        id=uuid7(),
        engine=info,
        machine=machine_of(info),
        reference=reference,
        calibration_sha256=calibration_sha256,
        measurement=measured,
        limits=limits_of(settings.passport),
        judgement=judgement,
        versions=_versions(),
        hardware=_hardware(info),
        measured_at=datetime.now(UTC),
    )


def _versions() -> dict[str, str]:
    found = {name: release for name, release in hardware.libraries().items() if release}
    return {"gistline": version("gistline"), "python": platform.python_version()} | found


def _hardware(info: EngineInfo) -> dict[str, str]:
    cpu = hardware.cpu()
    facts = {"cpu": cpu.model, "instructions": " ".join(cpu.flags), "cores": str(cpu.cores)}
    if _on_cpu(info):
        return facts
    gpus = [asdict(gpu) for gpu in hardware.gpus()]
    return facts | {f"gpu {number}": str(gpu) for number, gpu in enumerate(gpus)}
