"""Detectors, timed side by side on the same images: from pixels and from the bytes of files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

from gistline.detection.bench import Cell, CellResult, Stage, result, take_turns, workload
from gistline.detection.detector import Detector, open_model
from gistline.detection.model_file import ModelFile, bundled_path, read_model
from gistline.domain import EngineInfo
from gistline.errors import ImageRejected, ImageTooLarge
from gistline.frames.decode import decode
from gistline.settings import Settings
from gistline.settings_frames import FrameSettings
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
    models: Sequence[tuple[str, ModelFile]], images: Sequence[bytes], plan: BenchPlan, settings: Settings
) -> list[EngineBench]:
    """Time every engine in every cell of the plan; ratios are to the first.

    Args:
        models: with the names that they go by in the result; at least one.
        images: encoded files, at least one.
        plan: what is timed and how long.
        settings: runtime, streams and thresholds; limits of the images.

    Raises:
        ModelRejected: a model does not compile.
        EngineUnavailable: a runtime cannot be loaded, or failed.
        ImageRejected: an image cannot be decoded.

    """
    with ExitStack() as opened:
        detectors = [(name, opened.enter_context(open_model(model, settings.detection))) for name, model in models]
        for _, detector in detectors:
            detector.warm_up()
        return _measure(detectors, images, plan, settings.frames)


def find_model(name: str, stored: Callable[[str], ModelFile]) -> ModelFile:
    """The model that a user names: ``bundled:`` and a precision, a file, or what ``stored`` finds in the registry.

    Raises:
        ModelRejected: no such precision is bundled, or the file does not fit.

    """
    if name.startswith(_PREFIX):
        return read_model(bundled_path(name.removeprefix(_PREFIX)))
    return read_model(Path(name)) if Path(name).is_file() else stored(name)


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
            except (ImageRejected, ImageTooLarge):
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
