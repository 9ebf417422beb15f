"""FP32 detector and a folder of images -> INT8 detector, with what was measured on the way."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gistline.detection.calibration import LEAST_IMAGES, MOST_IMAGES, CalibrationCheck
from gistline.detection.quantise import QuantisationResult, Recipe, collect_ranges, float_model, write_quantised
from gistline.detection.ranges import RangeTable
from gistline.detection.sensitivity import Progress
from gistline.errors import GistlineError, RequestRejected
from gistline.findings.drift import describe_images
from gistline.flows.image_files import image_files, read_pixels
from gistline.flows.search_precision import Choice, Goal, search_precision
from gistline.frames.looks import look
from gistline.settings import Settings
from gistline.settings_frames import FrameSettings


@dataclass(frozen=True, slots=True)
class Order:
    """What is wished: the recipe, the most calibration images taken of the folder, and a bound on the loss or None."""

    recipe: Recipe
    most_images: int = MOST_IMAGES
    goal: Goal | None = None


@dataclass(frozen=True, slots=True)
class Quantised:
    """``result`` is None when no model keeps within the goal's bound: nothing was written then.

    ``remarks`` are about the calibration images; ``unreadable`` are files that were left out, and why.
    """

    result: QuantisationResult | None
    images: int
    remarks: list[str]
    unreadable: list[tuple[Path, GistlineError]]
    seconds: float
    choice: Choice | None = None


@dataclass(slots=True)
class _Folder:
    """Decodes the chosen files one by one and remembers what could not be."""

    paths: Sequence[Path]
    limits: FrameSettings
    progress: Progress
    unreadable: list[tuple[Path, GistlineError]] = field(default_factory=list)
    looks: dict[str, list[float]] = field(default_factory=dict)

    def images(self) -> Iterator[NDArray[np.uint8]]:
        for number, path in enumerate(self.paths, 1):
            pixels = read_pixels(path, self.limits)
            if isinstance(pixels, GistlineError):
                self.unreadable.append((path, pixels))
                continue
            self.progress(f"calibration image {number} of {len(self.paths)}")
            for name, value in look(pixels).items():
                self.looks.setdefault(name, []).append(value)
            yield pixels


def quantise_model(
    model: Path, calibration: Path, *, out: Path, order: Order, settings: Settings, progress: Progress = lambda _: None
) -> Quantised:
    """Calibrate on a folder's images and write the INT8 model, after a search where a bound was set.

    Args:
        model: FP32 ONNX detector.
        calibration: folder of what the cameras show; evenly spread files are taken of many.
        out: file to write.
        order: how.
        settings: limits of what may be decoded, and the detector's.
        progress: told what is being done.

    Raises:
        ModelRejected: the model is no float detector, or a pattern names none of its convolutions.
        RequestRejected: fewer readable images than say anything, or no labelled set to search on.

    """
    begun = time.perf_counter()
    float_model(model)
    _check_out(out, model)
    paths = image_files(calibration)
    places = np.unique(np.linspace(0, len(paths) - 1, order.most_images).astype(int))
    folder = _Folder([paths[place] for place in places], settings.frames, progress)
    check = CalibrationCheck()
    table = _ranges(model, folder, check)
    table.looks = json.dumps(describe_images(folder.looks))  # what drift of the cameras will be held against
    choice = None
    if order.goal is not None:
        choice = search_precision(
            model, table, recipe=order.recipe, goal=order.goal, settings=settings, progress=progress
        )
    result = _write(model, table, out, order=order, choice=choice)
    return Quantised(result, table.images, check.remarks(), folder.unreadable, time.perf_counter() - begun, choice)


def _check_out(out: Path, model: Path) -> None:
    if out.resolve() == model.resolve():
        raise RequestRejected(f"{out} is the model itself.", cure="Name another file (--out).")
    if not out.parent.is_dir():
        raise RequestRejected(f"The folder {out.parent} does not exist.", cure="Make it, or name another (--out).")


def _ranges(model: Path, folder: _Folder, check: CalibrationCheck) -> RangeTable:
    _refuse_few(len(folder.paths), folder)
    table = collect_ranges(model, _never_empty(folder), look=check)
    _refuse_few(table.images, folder)
    return table


def _never_empty(folder: _Folder) -> Iterator[NDArray[np.uint8]]:
    """The images; says that there is none before the quantiser would, since it knows why."""
    none = True
    for image in folder.images():
        none = False
        yield image
    if none:
        _refuse_few(0, folder)


def _refuse_few(images: int, folder: _Folder) -> None:
    if images >= LEAST_IMAGES:
        return
    spoilt = ""
    if folder.unreadable:
        path, error = folder.unreadable[0]
        spoilt = f" {len(folder.unreadable)} could not be read, the first is {path.name}: {error.message}"
    raise RequestRejected(
        f"{images} calibration images are too few to say what the cameras show; at least {LEAST_IMAGES}.{spoilt}",
        cure="Take 100 to 500 frames over a whole shift, good parts and bad ones.",
    )


def _write(
    model: Path, table: RangeTable, out: Path, *, order: Order, choice: Choice | None
) -> QuantisationResult | None:
    recipe = order.recipe
    if choice is not None:
        if choice.chosen is None:
            return None
        kept = tuple(sorted(choice.chosen.convolutions))
        recipe = replace(recipe, spare=replace(recipe.spare, tensors=recipe.spare.tensors + kept))
    return write_quantised(model, table, out=out, recipe=recipe)
