"""The GPU runtime: TensorRT and PyCUDA. The only file that imports either, and only when it is used.

Nothing here may run before a fork: the driver's state does not survive one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gistline.detection.candidates import Candidates
from gistline.detection.engine import Image
from gistline.detection.gpu_buffers import Driver, GpuSession
from gistline.detection.gpu_facts import Fp16Rate, GpuFacts
from gistline.detection.gpu_pipeline import Pipeline
from gistline.detection.hardware import Gravity, Precision, advise_build, refuse_unless
from gistline.detection.model_file import ModelFile
from gistline.detection.tensorrt_api import Features, LogBook, Typing, choose_typing, make_logger, read_features
from gistline.detection.tensorrt_build import Calibrating, Recipe, build_plan
from gistline.detection.tensorrt_calibrator import Calibration, CalibrationCache, Feeder
from gistline.detection.tensorrt_files import EngineKey, EngineStore
from gistline.detection.tensorrt_network import TensorRtNetwork
from gistline.detection.tensorrt_progress import Progress
from gistline.domain import EngineInfo
from gistline.errors import EngineUnavailable, GistlineError, ModelRejected
from gistline.settings import DetectionSettings, TensorRtSettings

log = logging.getLogger(__name__)

_LEAST_INT8_SHARE: Final = 0.5
"""Below this share of the quantised convolutions the engine would be an INT8 engine in name only."""
_INSTALL: Final = "pip install 'gistline[gpu]'"


@dataclass(frozen=True, slots=True)
class BuiltEngine:
    """A file on disk, what runs in it, layers that only change formats, seconds, and whether it was built just now."""

    path: Path
    info: EngineInfo
    reformats: int
    seconds: float
    fresh: bool


class TensorRtEngine:
    """One engine on one GPU, in the process that made it."""

    def __init__(self, model: ModelFile, settings: TensorRtSettings, *, calibration: Calibration | None = None) -> None:
        """Load the engine of this model, GPU and release, or build it first (minutes).

        Raises:
            EngineUnavailable: no GPU, no TensorRT, too little memory, or building is not allowed at start.
            ModelRejected: TensorRT does not take the model, or would not run it in INT8.
            HardwareUnfit: a build would be silly on this GPU.

        """
        self._bench = _Bench.open(settings)
        try:
            self._start(model, settings, calibration)
        except GistlineError:
            self._bench.session.close()
            raise

    @property
    def info(self) -> EngineInfo:
        """Read from the built engine."""
        return self._info

    @property
    def in_flight(self) -> int:
        """Images in two batches."""
        return self._pipeline.in_flight

    @property
    def reformats(self) -> int:
        """Layers that only change the format of numbers between others."""
        return self._network.layers.reformats

    def infer(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """``[n, height, width, 3]`` of the input's size -> raw predictions; n is at least 1."""
        return self._pipeline.infer(batch)

    def stream(self, images: Iterable[Image], min_confidence: float) -> Iterator[Candidates]:
        """Letterbox, infer and filter on the GPU; one result an image, in order."""
        return self._pipeline.stream(images, min_confidence)

    def close(self) -> None:
        """Free the engine, its buffers and the context. No call may be running."""
        if self._bench.session.is_open:
            with self._bench.session.current():
                self._network.close()
        self._bench.session.close()

    def _start(self, model: ModelFile, settings: TensorRtSettings, calibration: Calibration | None) -> None:
        bench = self._bench
        key = bench.key(model, settings, calibration)
        store = EngineStore(settings.cache_dir)
        if store.find(key) is None and not settings.build_at_start:
            raise EngineUnavailable(
                f"No engine of {model.name} was built for {key.gpu} and TensorRT {key.tensorrt}.",
                cure="Build it: gistline model build. Or let workers do so (detection.tensorrt.build_at_start).",
            )
        if store.find(key) is None:
            log.warning("Building an engine of %s for %s; this takes minutes.", model.name, key.gpu)
        content = find_or_build(bench, model, settings, progress=_log_progress(), calibration=calibration)
        with bench.session.current():
            self._network = bench.load(content, model, settings)
            self._info = _describe(model, bench, self._network)
            _refuse_silent_fallback(model, self._info)
        self._pipeline = Pipeline(bench.session, self._network)


