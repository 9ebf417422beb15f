"""Labelled images to measure an engine on: boards that the simulator renders, or pictures of your own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gistline.detection.evaluation import LabelledBox
from gistline.detection.labelled import LabelledImage, box_bytes, read_coco
from gistline.errors import EngineUnproven, GistlineError, RequestRejected
from gistline.frames.decode import decode
from gistline.settings import Settings
from gistline.settings_frames import FrameSettings
from gistline.simulator.boards import DEFECTS, render_board

BOARD_SEED: Final = 77_000_000
"""Far from the seeds of training and demo, so that no engine is measured on what it learnt from."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture, uint8 ``[h, w]`` or ``[h, w, 3]``, its boxes in pixels, and a digest of where it came from."""

    image: NDArray[np.uint8]
    boxes: list[LabelledBox]
    digest: bytes


@dataclass(frozen=True, slots=True)
class TrialImages:
    """A labelled set: ``samples`` renders or reads one picture at a time, in a fixed order."""

    name: str
    samples: Callable[[], Iterator[Sample]]


@dataclass(frozen=True, slots=True)
class LabelledFiles:
    """A labelled set of your own: a COCO file, and the folder of its pictures (None: the file's own)."""

    coco: Path
    images: Path | None = None


def trial_images(labels: tuple[str, ...], settings: Settings, files: LabelledFiles | None = None) -> TrialImages:
    """The set to measure a detector of these classes on: ``files``, else the settings' own, else rendered boards.

    Raises:
        RequestRejected: the files are no labelled set of such a detector.
        EngineUnproven: there are no files, and boards show other classes than the detector knows.

    """
    chosen = settings.passport
    if files is None and chosen.labelled:
        files = LabelledFiles(Path(chosen.labelled), Path(chosen.images_dir) if chosen.images_dir else None)
    if files is not None:
        return labelled_files(files, labels, settings.frames)
    if set(labels) == set(DEFECTS):
        return rendered_boards(chosen.boards)
    raise EngineUnproven(
        f"The detector knows {', '.join(labels[:8])}{', ...' if len(labels) > 8 else ''}; rendered boards show "
        f"{', '.join(DEFECTS)}, so it cannot be measured on them.",
        cure="Measure it on your own labelled images: gistline model passport MODEL --labelled COCO.json --images DIR "
        "(or set passport.labelled).",
    )


def rendered_boards(count: int) -> TrialImages:
    """Boards of the simulator, labelled by construction; the same ones on every machine."""

    def samples() -> Iterator[Sample]:
        for number in range(count):
            board = render_board(np.random.default_rng(BOARD_SEED + number))
            yield Sample(board.image, list(board.defects), hashlib.sha256(board.image.tobytes()).digest())

    return TrialImages(f"{count} rendered boards", samples)


def labelled_files(files: LabelledFiles, labels: tuple[str, ...], limits: FrameSettings) -> TrialImages:
    """Pictures with a COCO file; each is read and decoded when its turn comes.

    Raises:
        RequestRejected: the file is no labelled set of a detector of these classes, or labels nothing.

    """
    found = read_coco(files.coco, files.images, labels)
    if not any(image.boxes for image in found):
        raise RequestRejected(f"{files.coco} labels no box, so nothing can be measured on it.")

    def samples() -> Iterator[Sample]:
        for image in found:
            content, pixels = _read(image, limits)
            yield Sample(pixels, image.boxes, hashlib.sha256(content).digest())

    return TrialImages(files.coco.name, samples)


def digest_sample(total: hashlib._Hash, sample: Sample) -> None:
    """Add a sample to a set's digest; for files it comes to what :func:`gistline.detection.labelled.digest` says."""
    total.update(sample.digest)
    total.update(box_bytes(sample.boxes))


def _read(image: LabelledImage, limits: FrameSettings) -> tuple[bytes, NDArray[np.uint8]]:
    try:
        content = image.path.read_bytes()
        return content, decode(content, limits)
    except OSError as error:
        raise RequestRejected(f"{image.path} cannot be read: {error.strerror or error}.") from error
    except GistlineError as error:
        raise RequestRejected(f"{image.path} cannot be measured on: {error.message}", cure=error.cure) from error
