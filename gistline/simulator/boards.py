"""Circuit boards with planted, labelled defects: for the demo, for load tests, and to train and calibrate on.

The six classes and their order are DeepPCB's (Tang, He, Huang, Yang, 2019); what each means is in
``gistline.simulator.planting``. Everything follows from the generator: equal seeds give equal boards.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from gistline.domain import Box
from gistline.errors import ImageRejected, RequestRejected
from gistline.simulator.artwork import draw_artwork
from gistline.simulator.looks import BoardStyle, draw_style, photograph
from gistline.simulator.planting import Terrain, plant

__all__ = ["DEFECTS", "Board", "BoardStyle", "encode_jpeg", "render_board"]

DEFECTS: tuple[str, ...] = ("open", "short", "mousebite", "spur", "copper", "pin-hole")
CLEAN_SHARE = 0.35
MOST_DEFECTS = 12
SMALLEST_SIDE = 160


@dataclass(frozen=True, slots=True)
class Board:
    """A rendered board: ``image`` is ``uint8`` grey ``[h, w]``; ``defects`` are (class, box in pixels)."""

    image: NDArray[np.uint8]
    defects: tuple[tuple[str, Box], ...]


def render_board(
    rng: np.random.Generator,
    *,
    size: tuple[int, int] = (640, 640),
    defects: int | None = None,
    style: BoardStyle | None = None,
) -> Board:
    """Render one board of ``size`` (height, width) in pixels.

    ``defects`` asks for that many; without it about a third of the boards have none and the others 1 to 12. Fewer are
    planted where the artwork has no room for more; ``Board.defects`` names those that are there. ``style`` fixes the
    appearance, which is drawn otherwise. Artwork, defects and appearance have generators of their own, so the same
    seed with ``defects=0`` gives the flawless twin, equal outside of the defects' boxes.

    Raises RequestRejected for a size below 160 pixels a side or a count outside 0 to 12.
    """
    _check(size, defects)
    for_artwork, for_defects, for_look = rng.spawn(3)
    mask = draw_artwork(for_artwork, size)
    wanted = _draw_count(for_defects) if defects is None else defects
    planted = _plant_all(for_defects, mask, wanted)
    chosen = draw_style(for_look)
    return Board(image=photograph(for_look, mask, style or chosen), defects=planted)


def encode_jpeg(image: NDArray[np.uint8], *, quality: int = 90) -> bytes:
    """Encode a grey ``uint8`` ``[h, w]`` image as JPEG; ``quality`` 1 to 100. Raises ImageRejected on failure."""
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        message = f"OpenCV did not encode an image of shape {image.shape} and type {image.dtype} as JPEG."
        raise ImageRejected(message, cure="Give a non-empty uint8 image of shape [height, width].")
    return data.tobytes()


def _check(size: tuple[int, int], defects: int | None) -> None:
    if min(size) < SMALLEST_SIDE:
        message = f"A board of {size[0]} x {size[1]} pixels is too small to hold its traces."
        raise RequestRejected(message, cure=f"Ask for at least {SMALLEST_SIDE} pixels a side.")
    if defects is not None and not 0 <= defects <= MOST_DEFECTS:
        message = f"{defects} defects cannot be planted on one board."
        raise RequestRejected(message, cure=f"Ask for 0 to {MOST_DEFECTS}, or None for a draw.")


def _draw_count(rng: np.random.Generator) -> int:
    return 0 if rng.random() < CLEAN_SHARE else int(np.clip(rng.normal(6.0, 2.5), 1, MOST_DEFECTS))


def _plant_all(rng: np.random.Generator, mask: NDArray[np.uint8], wanted: int) -> tuple[tuple[str, Box], ...]:
    """Plant up to ``wanted`` defects of random classes; a class that finds no site yields to another draw."""
    if wanted == 0:
        return ()
    terrain = Terrain.of(mask.copy())
    planted: list[tuple[str, Box]] = []
    for _ in range(2 * wanted):
        label = DEFECTS[int(rng.integers(len(DEFECTS)))]
        box = plant(rng, terrain, mask=mask, label=label, taken=[taken for _, taken in planted])
        if box is not None:
            planted.append((label, box))
        if len(planted) == wanted:
            break
    return tuple(planted)