@dataclass(frozen=True, slots=True)
class _Bench:
    """The two libraries and the GPU that a build or an engine works with."""

    trt: Any
    session: GpuSession
    features: Features
    book: LogBook

    @classmethod
    def open(cls, settings: TensorRtSettings) -> _Bench:
        trt, driver = _tensorrt(settings), _driver()
        features = read_features(trt)
        return cls(trt, GpuSession(driver, settings.device), features, LogBook())

    @property
    def gpu(self) -> GpuFacts:
        """The GPU as the hardware check wants it."""
        session = self.session
        with session.current():
            free, total = session.driver.mem_get_info()
        return GpuFacts(session.name, session.capability, total, free, driver="", cuda="")

    def key(self, model: ModelFile, settings: TensorRtSettings, calibration: Calibration | None) -> EngineKey:
        """What a built engine must match."""
        most = model.max_batch or settings.max_batch
        return EngineKey(
            model=model.name,
            model_sha256=model.sha256,
            calibration=calibration.digest if calibration else "",
            gpu=self.session.name,
            capability=self.session.capability,
            tensorrt=self.features.version,
            max_batch=most,
            opt_batch=model.max_batch or min(most, settings.opt_batch or most),
            workspace_mb=settings.workspace_mb,
            builder_level=settings.builder_level,
            version_compatible=settings.version_compatible,
        )

    def load(self, content: bytes, model: ModelFile, settings: TensorRtSettings) -> TensorRtNetwork:
        """Deserialise an engine; within the session's context."""
        self.book.clear()
        runtime = self.trt.Runtime(make_logger(self.trt, self.book))
        engine = runtime.deserialize_cuda_engine(content)
        if engine is None:
            raise EngineUnavailable(
                f"TensorRT {self.features.version} does not load the engine of {model.name}: {self.book.last}",
                cure="Build it again: gistline model build --force.",
            )
        return TensorRtNetwork(self.trt, engine, model=model, max_batch=settings.max_batch, book=self.book)


def available() -> str | None:
    """None where TensorRT and a GPU can be used, else the reason. Touches the driver: never call it before a fork."""
    try:
        _Bench.open(TensorRtSettings()).session.close()
    except GistlineError as error:
        return str(error)
    return None


def open_engine(model: ModelFile, settings: DetectionSettings) -> TensorRtEngine:
    """The engine of a checked model; see :class:`TensorRtEngine`."""
    return TensorRtEngine(model, settings.tensorrt)


def build_engine_file(
    model: ModelFile,
    *,
    settings: TensorRtSettings,
    progress: Progress,
    calibration: Calibration | None = None,
    force: bool = False,
) -> BuiltEngine:
    """Build an engine for this machine's GPU, unless one of the same key is there, and look into it.

    Args:
        model: the checked file.
        settings: GPU, batches, folder.
        progress: told how far it is.
        calibration: images for TensorRT's own calibrator (up to release 10, for a file without Q/DQ).
        force: build what the hardware check calls silly, and build anew what is there.

    Raises:
        EngineUnavailable: no GPU, no TensorRT or too little memory.
        ModelRejected: TensorRT does not take the model, or would not run it in INT8.
        HardwareUnfit: the build would be silly on this GPU.

    """
    begin = time.monotonic()
    bench = _Bench.open(settings)
    try:
        store, key = EngineStore(settings.cache_dir), bench.key(model, settings, calibration)
        if force:
            store.path(key).unlink(missing_ok=True)
        fresh = store.find(key) is None
        content = find_or_build(bench, model, settings, progress=progress, calibration=calibration, force=force)
        with bench.session.current():
            network = bench.load(content, model, settings)
            info, reformats = _describe(model, bench, network), network.layers.reformats
            network.close()
        _refuse_silent_fallback(model, info)
        return BuiltEngine(store.path(key), info, reformats, time.monotonic() - begin, fresh)
    finally:
        bench.session.close()


def find_or_build(
    bench: _Bench,
    model: ModelFile,
    settings: TensorRtSettings,
    *,
    progress: Progress,
    calibration: Calibration | None = None,
    force: bool = False,
) -> bytes:
    """The engine's bytes; one process of the machine builds, the others wait for it."""
    store, key = EngineStore(settings.cache_dir), bench.key(model, settings, calibration)
    with store.building(key):
        found = store.find(key)
        if found is not None:
            return found
        typing = _typing(bench, model, calibration)
        _check_hardware(bench, model, key, typing, force=force)
        recipe = Recipe(model, settings, bench.features, typing, store.timing_cache(key))
        with bench.session.current():
            calibrating = _calibrating(bench, model, calibration, store.calibration_cache(key))
            content = build_plan(bench.trt, recipe, bench.book, progress=progress, calibrating=calibrating)
        store.save(key, content, typing=str(typing), labels=model.labels)
        return content


