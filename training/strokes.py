"""Lifts the defects off DeepPCB's pictures, as strokes to be planted elsewhere and to be taken away where they are.

Boards repeat themselves: most places of a picture are shown, without that defect, by another picture of ``trainval``.
Where two pictures agree around a label and differ within it, the difference is what was drawn by hand. Planted on other
artwork it teaches what defects look like; the place it was taken from, once more without it, teaches that the artwork
there is lawful.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from gistline.domain import Box
from gistline.simulator.planting import Terrain, proves

_Mask = NDArray[np.uint8]

ADDS_COPPER = ("short", "spur", "copper")
COARSE = 8  # pixels a side that are looked at as one when pictures are searched for common places
LEAST_COMMON, LEAST_ALIKE = 0.2, 0.8  # share of a picture that two show, and how far they agree there at first sight
MOST_TWINS = 8  # other pictures asked for a label
FRAME = 10  # pixels around a label in which the twins must agree
SLACK = 6  # pixels by which a coarse match may be off
LEAST_PIXELS = 12  # of a stroke
RIM = 0.012  # share of the frame's pixels that may differ in more than a ragged edge
TRIES = 40  # sites at which a stroke is tried


@dataclass(frozen=True)
class Stroke:
    """What one defect added to the copper or took from it.

    ``pixels`` bool ``[h, w]``; ``margins`` from it to its label's sides (left, above, right, below), in pixels.
    """

    label: str
    pixels: NDArray[np.bool_]
    margins: tuple[float, float, float, float]

    def draw(self, mask: _Mask, at: tuple[int, int]) -> Box | None:
        """Draw it in place with its left upper corner ``at``; the box of the label, or None where nothing changes.

        People label what they see, so the margins go around what changed, not around what lies on its own ground.
        """
        height, width = self.pixels.shape
        window = mask[at[1] : at[1] + height, at[0] : at[0] + width]
        colour = 255 if self.label in ADDS_COPPER else 0
        changed = self.pixels & (window != colour)
        if not changed.any():
            return None
        window[changed] = colour
        x, y, w, h = cv2.boundingRect(changed.astype(np.uint8))
        left, above, right, below = self.margins
        return Box(at[0] + x - left, at[1] + y - above, w + left + right, h + above + below)

    def turned(self, rng: np.random.Generator) -> Stroke:
        """One of the eight turns and flips, at times a little larger or smaller."""
        pixels, (left, above, right, below) = self.pixels, self.margins
        if rng.random() < 0.5:
            pixels, (left, above, right, below) = pixels.T, (above, left, below, right)
        if rng.random() < 0.5:
            pixels, (left, right) = pixels[:, ::-1], (right, left)
        if rng.random() < 0.5:
            pixels, (above, below) = pixels[::-1], (below, above)
        if rng.random() < 0.4:
            factor = float(rng.uniform(0.75, 1.35))
            soft = cv2.resize(pixels.astype(np.float32), None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
            pixels = _cropped(soft > 0.5) if (soft > 0.5).sum() >= LEAST_PIXELS else pixels
        return Stroke(self.label, np.ascontiguousarray(pixels), (left, above, right, below))


@dataclass(frozen=True)
class Lifted:
    """A stroke, and every pixel (bool ``[h, w]``, left upper corner ``at``) to flip to be rid of its defect."""

    stroke: Stroke
    traces: NDArray[np.bool_]
    at: tuple[int, int]

    def clear(self, mask: _Mask) -> None:
        """Take the defect off the mask that it was found on, in place."""
        mask[self._place()][self.traces] = 0 if self.stroke.label in ADDS_COPPER else 255

    def clean(self, image: NDArray[np.uint8], mask: _Mask) -> None:
        """Show the place as ``mask`` has it in a grey picture, in place, rid of what JPEG left of the defect."""
        image[self._place()] = 255 - mask[self._place()]

    def _place(self) -> tuple[slice, slice]:
        height, width = self.traces.shape
        return slice(self.at[1], self.at[1] + height), slice(self.at[0], self.at[0] + width)


def _cropped(pixels: NDArray[np.bool_]) -> NDArray[np.bool_]:
    x, y, w, h = cv2.boundingRect(pixels.astype(np.uint8))
    return pixels[y : y + h, x : x + w]


# --- finding them -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Twin:
    """Picture ``number`` shows at (x - dx, y - dy) what this one shows at (x, y)."""

    number: int
    dx: int
    dy: int


def lift_all(masks: Sequence[_Mask], labels: Sequence[Sequence[tuple[str, Box]]]) -> list[list[Lifted | None]]:
    """For every picture and each of its labels, what was drawn, or None where no other picture shows the place.

    ``masks`` are copper masks, uint8 ``[640, 640]``, 255 copper.
    """
    spectra = [_spectrum(mask) for mask in masks]
    with ProcessPoolExecutor(initializer=_share, initargs=(masks, labels, spectra)) as pool:
        return list(pool.map(_lift_from, range(len(masks)), chunksize=4))


_masks: Sequence[_Mask] = ()
_labels: Sequence[Sequence[tuple[str, Box]]] = ()
_spectra: Sequence[NDArray[np.complex64]] = ()


def _share(
    masks: Sequence[_Mask], labels: Sequence[Sequence[tuple[str, Box]]], spectra: Sequence[NDArray[np.complex64]]
) -> None:
    global _masks, _labels, _spectra
    _masks, _labels, _spectra = masks, labels, spectra


def _spectrum(mask: _Mask) -> NDArray[np.complex64]:
    """Of the coarse picture, -1 bare to 1 copper, with as much emptiness beside it as it may be moved by."""
    side = mask.shape[0] // COARSE
    coarse = cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32) / 127.5 - 1
    return np.fft.rfft2(coarse, (2 * side, 2 * side)).astype(np.complex64)


def _twins(number: int) -> list[_Twin]:
    """Pictures that show a place of picture ``number`` too, the most alike first; offsets within ``SLACK``."""
    side = _masks[number].shape[0] // COARSE
    ones = np.fft.rfft2(np.ones((side, side)), (2 * side, 2 * side))
    common = np.maximum(np.fft.irfft2(ones * ones.conj(), (2 * side, 2 * side)), 1)
    found = []
    for other, spectrum in enumerate(_spectra):
        if other == number:
            continue
        alike = np.fft.irfft2(_spectra[number] * spectrum.conj(), (2 * side, 2 * side)) / common
        alike[common < LEAST_COMMON * side**2] = -1
        best = int(alike.argmax())
        dy, dx = (value - 2 * side if value >= side else value for value in divmod(best, 2 * side))
        if alike.flat[best] >= LEAST_ALIKE:
            found.append((float(alike.flat[best]), _Twin(other, dx * COARSE, dy * COARSE)))
    found.sort(key=lambda pair: -pair[0])
    return [twin for _, twin in found[: 3 * MOST_TWINS]]


def _lift_from(number: int) -> list[Lifted | None]:
    twins = _twins(number)
    return [_lift(number, label, box, twins) for label, box in _labels[number]]


def _lift(number: int, label: str, box: Box, twins: list[_Twin]) -> Lifted | None:
    mask = _masks[number]
    x0, y0 = int(box.x) - FRAME, int(box.y) - FRAME
    x1, y1 = int(box.x + box.w) + FRAME + 1, int(box.y + box.h) + FRAME + 1
    if x0 < 0 or y0 < 0 or x1 > mask.shape[1] or y1 > mask.shape[0]:
        return None
    here = mask[y0:y1, x0:x1]
    others = [patch for twin in twins if (patch := _patch(here, (x0, y0), twin)) is not None][:MOST_TWINS]
    if not others:
        return None
    flawless = np.where(np.mean(np.stack(others), 0) > 127, np.uint8(255), np.uint8(0))
    added = (here > flawless) if label in ADDS_COPPER else (here < flawless)
    added[:FRAME] = added[-FRAME:] = added[:, :FRAME] = added[:, -FRAME:] = False
    pixels = _without_edges(added)
    if pixels.sum() < LEAST_PIXELS or not proves(label, flawless, _changed(flawless, pixels, label)):
        return None
    x, y, w, h = cv2.boundingRect(pixels.astype(np.uint8))
    margins = (x0 + x - box.x, y0 + y - box.y, box.x + box.w - (x0 + x + w), box.y + box.h - (y0 + y + h))
    return Lifted(Stroke(label, pixels[y : y + h, x : x + w], margins), added, (x0, y0))


def _changed(mask: _Mask, pixels: NDArray[np.bool_], label: str) -> _Mask:
    return np.where(pixels, np.uint8(255 if label in ADDS_COPPER else 0), mask)


def _patch(here: _Mask, corner: tuple[int, int], twin: _Twin) -> _Mask | None:
    """What the twin shows of a place, moved so that the frames agree best; None where it cannot serve."""
    height, width = here.shape
    mask = _masks[twin.number]
    left, top = corner[0] - twin.dx - SLACK, corner[1] - twin.dy - SLACK
    wide = mask[max(0, top) : top + height + 2 * SLACK, max(0, left) : left + width + 2 * SLACK]
    if top < 0 or left < 0 or wide.shape != (height + 2 * SLACK, width + 2 * SLACK):
        return None
    if any(_meet(box, left, top, wide.shape) for _, box in _labels[twin.number]):
        return None
    frame = np.ones_like(here)
    frame[FRAME:-FRAME, FRAME:-FRAME] = 0
    score = cv2.matchTemplate(wide, here, cv2.TM_SQDIFF, mask=frame)
    y, x = divmod(int(score.argmin()), score.shape[1])
    patch = wide[y : y + height, x : x + width]
    apart = _without_edges((patch != here) & (frame > 0))
    return patch if apart.sum() <= RIM * frame.sum() else None


def _meet(box: Box, left: float, top: float, shape: tuple[float, ...]) -> bool:
    return box.x < left + shape[1] and left < box.x + box.w and box.y < top + shape[0] and top < box.y + box.h


def _without_edges(pixels: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Leave out what is a single pixel wide: two scans of one edge differ by as much."""
    sure = cv2.morphologyEx(pixels.astype(np.uint8), cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(sure, connectivity=8)
    kept = [piece for piece in range(1, count) if stats[piece, cv2.CC_STAT_AREA] >= LEAST_PIXELS // 2]
    core = np.isin(pieces, kept).astype(np.uint8)
    return (cv2.dilate(core, np.ones((3, 3), np.uint8)) > 0) & pixels


# --- planting them ------------------------------------------------------------------------------------------------


def plant_stroke(
    rng: np.random.Generator, terrain: Terrain, mask: _Mask, strokes: Sequence[Stroke], taken: Sequence[Box]
) -> tuple[str, Box] | None:
    """Draw one of ``strokes`` (all of one class), turned at random, where it is what its class says; None if nowhere.

    ``mask`` changes in place; ``terrain`` may be of the mask before other defects were planted.
    """
    for _ in range(3):
        stroke = strokes[int(rng.integers(len(strokes)))].turned(rng)
        sites = _sites(terrain, stroke)
        for _ in range(TRIES // 3 if len(sites) else 0):
            y, x = divmod(int(sites[int(rng.integers(len(sites)))]), mask.shape[1])
            box = _try(mask, stroke, (x, y), taken)
            if box is not None:
                return stroke.label, box
    return None


def _sites(terrain: Terrain, stroke: Stroke) -> NDArray[np.intp]:
    """Flat indices of pixels on which the middle of a stroke may lie."""
    field = terrain.to_copper if stroke.label in ADDS_COPPER else terrain.to_bare
    height, width = stroke.pixels.shape
    if stroke.label in ("copper", "pin-hole"):
        return np.flatnonzero(field > min(height, width) / 2)
    if stroke.label in ("spur", "mousebite"):
        return np.flatnonzero((field > 0) & (field <= max(2.0, max(height, width) / 2)))
    crest = cv2.dilate(field, np.ones((3, 3), np.uint8))
    return np.flatnonzero((field >= 2) & (field <= max(height, width) / 2) & (field >= crest))


def _try(mask: _Mask, stroke: Stroke, middle: tuple[int, int], taken: Sequence[Box]) -> Box | None:
    height, width = stroke.pixels.shape
    x, y = middle[0] - width // 2, middle[1] - height // 2
    if x < FRAME or y < FRAME or x + width + FRAME > mask.shape[1] or y + height + FRAME > mask.shape[0]:
        return None
    window = mask[y - FRAME : y + height + FRAME, x - FRAME : x + width + FRAME]
    after = window.copy()
    within = stroke.draw(after, (FRAME, FRAME))
    if within is None:
        return None
    box = Box(within.x + x - FRAME, within.y + y - FRAME, within.w, within.h)
    if box.x < 0 or box.y < 0 or box.x + box.w > mask.shape[1] or box.y + box.h > mask.shape[0]:
        return None
    if any(_meet(box, other.x, other.y, (other.h, other.w)) for other in taken):
        return None
    changed = int(np.count_nonzero(window != after))
    if changed < max(LEAST_PIXELS, stroke.pixels.sum() // 3) or not proves(stroke.label, window, after):
        return None
    window[:] = after
    return box


def by_class(lifted: Sequence[Sequence[Lifted | None]]) -> dict[str, list[Stroke]]:
    """All strokes, by the class of their defect; no class without any."""
    found: dict[str, list[Stroke]] = {}
    for one in (one for row in lifted for one in row if one is not None):
        found.setdefault(one.stroke.label, []).append(one.stroke)
    return found
