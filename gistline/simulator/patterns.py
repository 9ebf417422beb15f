"""Pieces of artwork that real boards have and that resemble defects: dots, lettering, spokes, meanders, slots.

Each clears a place of its own on a copper mask (``uint8`` ``[h, w]``, 255 copper) before it draws, so that it neither
touches nor cuts what was there by accident. A detector that saw none of these would call them defects.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

COPPER = 255
BARE = 0
_CLEARANCE = 16


class Place(NamedTuple):
    """A rectangle of a mask, in pixels."""

    x: int
    y: int
    w: int
    h: int


def decorate(rng: np.random.Generator, mask: NDArray[np.uint8], count: int) -> None:
    """Draw ``count`` patterns at random places of ``mask``, in place."""
    height, width = mask.shape
    for _ in range(count):
        w, h = int(rng.integers(70, max(71, width // 2))), int(rng.integers(70, max(71, height // 2)))
        place = Place(int(rng.integers(0, width - w)), int(rng.integers(0, height - h)), w, h)
        pattern = _PATTERNS[int(rng.integers(len(_PATTERNS)))]
        background = COPPER if pattern in _WITHIN_COPPER else BARE
        edge = _CLEARANCE if background == BARE else 2 * _CLEARANCE
        corner = (place.x + w + edge, place.y + h + edge)
        cv2.rectangle(mask, (place.x - edge, place.y - edge), corner, BARE, -1)
        cv2.rectangle(mask, (place.x, place.y), (place.x + w, place.y + h), background, -1)
        pattern(rng, mask, place)


def _grid(rng: np.random.Generator, place: Place, pitch: int) -> list[tuple[int, int]]:
    """Centres on a square grid within ``place``, a few of them left out."""
    spots = [
        (x, y)
        for y in range(place.y + pitch // 2, place.y + place.h, pitch)
        for x in range(place.x + pitch // 2, place.x + place.w, pitch)
    ]
    return [spot for spot in spots if rng.random() < 0.92]


def _dots(rng: np.random.Generator, mask: NDArray[np.uint8], place: Place) -> None:
    """Small round lands, as of a ball grid."""
    radius = int(rng.integers(7, 15))
    for spot in _grid(rng, place, int(rng.integers(2 * radius + 12, 2 * radius + 50))):
        cv2.circle(mask, spot, radius, COPPER, -1)


def _holes(rng: np.random.Generator, mask: NDArray[np.uint8], place: Place) -> None:
    """Small round holes through a copper area, regular where pin-holes are not."""
    radius = int(rng.integers(7, 13))
    for spot in _grid(rng, place, int(rng.integers(2 * radius + 16, 2 * radius + 80))):
        cv2.circle(mask, spot, radius, BARE, -1)


def _vias(rng: np.random.Generator, mask: NDArray[np.uint8], place: Place) -> None:
    """Drilled lands with a narrow hole; in some sets the drill is off and breaks the ring."""
    radius = int(rng.integers(16, 30))
    hole = int(radius * rng.uniform(0.35, 0.75))
    shift = rng.integers(-radius // 3, radius // 3 + 1, 2) if rng.random() < 0.3 else np.zeros(2, int)
    for x, y in _grid(rng, place, 2 * radius + int(rng.integers(14, 40))):
        cv2.circle(mask, (x, y), radius, COPPER, -1)
        cv2.circle(mask, (x + int(shift[0]), y + int(shift[1])), max(7, hole), BARE, -1)


def _lettering(rng: np.random.Generator, mask: NDArray[np.uint8], place: Place) -> None:
    """Part numbers etched in copper."""
    text = "".join(rng.choice(list("ABCDEFHKLMNPRTUXYZ0123456789-"), int(rng.integers(2, 7))))
    scale = float(rng.uniform(0.9, 2.4))
    thickness = int(rng.integers(4, 9))
    cv2.putText(mask, text, (place.x, place.y + int(32 * scale)), _FONT, scale, COPPER, thickness)


def _lettering_cut(rng: np.random.Generator, mask: NDArray[np.uint8], place: Place) -> None:
    """Part numbers left open in a copper area."""
    text = "".join(rng.choice(list("ABCDEFHKLMNPRTUXYZ0123456789"), int(rng.integers(1, 5))))
    scale = float(rng.uniform(0.9, 2.0))
    at = (place.x + 14, place.y + 14 + int(24 * scale))
    cv2.putText(mask, text, at, _FONT, scale, BARE, int(rng.integers(4, 8)))


def _spokes(rng: np.random.Generator, mask: NDArray[np.uint8], place: Place) -> None:
    """Thermal reliefs: lands that hang in a copper area by four spokes."""
    radius, gap = int(rng.integers(14, 26)), int(rng.integers(8, 13))
    spoke = int(rng.integers(6, 11))
    for x, y in _grid(rng, place, 2 * (radius + gap) + int(rng.integers(14, 50))):
        cv2.circle(mask, (x, y), radius + gap, BARE, -1)
        cv2.circle(mask, (x, y), radius, COPPER, -1)
        reach = radius + gap + 2
        cv2.line(mask, (x - reach, y), (x + reach, y), COPPER, spoke)
        cv2.line(mask, (x, y - reach), (x, y + reach), COPPER, spoke)
        if rng.random() < 0.6:
            cv2.circle(mask, (x, y), max(7, radius // 2), BARE, -1)


def _meander(rng: np.random.Generator, mask: NDArray[np.uint8], place: Place) -> None:
    """A trace laid in tight turns to match its length."""
    trace, pitch = int(rng.integers(6, 14)), int(rng.integers(22, 46))
    points, down = [], True
    for x in range(place.x, place.x + place.w, pitch):
        ends = [(x, place.y), (x, place.y + place.h)]
        points += ends if down else ends[::-1]
        down = not down
    cv2.polylines(mask, [np.array(points, np.int32)], False, COPPER, trace)


def _comb(rng: np.random.Generator, mask: NDArray[np.uint8], place: Place) -> None:
    """Fingers of two combs, one between the other's."""
    trace, pitch = int(rng.integers(6, 16)), int(rng.integers(26, 50))
    back = 24
    for index, y in enumerate(range(place.y + back, place.y + place.h - back, pitch)):
        start, end = (0, place.w - back) if index % 2 else (back, place.w)
        cv2.line(mask, (place.x + start, y), (place.x + end, y), COPPER, trace)
    for x in (place.x, place.x + place.w):
        cv2.line(mask, (x, place.y + back), (x, place.y + place.h - back), COPPER, trace)


