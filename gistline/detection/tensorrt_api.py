"""What a release of TensorRT can do, read off its names, and the names that are used.

Nothing is imported: the module is handed in. Between 8.6 and 11 precision flags and calibrators went and strong typing
came; what is asked for is the name itself, since a name that is gone cannot be used whatever the version says.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gistline.detection.model_file import ModelFile
from gistline.errors import EngineUnavailable, ModelRejected

log = logging.getLogger(__name__)

OLDEST: Final = (8, 6)
_KEPT_ERRORS: Final = 8

USED: Final[Mapping[str, tuple[str, ...]]] = {
    "Builder": ("build_serialized_network", "create_builder_config", "create_network", "create_optimization_profile"),
    "IBuilderConfig": (
        "add_optimization_profile",
        "builder_optimization_level",
        "create_timing_cache",
        "get_timing_cache",
        "profiling_verbosity",
        "set_flag",
        "set_memory_pool_limit",
        "set_timing_cache",
    ),
    "INetworkDefinition": ("get_input", "num_inputs"),
    "OnnxParser": ("get_error", "num_errors", "parse"),
    "ParserError": ("desc", "node"),
    "IOptimizationProfile": ("set_shape",),
    "ITimingCache": ("serialize",),
    "ITensor": ("name", "shape"),
    "ILogger": ("Severity", "log"),
    "ILogger.Severity": ("ERROR", "INFO", "INTERNAL_ERROR", "VERBOSE", "WARNING"),
    "Runtime": ("deserialize_cuda_engine",),
    "ICudaEngine": (
        "create_engine_inspector",
        "create_execution_context",
        "get_tensor_dtype",
        "get_tensor_mode",
        "get_tensor_name",
        "num_io_tensors",
    ),
    "IExecutionContext": (
        "execute_async_v3",
        "get_tensor_shape",
        "set_input_shape",
        "set_tensor_address",
    ),
    "EngineInspector": ("execution_context", "get_engine_information"),
    "BuilderFlag": ("EXCLUDE_LEAN_RUNTIME", "VERSION_COMPATIBLE"),
    "MemoryPoolType": ("WORKSPACE",),
    "ProfilingVerbosity": ("DETAILED",),
    "LayerInformationFormat": ("JSON",),
    "TensorIOMode": ("INPUT",),
    "DataType": ("FLOAT", "HALF"),
}
"""Members of TensorRT's classes that every supported release must have; a test compares them with the real ones."""

OPTIONAL: Final[Mapping[str, tuple[str, ...]]] = {
    "BuilderFlag": ("FP16", "INT8"),
    "NetworkDefinitionCreationFlag": ("EXPLICIT_BATCH", "STRONGLY_TYPED"),
    "IBuilderConfig": ("int8_calibrator", "progress_monitor", "set_calibration_profile"),
    "IProgressMonitor": ("phase_finish", "phase_start", "step_complete"),
    "IInt8EntropyCalibrator2": ("get_batch", "get_batch_size", "read_calibration_cache", "write_calibration_cache"),
}
"""Members that only some releases have; each is asked for in :func:`read_features` before it is used."""


@dataclass(frozen=True, slots=True)
class Features:
    """What one release has.

    ``flags``: precision flags, so that an FP32 network may run in FP16 and INT8. ``strong``: types as the ONNX file
    says. ``calibrators``: it chooses INT8 scales itself. ``explicit_batch``: a network must be told that its batch is
    an axis. ``monitor``: it tells how far a build is.
    """

    version: str
    flags: bool
    strong: bool
    calibrators: bool
    explicit_batch: bool
    monitor: bool


@dataclass(frozen=True, slots=True)
class Typing:
    """How one network is built: strongly typed, or with these precision flags."""

    strong: bool
    flags: tuple[str, ...] = ()


def read_features(trt: Any) -> Features:
    """What a TensorRT module has.

    Raises:
        EngineUnavailable: it is older than 8.6.

    """
    version = str(trt.__version__)
    if release(version) < OLDEST:
        raise EngineUnavailable(
            f"TensorRT {version} is too old.", cure=f"Install {'.'.join(map(str, OLDEST))} or later."
        )
    network_flags = getattr(trt, "NetworkDefinitionCreationFlag", None)
    builder_flags = getattr(trt, "BuilderFlag", None)
    return Features(
        version=version,
        flags=hasattr(builder_flags, "INT8") and hasattr(builder_flags, "FP16"),
        strong=hasattr(network_flags, "STRONGLY_TYPED"),
        calibrators=hasattr(trt, "IInt8EntropyCalibrator2"),
        # From 10.0 on every network has an explicit batch, and the flag is only a deprecated name.
        explicit_batch=hasattr(network_flags, "EXPLICIT_BATCH") and release(version) < (10, 0),
        monitor=hasattr(trt, "IProgressMonitor"),
    )


def release(version: str) -> tuple[int, int]:
    """``"11.4.0.106"`` -> ``(11, 4)``."""
    numbers = [int(part) if part.isdigit() else 0 for part in version.split(".")[:2]]
    return numbers[0], numbers[1] if len(numbers) > 1 else 0


def choose_typing(features: Features, model: ModelFile, *, calibrated: bool) -> Typing:
    """How a model is built.

    A file whose unquantised part is typed FP16 says all that a build needs, so it is built as written where the release
    can. One typed FP32 runs that part in FP16 only where flags still allow it (21 % faster than in FP32).

    Raises:
        ModelRejected: scales are to be found by a calibrator that the release has not, or for a file that has them.

    """
    if calibrated and model.quantised_convolutions:
        raise ModelRejected(
            f"{model.name} is quantised already; a calibrator would find scales a second time.",
            cure="Build it without calibration images, or calibrate its FP32 twin.",
        )
    if calibrated and not (features.calibrators and features.flags):
        raise ModelRejected(
            f"TensorRT {features.version} has no calibrators: INT8 is what the ONNX file says.",
            cure="Quantise the model first: gistline model quantise --target tensorrt.",
        )
    if calibrated:
        return Typing(strong=False, flags=("INT8", "FP16"))
    if features.strong and (model.float16 or not features.flags):
        return Typing(strong=True)
    return Typing(strong=False, flags=("INT8", "FP16") if model.quantised_convolutions else ("FP16",))


class LogBook:
    """The last errors that TensorRT wrote, for messages of ours."""

    def __init__(self) -> None:
        self._errors: deque[str] = deque(maxlen=_KEPT_ERRORS)

    def note(self, level: int, message: str) -> None:
        """Hand a line on to Python's logging and keep it when it is an error."""
        log.log(level, "TensorRT: %s", message)
        if level >= logging.ERROR:
            self._errors.append(message.strip())

    def clear(self) -> None:
        """Forget what was written before."""
        self._errors.clear()

    @property
    def last(self) -> str:
        """The errors in one line."""
        return " | ".join(self._errors) or "TensorRT gave no reason."


def make_logger(trt: Any, book: LogBook) -> Any:
    """An ILogger that writes into a log book."""
    severity = trt.ILogger.Severity
    levels = {
        severity.INTERNAL_ERROR: logging.ERROR,
        severity.ERROR: logging.ERROR,
        severity.WARNING: logging.WARNING,
        severity.INFO: logging.DEBUG,
        severity.VERBOSE: logging.DEBUG - 1,
    }

    class Bridge(trt.ILogger):  # type: ignore[misc]
        """Called by TensorRT from any thread."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            book.note(levels.get(severity, logging.ERROR), message)

    return Bridge()
