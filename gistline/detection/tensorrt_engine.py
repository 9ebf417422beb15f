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
from gistline.detection.gpu_pipeline import Pipeline
from gistline.detection.model_file import ModelFile
from gistline.detection.tensorrt_api import LogBook, read_features
from gistline.detection.tensorrt_calibrator import Calibration
from gistline.detection.tensorrt_order import Bench, Order
from gistline.detection.tensorrt_progress import Progress
from gistline.domain import EngineInfo
from gistline.errors import EngineUnavailable, GistlineError
from gistline.settings import DetectionSettings, TensorRtSettings

log = logging.getLogger(__name__)

_INSTALL: Final = "pip install 'gistline[gpu]'"


@dataclass(frozen=True, slots=True)
class BuiltEngine:
    """A file, what runs in it, layers that only change formats, seconds, and whether it was built just now."""

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
        bench = open_bench(settings)
        self._session = bench.session
        try:
            order = Order(bench, model, settings, calibration)
            _announce(order)
            with self._session.current():
                self._network = order.network(_log_progress())
            self._info = order.info(self._network)
            self._pipeline = Pipeline(self._session, self._network)
        except GistlineError:
            self._session.close()
            raise

    @property
    def info(self) -> EngineInfo:
        """Read from the built engine."""
        return self._info

    @property
    def in_flight(self) -> int:
        """Images in two batches."""
        return self._pipeline.in_flight

    def infer(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """``[n, height, width, 3]`` of the input's size -> raw predictions; n is at least 1."""
        return self._pipeline.infer(batch)

    def stream(self, images: Iterable[Image], min_confidence: float) -> Iterator[Candidates]:
        """Letterbox, infer and filter on the GPU; one result an image, in order."""
        return self._pipeline.stream(images, min_confidence)

    def close(self) -> None:
        """Free the engine, its buffers and the context. No call may be running."""
        if self._session.is_open:
            self._pipeline.close()
            with self._session.current():
                self._network.close()
        self._session.close()


def available() -> str | None:
    """None where TensorRT and a GPU can be used, else the reason. Touches the driver: never call it before a fork."""
    try:
        open_bench(TensorRtSettings()).session.close()
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
    bench = open_bench(settings)
    try:
        order = Order(bench, model, settings, calibration, force)
        path = order.store.path(order.key)
        if force:
            path.unlink(missing_ok=True)
        fresh = order.store.find(order.key) is None
        with bench.session.current():
            network = order.network(progress)
            info, reformats = order.info(network), network.layers.reformats
            network.close()
        return BuiltEngine(path, info, reformats, time.monotonic() - begin, fresh)
    finally:
        bench.session.close()


def open_bench(settings: TensorRtSettings) -> Bench:
    """TensorRT and the GPU of the settings.

    Raises:
        EngineUnavailable: one of them is not there, or TensorRT is older than 8.6.

    """
    trt, driver = _tensorrt(settings), _driver()
    features = read_features(trt)
    return Bench(trt, GpuSession(driver, settings.device), features, LogBook())


def _announce(order: Order) -> None:
    """Say that a start takes minutes, or refuse to let it."""
    if order.store.find(order.key) is not None:
        return
    name, key = order.model.name, order.key
    if not order.settings.build_at_start:
        raise EngineUnavailable(
            f"No engine of {name} was built for {key.gpu} and TensorRT {key.tensorrt}.",
            cure="Build it: gistline model build. Or let workers do so (detection.tensorrt.build_at_start).",
        )
    log.warning("Building an engine of %s for %s; this takes minutes.", name, key.gpu)


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
