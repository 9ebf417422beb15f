"""Detectors by name, timed side by side on the same images: from pixels and from the bytes of files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

from gistline.detection.bench import Cell, CellResult, Stage, result, take_turns, workload
from gistline.detection.detector import Detector, open_model
from gistline.detection.model_file import BUNDLED, ModelFile, bundled_path, read_model
from gistline.domain import EngineInfo
from gistline.errors import ImageRejected, ModelRejected
from gistline.frames.decode import decode
from gistline.settings import FrameSettings, Settings
from gistline.simulator.cameras import camera_frames

MOST_IMAGES: Final = 64
_PREFIX: Final = "bundled:"


@dataclass(frozen=True, slots=True)
class BenchPlan:
    """What is timed: ``batches`` of 0 stream; ``rounds`` of ``turn_s`` seconds a cell and engine are counted."""

    stages: tuple[Stage, ...] = tuple(Stage)
    batches: tuple[int, ...] = (1, 2, 4, 8, 0)
    rounds: int = 5
    turn_s: float = 0.25

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Every stage at every batch."""
        return tuple(Cell(stage, batch) for stage in self.stages for batch in self.batches)


@dataclass(frozen=True, slots=True)
class EngineBench:
    """One engine's figures: ``name`` as it was asked for, ``in_flight`` the images that it works on at once."""

    name: str
    info: EngineInfo
    in_flight: int
    cells: list[CellResult] = field(default_factory=list)


def bench_engines(
    names: Sequence[str], images: Sequence[bytes], plan: BenchPlan, settings: Settings
) -> list[EngineBench]:
    """Time every engine in every cell of the plan; ratios are to the first.

    Args:
        names: model files, ``bundled:int8`` or ``bundled:fp32``; at least one.
        images: encoded files, at least one.
        plan: what is timed and how long.
        settings: runtime, streams and thresholds; limits of the images.

    Raises:
        ModelRejected: a name is no model, or its model does not fit.
        EngineUnavailable: a runtime cannot be loaded, or failed.
        ImageRejected: an image cannot be decoded.

    """
    models = [find_model(name) for name in names]
    with ExitStack() as opened:
        detectors = [opened.enter_context(open_model(model, settings.detection)) for model in models]
        for detector in detectors:
            detector.warm_up()
        return _measure(list(zip(names, detectors, strict=True)), images, plan, settings.frames)


def find_model(name: str) -> ModelFile:
    """The model that a user names: a file, or ``bundled:`` and a precision.

    Raises:
        ModelRejected: there is none of that name, or its file does not fit.

    """
    if name.startswith(_PREFIX):
        return read_model(bundled_path(name.removeprefix(_PREFIX)))
    if not Path(name).is_file():
        known = ", ".join(_PREFIX + precision for precision in sorted(BUNDLED))
        raise ModelRejected(f"There is no model {name!r}.", cure=f"Name an ONNX file, or one of {known}.")
    return read_model(Path(name))


def rendered_images(count: int = 32) -> list[bytes]:
    """JPEGs of simulated boards, the same every time."""
    return [frame.jpeg for frame in camera_frames(camera="bench", seed=0, count=count)]


def images_in(folder: Path, limits: FrameSettings) -> list[bytes]:
    """The first images of a folder, by name, at most :data:`MOST_IMAGES`; other files are passed over.

    Raises:
        ImageRejected: none of its files is an image.

    """
    found = list(islice(_readable(folder, limits), MOST_IMAGES))
    if not found:
        raise ImageRejected(f"{folder} holds no image.", cure="Name a folder with JPEG, PNG, BMP or WebP files.")
    return found


def _readable(folder: Path, limits: FrameSettings) -> Iterator[bytes]:
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.stat().st_size <= limits.max_bytes:
            data = path.read_bytes()
            try:
                decode(data, limits)
            except ImageRejected:
                continue
            yield data


def _measure(
    detectors: list[tuple[str, Detector]], images: Sequence[bytes], plan: BenchPlan, limits: FrameSettings
) -> list[EngineBench]:
    pixels = [decode(data, limits) for data in images]
    jobs = [(name, detector, cell) for name, detector in detectors for cell in plan.cells]

    def to_pixels(data: bytes) -> Any:
        return decode(data, limits)

    works = [
        workload(detector, cell, images if cell.stage is Stage.BYTES else pixels, to_pixels)
        for _, detector, cell in jobs
    ]
    turns = take_turns(works, rounds=plan.rounds, turn_s=plan.turn_s)
    benches = [EngineBench(name, detector.info, detector.in_flight) for name, detector in detectors]
    for index, (_, _, cell) in enumerate(jobs):
        engine, place = divmod(index, len(plan.cells))
        benches[engine].cells.append(result(cell, turns[index], turns[place]))
    return benches
