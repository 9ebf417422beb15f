"""Plants one defect into a copper mask and proves that it is what its label says.

A defect class is a statement about connectedness, so a candidate is judged by counting the connected pieces of copper
and of bare board in its neighbourhood before and after:

=========  ========  ======================  =====================
class      copper    pieces of copper        pieces of bare board
=========  ========  ======================  =====================
open       removed   more                    any
short      added     fewer                   any
mousebite  removed   as many                 as many
spur       added     as many                 as many
copper     added     one more                as many
pin-hole   removed   as many                 one more
=========  ========  ======================  =====================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from gistline.domain import Box

_WINDOW = 72  # pixels each way in which a candidate is drawn and judged
_LONGEST = 56.0  # pixels; a longer cut or bridge would leave the window
_CONTEXT = 12  # pixels around the change whose connectedness is compared
_SMALLEST_CHANGE = 14  # pixels; below it nobody would see the defect

_Mask = NDArray[np.uint8]
_Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Terrain:
    """What site choice needs to know of a flawless mask; distances in pixels, both ``float32`` ``[h, w]``.

    ``to_bare`` is 0 off the copper and ``to_copper`` 0 on it.
    """

    mask: NDArray[np.uint8]
    to_bare: NDArray[np.float32]
    to_copper: NDArray[np.float32]

    @classmethod
    def of(cls, mask: NDArray[np.uint8]) -> Terrain:
        """Measure ``mask`` (``uint8`` ``[h, w]``, 0 or 255)."""
        inside = cv2.distanceTransform(mask, cv2.DIST_L2, 5).astype(np.float32)
        outside = cv2.distanceTransform(255 - mask, cv2.DIST_L2, 5).astype(np.float32)
        return cls(mask=mask, to_bare=inside, to_copper=outside)


@dataclass(frozen=True, slots=True)
class _Sketch:
    """A candidate: the strokes as a mask of the window, and whether they add copper."""

    strokes: NDArray[np.uint8]
    adds: bool


def plant(
    rng: np.random.Generator, terrain: Terrain, *, mask: NDArray[np.uint8], label: str, taken: list[Box]
) -> Box | None:
    """Draw one defect of class ``label`` into ``mask`` in place and return its box in pixels.

    ``taken`` holds the boxes of the defects planted before; none is touched. Returns None, and leaves ``mask`` as it
    was, when no fitting site turned up in a dozen tries (a board without traces has nowhere for an open).
    """
    sites = _SITES[label](terrain)
    for _ in range(12 if len(sites) else 0):
        y, x = divmod(int(sites[int(rng.integers(len(sites)))]), mask.shape[1])
        box = _try_site(rng, terrain, mask=mask, label=label, at=(x, y), taken=taken)
        if box is not None:
            return box
    return None


def _try_site(
    rng: np.random.Generator,
    terrain: Terrain,
    *,
    mask: NDArray[np.uint8],
    label: str,
    at: tuple[int, int],
    taken: list[Box],
) -> Box | None:
    top, left = max(0, at[1] - _WINDOW), max(0, at[0] - _WINDOW)
    window = mask[top : at[1] + _WINDOW, left : at[0] + _WINDOW]
    sketch = _sketch(rng, terrain, label=label, at=at, shape=window.shape, origin=(left, top))
    after: _Mask = window | sketch.strokes if sketch.adds else window & ~sketch.strokes
    changed = cv2.findNonZero(window ^ after)
    if changed is None or len(changed) < _SMALLEST_CHANGE:
        return None
    x, y, w, h = cv2.boundingRect(changed)
    box = _with_margin(rng, (left + x, top + y, w, h), mask.shape)
    rows = slice(max(0, y - _CONTEXT), y + h + _CONTEXT)
    columns = slice(max(0, x - _CONTEXT), x + w + _CONTEXT)
    if box is None or _touches(box, taken) or not proves(label, window[rows, columns], after[rows, columns]):
        return None
    window[:] = after
    return box


def _with_margin(rng: np.random.Generator, change: tuple[int, int, int, int], shape: tuple[int, ...]) -> Box | None:
    """Widen a change to a label as people draw it: about ten pixels around; None where that leaves the image."""
    margin = rng.integers(8, 13, 4)
    x, y, w, h = change
    x0, y0 = x - int(margin[0]), y - int(margin[1])
    x1, y1 = x + w + int(margin[2]), y + h + int(margin[3])
    if x0 < 0 or y0 < 0 or x1 > shape[1] or y1 > shape[0]:
        return None
    return Box(float(x0), float(y0), float(x1 - x0), float(y1 - y0))


def _touches(box: Box, taken: list[Box]) -> bool:
    return any(
        box.x < other.x + other.w and other.x < box.x + box.w and box.y < other.y + other.h and other.y < box.y + box.h
        for other in taken
    )


def proves(label: str, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> bool:
    """Whether the change in connectedness is the one that defines ``label``."""
    copper = _pieces(after) - _pieces(before)
    bare = _pieces(255 - after) - _pieces(255 - before)
    return _PROOFS[label](copper, bare)


def _pieces(mask: NDArray[np.uint8]) -> int:
    return int(cv2.connectedComponents(mask, connectivity=8)[0])


_PROOFS: dict[str, Callable[[int, int], bool]] = {
    "open": lambda copper, bare: copper > 0,
    "short": lambda copper, bare: copper < 0,
    "mousebite": lambda copper, bare: copper == 0 and bare == 0,
    "spur": lambda copper, bare: copper == 0 and bare == 0,
    "copper": lambda copper, bare: copper == 1 and bare == 0,
    "pin-hole": lambda copper, bare: copper == 0 and bare == 1,
}


# --- where: flat indices of the pixels at which a class can start -------------------------------------------------


def _ridge(distance: NDArray[np.float32], low: float, high: float) -> NDArray[np.intp]:
    """Pixels on the middle line of what is ``2 * low`` to ``2 * high`` pixels wide."""
    crest = cv2.dilate(distance, np.ones((3, 3), np.uint8))
    return np.flatnonzero((distance >= low) & (distance <= high) & (distance >= crest))


def _shore(distance: NDArray[np.float32]) -> NDArray[np.intp]:
    """Pixels just beyond the edge of the copper, on the side where ``distance`` is positive."""
    return np.flatnonzero((distance > 0) & (distance < 1.5))


def _deep(distance: NDArray[np.float32], low: float) -> NDArray[np.intp]:
    return np.flatnonzero(distance >= low)


_SITES: dict[str, Callable[[Terrain], NDArray[np.intp]]] = {
    "open": lambda terrain: _ridge(terrain.to_bare, 2.5, _LONGEST / 2),
    "short": lambda terrain: _ridge(terrain.to_copper, 4.0, _LONGEST / 2),
    "mousebite": lambda terrain: _shore(terrain.to_bare),
    "spur": lambda terrain: _shore(terrain.to_copper),
    "copper": lambda terrain: _deep(terrain.to_copper, 10.0),
    "pin-hole": lambda terrain: _deep(terrain.to_bare, 7.0),
}


# --- what: the strokes --------------------------------------------------------------------------------------------


def _sketch(
    rng: np.random.Generator,
    terrain: Terrain,
    *,
    label: str,
    at: tuple[int, int],
    shape: tuple[int, ...],
    origin: tuple[int, int],
) -> _Sketch:
    adds = label in ("short", "spur", "copper")
    field = terrain.to_copper if adds else terrain.to_bare
    room = float(field[at[1], at[0]])
    centre = (float(at[0] - origin[0]), float(at[1] - origin[1]))
    strokes = np.zeros(shape, np.uint8)
    if label in ("open", "short"):
        _cross(rng, strokes, centre, _slope(field, at), room)
    elif label in ("mousebite", "spur"):
        _bite(rng, strokes, centre, _slope(field, at))
    else:
        _blob(rng, strokes, centre, min(room - 3.0, float(rng.uniform(4.0, 10.0))))
    return _Sketch(strokes=strokes, adds=adds)


def _slope(field: NDArray[np.float32], at: tuple[int, int]) -> _Point:
    """Unit vector up the distance field near ``at``: away from the nearest edge."""
    x, y = at
    patch = field[max(0, y - 3) : y + 4, max(0, x - 3) : x + 4]
    down, right = _derivative(patch, 0), _derivative(patch, 1)
    centre_y, centre_x = min(y, 3), min(x, 3)
    gx, gy = float(right[centre_y, centre_x]), float(down[centre_y, centre_x])
    if abs(gx) + abs(gy) < 0.2:  # on a ridge the slopes cancel: take the side with the stronger fall
        gx, gy = float(np.abs(right).mean()), float(np.abs(down).mean()) * _handedness(right, down)
    norm = float(np.hypot(gx, gy)) or 1.0
    return gx / norm, gy / norm


def _derivative(patch: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    return np.asarray(np.gradient(patch, axis=axis), np.float32)


def _handedness(right: NDArray[np.float32], down: NDArray[np.float32]) -> float:
    return 1.0 if float((right * down).sum()) >= 0 else -1.0


def _cross(rng: np.random.Generator, strokes: _Mask, centre: _Point, across: _Point, room: float) -> None:
    """A stroke through ``centre`` that reaches past both edges, straight or bent, at times ragged or doubled."""
    reach = room + float(rng.uniform(3.0, 6.0))
    bend = rng.normal(0.0, 0.18 * room + 1.0, 2)
    along = (-across[1], across[0])
    steps = np.linspace(-1.0, 1.0, 7)
    sway = bend[0] * steps + bend[1] * (1.0 - steps**2)
    line = np.stack([centre[i] + steps * reach * across[i] + sway * along[i] for i in (0, 1)], axis=1)
    width = int(rng.integers(4, 15)) if room < 12 else int(rng.integers(4, 9))
    cv2.polylines(strokes, [np.rint(line).astype(np.int32)], False, 255, width)
    if rng.random() < 0.25:
        _fray(rng, strokes)


def _bite(rng: np.random.Generator, strokes: _Mask, edge: _Point, inward: _Point) -> None:
    """A stroke or a lobe from just outside ``edge`` a few pixels in, leaning to either side."""
    depth, lean = float(rng.uniform(5.0, 16.0)), float(rng.normal(0.0, 0.5))
    heading = (inward[0] - lean * inward[1], inward[1] + lean * inward[0])
    start = (edge[0] - 2.0 * inward[0], edge[1] - 2.0 * inward[1])
    middle = (edge[0] + depth * 0.5 * heading[0], edge[1] + depth * 0.5 * heading[1])
    bend = rng.normal(0.0, 2.0, 2)
    end = (edge[0] + depth * heading[0] + float(bend[0]), edge[1] + depth * heading[1] + float(bend[1]))
    cv2.polylines(strokes, [np.rint([start, middle, end]).astype(np.int32)], False, 255, int(rng.integers(4, 11)))
    if rng.random() < 0.2:
        _fray(rng, strokes)


def _blob(rng: np.random.Generator, strokes: _Mask, centre: _Point, radius: float) -> None:
    """An island: a lump, a hook or a short stroke around ``centre``."""
    kind = rng.random()
    if kind < 0.4:
        axes = (max(2, round(radius * 0.6)), max(2, round(radius * float(rng.uniform(0.3, 0.7)))))
        cv2.ellipse(strokes, _pixel(centre), axes, float(rng.uniform(0, 180)), 0, 360, 255, -1)
    count = 3 if kind < 0.4 else 4
    hops = rng.normal(0.0, max(1.0, radius * 0.5), (count, 2))
    path = np.rint(np.clip(hops, -radius, radius) + np.array(centre)).astype(np.int32)
    cv2.polylines(strokes, [path], False, 255, int(rng.integers(3, 7)))


def _fray(rng: np.random.Generator, strokes: _Mask) -> None:
    """Leave crumbs: unset a part of the strokes' pixels, coarse as an etching fault is."""
    crumbs = rng.random((strokes.shape[0] // 2 + 1, strokes.shape[1] // 2 + 1)) < 0.12
    coarse = crumbs.repeat(2, axis=0).repeat(2, axis=1)[: strokes.shape[0], : strokes.shape[1]]
    strokes[coarse] = 0


def _pixel(point: _Point) -> tuple[int, int]:
    return round(point[0]), round(point[1])