def _fingers(rng: np.random.Generator, mask: NDArray[np.uint8], place: Place) -> None:
    """A row of long contacts with round or square ends, narrowing to a trace."""
    finger = int(rng.integers(14, 42))
    pitch = finger + int(rng.integers(14, 40))
    neck = int(rng.integers(6, max(7, finger // 2)))
    round_ends = rng.random() < 0.5
    for x in range(place.x, place.x + place.w, pitch):
        top, low = place.y + finger, place.y + int(place.h * 0.6)
        cv2.rectangle(mask, (x, top), (x + finger, low), COPPER, -1)
        if round_ends:
            cv2.circle(mask, (x + finger // 2, top), finger // 2, COPPER, -1)
        cv2.line(mask, (x + finger // 2, low), (x + finger // 2, place.y + place.h), COPPER, neck)


def _arcs(rng: np.random.Generator, mask: NDArray[np.uint8], place: Place) -> None:
    """Concentric round traces, whole or in part."""
    centre = (place.x + place.w // 2, place.y + place.h // 2)
    trace, pitch = int(rng.integers(6, 18)), int(rng.integers(28, 50))
    start, sweep = float(rng.uniform(0, 360)), float(rng.choice([90, 180, 270, 360]))
    for radius in range(pitch, min(place.w, place.h) // 2, pitch):
        cv2.ellipse(mask, centre, (radius, radius), start, 0, sweep, COPPER, trace)


def _fan(rng: np.random.Generator, mask: NDArray[np.uint8], place: Place) -> None:
    """Traces at odd angles from a row of lands."""
    trace, pitch = int(rng.integers(6, 14)), int(rng.integers(34, 60))
    spread = float(rng.uniform(-0.8, 0.8))
    for index, x in enumerate(range(place.x, place.x + place.w - 20, pitch)):
        end = (int(x + spread * place.h + 6 * index * np.sign(spread)), place.y + place.h)
        cv2.line(mask, (x, place.y + 14), end, COPPER, trace)
        cv2.circle(mask, (x, place.y + 14), int(trace + 5), COPPER, -1)


def _hatching(rng: np.random.Generator, mask: NDArray[np.uint8], place: Place) -> None:
    """A copper area that is a mesh."""
    trace, pitch = int(rng.integers(6, 14)), int(rng.integers(34, 60))
    for x in range(place.x, place.x + place.w + 1, pitch):
        cv2.line(mask, (x, place.y), (x, place.y + place.h), COPPER, trace)
    for y in range(place.y, place.y + place.h + 1, pitch):
        cv2.line(mask, (place.x, y), (place.x + place.w, y), COPPER, trace)


def _slots(rng: np.random.Generator, mask: NDArray[np.uint8], place: Place) -> None:
    """Long rounded openings in a copper area."""
    width, pitch = int(rng.integers(12, 22)), int(rng.integers(50, 90))
    for x in range(place.x + pitch // 2, place.x + place.w - 12, pitch):
        cv2.line(mask, (x, place.y + 30), (x, place.y + max(40, place.h - 30)), BARE, width)


_FONT = cv2.FONT_HERSHEY_SIMPLEX
_Pattern = Callable[[np.random.Generator, NDArray[np.uint8], Place], None]
_WITHIN_COPPER: tuple[_Pattern, ...] = (_holes, _lettering_cut, _spokes, _slots)
_PATTERNS: tuple[_Pattern, ...] = (
    *_WITHIN_COPPER,
    _dots,
    _vias,
    _lettering,
    _meander,
    _comb,
    _fingers,
    _arcs,
    _fan,
    _hatching,
)