def _typing(bench: _Bench, model: ModelFile, calibration: Calibration | None) -> Typing:
    typing = choose_typing(bench.features, model, calibrated=calibration is not None)
    slow = bench.gpu.abilities.fp16 in {Fp16Rate.SIXTY_FOURTH, Fp16Rate.NONE}
    return Typing(typing.strong, tuple(flag for flag in typing.flags if not (slow and flag == "FP16")))


def _check_hardware(bench: _Bench, model: ModelFile, key: EngineKey, typing: Typing, *, force: bool) -> None:
    int8 = bool(model.quantised_convolutions or key.calibration)
    half = model.float16 or "FP16" in typing.flags
    precision: Precision = "int8" if int8 else "fp16" if half else "fp32"
    advice = advise_build(
        bench.gpu,
        precision,
        model_bytes=len(model.content),
        batch=key.max_batch,
        input_size=model.input_size,
        tensorrt=key.tensorrt,
    )
    for one in advice:
        log.log(logging.WARNING if one.gravity is not Gravity.NOTE else logging.INFO, "%s %s", one.message, one.cure)
    refuse_unless(force, advice)


def _calibrating(bench: _Bench, model: ModelFile, calibration: Calibration | None, cache: Path) -> Calibrating | None:
    if calibration is None:
        return None
    block = bench.session.device_block(calibration.batch * 3 * model.input_size[0] * model.input_size[1] * 4)
    driver: Any = bench.session.driver

    def upload(batch: NDArray[np.float32]) -> int:
        driver.memcpy_htod(block.address, batch)
        return block.address

    return Calibrating(Feeder(calibration, model.input_size, upload), CalibrationCache(cache))


def _describe(model: ModelFile, bench: _Bench, network: TensorRtNetwork) -> EngineInfo:
    layers = network.layers
    return EngineInfo(
        model=model.name,
        weights_sha256=model.sha256,
        runtime=f"TensorRT {bench.features.version}",
        device=bench.session.name,
        precision=layers.convolutions[0][0] if layers.convolutions else "unknown",
        labels=model.labels,
        input_size=model.input_size,
        convolutions=layers.count or model.convolutions,
        int8_convolutions=layers.int8,
        layer_precisions=layers.convolutions,
    )


def _refuse_silent_fallback(model: ModelFile, info: EngineInfo) -> None:
    if info.layer_precisions and info.int8_convolutions < _LEAST_INT8_SHARE * model.quantised_convolutions:
        raise ModelRejected(
            f"{model.name} holds {model.quantised_convolutions} quantised convolutions, of which {info.runtime} runs "
            f"only {info.int8_convolutions} in INT8 on {info.device}.",
            cure="Quantise it for TensorRT (gistline model quantise --target tensorrt), or run the fp32 model.",
        )


def _log_progress() -> Progress:
    """A line in the log for every tenth of a build."""
    told = -1

    def tell(share: float, phase: str) -> None:
        nonlocal told
        if int(share * 10) > told:
            told = int(share * 10)
            log.info("Building: %d %% (%s)", 100 * share, phase)

    return tell


def _tensorrt(settings: TensorRtSettings) -> Any:
    """TensorRT, or its lean runtime, which only loads what was built for the whole major version."""
    try:
        import tensorrt
    except (ImportError, OSError) as error:
        if settings.version_compatible:
            return _lean(error)
        raise EngineUnavailable(f"TensorRT cannot be loaded: {error}.", cure=_INSTALL) from error
    return tensorrt


def _lean(missing: BaseException) -> Any:
    try:
        return import_module("tensorrt_lean")
    except (ImportError, OSError) as error:
        raise EngineUnavailable(
            f"Neither TensorRT ({missing}) nor its lean runtime ({error}) can be loaded.", cure=_INSTALL
        ) from error


def _driver() -> Driver:
    try:
        import pycuda.driver
    except (ImportError, OSError) as error:
        raise EngineUnavailable(f"PyCUDA cannot be loaded: {error}.", cure=_INSTALL) from error
    driver: Driver = pycuda.driver
    return driver
