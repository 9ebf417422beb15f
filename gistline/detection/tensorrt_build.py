"""From a checked ONNX file to a serialised engine. TensorRT's module is handed in."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gistline.detection.model_file import ModelFile
from gistline.detection.tensorrt_api import Features, LogBook, Typing, make_logger
from gistline.detection.tensorrt_calibrator import CalibrationCache, Feeder, make_calibrator
from gistline.detection.tensorrt_files import write_atomically
from gistline.detection.tensorrt_progress import PhaseTree, Progress, make_monitor
from gistline.errors import EngineUnavailable, ModelRejected
from gistline.settings import TensorRtSettings

log = logging.getLogger(__name__)

_MIB: Final = 2**20
_MOST_PARSER_ERRORS: Final = 5


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is built, and how; ``timing`` is the file of measured kernels."""

    model: ModelFile
    settings: TensorRtSettings
    features: Features
    typing: Typing
    timing: Path

    @property
    def batches(self) -> tuple[int, int, int]:
        """Least, usual and most images at once; a batch built into the file is all three."""
        if self.model.max_batch is not None:
            return (self.model.max_batch,) * 3
        most = self.settings.max_batch
        return 1, min(most, self.settings.opt_batch or most), most


@dataclass(frozen=True, slots=True)
class Calibrating:
    """For a build in which TensorRT itself looks for the scales."""

    feeder: Feeder
    cache: CalibrationCache


def build_plan(
    trt: Any, recipe: Recipe, book: LogBook, *, progress: Progress, calibrating: Calibrating | None = None
) -> bytes:
    """Build for the GPU whose context is current; takes minutes.

    Args:
        trt: TensorRT's module.
        recipe: what is built.
        book: gets TensorRT's errors.
        progress: told how far it is, where the release tells (10.0 and later).
        calibrating: images for the calibrator, for a recipe whose file holds no scales.

    Raises:
        ModelRejected: TensorRT does not understand the file or finds no kernels for it; with its own words.
        EngineUnavailable: the builder cannot be made on this machine.

    """
    book.clear()
    logger = make_logger(trt, book)
    try:
        builder = trt.Builder(logger)
    except (TypeError, RuntimeError) as error:
        raise EngineUnavailable(
            f"TensorRT {recipe.features.version} makes no builder here: {book.last}", cure="See 'gistline doctor'."
        ) from error
    network = builder.create_network(network_flags(trt, recipe))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(recipe.model.content):
        raise ModelRejected(_said_by(parser, recipe), cure="Quantise or export it again for TensorRT.")
    config = _configure(trt, builder, recipe)
    pixels = _only_input(network, recipe)
    if min(tuple(pixels.shape)) < 0:
        config.add_optimization_profile(_profile(builder, pixels.name, recipe, recipe.batches))
    # What the builder calls back is only borrowed by it, so it stays referenced here until the build is over.
    calibrator = _calibrate(trt, config, calibrating)
    if calibrating is not None and min(tuple(pixels.shape)) < 0:
        # The calibrator's batches have one size, whatever the engine will take.
        fed = (calibrating.feeder.batch,) * 3
        config.set_calibration_profile(_profile(builder, pixels.name, recipe, fed))
    monitor = _watch(trt, config, recipe, progress)
    timing = _read_timing(config, recipe.timing)
    plan = builder.build_serialized_network(network, config)
    del calibrator, monitor
    if plan is None:
        raise ModelRejected(
            f"TensorRT {recipe.features.version} built no engine of {recipe.model.name}: {book.last}",
            cure="Lower detection.tensorrt.max_batch or workspace_mb, or leave more layers of it in float.",
        )
    _write_timing(config, recipe.timing, timing)
    progress(1.0, "done")
    return bytes(plan)


def network_flags(trt: Any, recipe: Recipe) -> int:
    """Bits for ``create_network``."""
    kinds = trt.NetworkDefinitionCreationFlag
    bits = 0
    if recipe.features.explicit_batch:
        bits |= 1 << int(kinds.EXPLICIT_BATCH)
    if recipe.typing.strong:
        bits |= 1 << int(kinds.STRONGLY_TYPED)
    return bits


def _configure(trt: Any, builder: Any, recipe: Recipe) -> Any:
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, recipe.settings.workspace_mb * _MIB)
    config.builder_optimization_level = recipe.settings.builder_level
    # Without details the inspector cannot say which layers run in INT8.
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    for flag in recipe.typing.flags:
        config.set_flag(getattr(trt.BuilderFlag, flag))
    if recipe.settings.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        config.set_flag(trt.BuilderFlag.EXCLUDE_LEAN_RUNTIME)
    return config


def _only_input(network: Any, recipe: Recipe) -> Any:
    if network.num_inputs != 1:
        raise ModelRejected(f"{recipe.model.name} has {network.num_inputs} inputs instead of 1.")
    return network.get_input(0)


def _profile(builder: Any, name: str, recipe: Recipe, batches: tuple[int, int, int]) -> Any:
    """Least, usual and most images at once, for a network that leaves its batch open."""
    profile = builder.create_optimization_profile()
    profile.set_shape(name, *((batch, 3, *recipe.model.input_size) for batch in batches))
    return profile


def _calibrate(trt: Any, config: Any, calibrating: Calibrating | None) -> Any | None:
    if calibrating is None:
        return None
    calibrator = make_calibrator(trt, calibrating.feeder, calibrating.cache)
    config.int8_calibrator = calibrator
    return calibrator


def _watch(trt: Any, config: Any, recipe: Recipe, progress: Progress) -> Any | None:
    progress(0.0, f"TensorRT {recipe.features.version}")
    if not recipe.features.monitor:
        return None
    monitor = make_monitor(trt, PhaseTree(progress))
    config.progress_monitor = monitor
    return monitor


def _read_timing(config: Any, path: Path) -> Any:
    """Kernels that were measured before; one that TensorRT does not take is begun anew."""
    content = path.read_bytes() if path.is_file() else b""
    cache = config.create_timing_cache(content)
    if cache is None or not config.set_timing_cache(cache, False):
        log.warning("The timing cache %s is begun anew: TensorRT does not take it.", path)
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache


def _write_timing(config: Any, path: Path, begun: Any) -> None:
    cache = config.get_timing_cache() or begun
    write_atomically(path, bytes(cache.serialize()))


def _said_by(parser: Any, recipe: Recipe) -> str:
    errors = [parser.get_error(index) for index in range(min(parser.num_errors, _MOST_PARSER_ERRORS))]
    said = " | ".join(f"{error.desc()} (node {error.node()})" for error in errors) or "no reason given"
    return f"TensorRT {recipe.features.version} does not understand {recipe.model.name}: {said}."
