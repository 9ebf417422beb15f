"""Draws the copper of a flawless board: traces, pads, vias and pours, as a mask.

A copper mask is ``uint8`` ``[height, width]`` with 255 where copper is and 0 elsewhere. Every draw takes its choices
from the generator that it is given, so equal generators give equal artwork.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from gistline.simulator.patterns import BARE, COPPER, decorate

_SMALLEST_PIECE = 130  # pixels of area; the smallest drill leaves more


def draw_artwork(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the copper mask of one board of ``size`` (height, width) in pixels, in one of several layouts."""
    mask = np.zeros(size, np.uint8)
    layout = _LAYOUTS[int(rng.integers(len(_LAYOUTS)))]
    layout(rng, mask)
    if rng.random() < 0.6:
        decorate(rng, mask, int(rng.integers(1, 5)))
    _tidy(mask)
    return np.ascontiguousarray(np.rot90(mask)) if size[0] == size[1] and rng.random() < 0.5 else mask


def _wide_bus(rng: np.random.Generator, mask: NDArray[np.uint8]) -> None:
    """Parallel traces of unequal width, some with a landing pad, as beside a connector."""
    height, width = mask.shape
    x = -int(rng.integers(0, 40))
    while x < width:
        trace = int(rng.integers(14, 96))
        cv2.rectangle(mask, (x, 0), (x + trace, height), COPPER, -1)
        if rng.random() < 0.35:
            _cut_bus(rng, mask, x, trace)
        x += trace + int(rng.integers(18, 70))
    _drill(rng, mask, int(rng.integers(0, 7)))


def _cut_bus(rng: np.random.Generator, mask: NDArray[np.uint8], x: int, trace: int) -> None:
    """End one trace of a bus and let it start again further down: a gap that is design, not defect."""
    y, gap = int(rng.integers(0, mask.shape[0])), int(rng.integers(44, 140))
    cv2.rectangle(mask, (x - 1, y), (x + trace + 1, y + gap), BARE, -1)
    if trace > 40 and rng.random() < 0.6:
        radius = trace // 2
        cv2.circle(mask, (x + radius, y), radius, COPPER, -1)


def _fine_lines(rng: np.random.Generator, mask: NDArray[np.uint8]) -> None:
    """Bundles of thin parallel traces that turn by 45 degrees together."""
    height, width = mask.shape
    trace, pitch = int(rng.integers(6, 13)), int(rng.integers(22, 44))
    jog = int(rng.integers(-160, 160))
    knee = int(rng.integers(height // 5, 4 * height // 5))
    skip = rng.random(width // pitch + 16) < 0.3
    for index, left_out in enumerate(skip):
        x = (index - 6) * pitch
        if left_out:
            continue
        shift = abs(jog) if rng.random() < 0.9 else 0
        points = [(x, -20), (x, knee), (x + (jog if shift else 0), knee + abs(jog)), (x + jog, height + 20)]
        _polyline(mask, points if shift else points[:2], trace)
        if not shift:
            _via(rng, mask, (x, knee), trace + int(rng.integers(6, 10)))


def _pad_grid(rng: np.random.Generator, mask: NDArray[np.uint8]) -> None:
    """Rows of drilled pads with thin traces that run between the rows."""
    height, width = mask.shape
    pitch, radius = int(rng.integers(92, 150)), int(rng.integers(22, 38))
    start = rng.integers(0, pitch, 2)
    rows = range(int(start[0]), height + pitch, pitch)
    for y in rows:
        for x in range(int(start[1]), width + pitch, pitch):
            if rng.random() < 0.75:
                _via(rng, mask, (x, y), radius)
            if rng.random() < 0.5:
                _stub(rng, mask, (x, y), pitch)
    trace = int(rng.integers(6, 11))
    for y in rows:
        if pitch - 2 * radius > 44 and rng.random() < 0.6:
            cv2.line(mask, (0, y + pitch // 2), (width, y + pitch // 2), COPPER, trace)


def _stub(rng: np.random.Generator, mask: NDArray[np.uint8], start: tuple[int, int], pitch: int) -> None:
    """A trace from a pad to the next one along a row or a column, by way of a 45 degree detour now and then."""
    x, y = start
    trace = int(rng.integers(6, 14))
    if rng.random() < 0.5:
        _polyline(mask, [(x, y), (x, y + pitch)], trace)
        return
    _polyline(mask, [(x, y), (x + pitch // 2, y), (x + pitch, y - pitch // 2), (x + pitch, y - pitch)], trace)


def _component_side(rng: np.random.Generator, mask: NDArray[np.uint8]) -> None:
    """Rectangular pads in rows, each with a trace leaving it, and a pour beside them."""
    height, width = mask.shape
    y = int(rng.integers(-20, 60))
    while y < height:
        pad_h, pad_w = int(rng.integers(22, 74)), int(rng.integers(20, 56))
        gap = int(rng.integers(22, 60))
        for x in range(int(rng.integers(-30, 30)), width, pad_w + gap):
            if rng.random() < 0.8:
                cv2.rectangle(mask, (x, y), (x + pad_w, y + pad_h), COPPER, -1)
                _lead(rng, mask, (x + pad_w // 2, y + pad_h), gap)
        y += pad_h + int(rng.integers(60, 130))
    if rng.random() < 0.5:
        _pour(rng, mask)


def _lead(rng: np.random.Generator, mask: NDArray[np.uint8], start: tuple[int, int], gap: int) -> None:
    """A short trace down from a pad, ending in a via or in a jog."""
    x, y = start
    trace, length = int(rng.integers(6, 13)), int(rng.integers(24, 66))
    kind = rng.random()
    if kind < 0.35:
        _polyline(mask, [(x, y), (x, y + length)], trace)
        _via(rng, mask, (x, y + length), min(trace + 7, gap // 2 + 8))
    elif kind < 0.7:
        _polyline(mask, [(x, y), (x, y + length), (x + gap // 2, y + length + gap // 2)], trace)


def _pour(rng: np.random.Generator, mask: NDArray[np.uint8]) -> None:
    """A copper area with clipped corners and an isolation ring around it."""
    height, width = mask.shape
    w, h = int(rng.integers(width // 5, width // 2)), int(rng.integers(height // 5, height // 2))
    x, y = int(rng.integers(-40, width - w)), int(rng.integers(-40, height - h))
    clip = int(rng.integers(10, 60))
    corners = [(x + clip, y), (x + w - clip, y), (x + w, y + clip), (x + w, y + h - clip)]
    corners += [(x + w - clip, y + h), (x + clip, y + h), (x, y + h - clip), (x, y + clip)]
    shape = np.array(corners, np.int32)
    cv2.polylines(mask, [shape], True, BARE, int(rng.integers(44, 64)))
    cv2.fillPoly(mask, [shape], COPPER)


def _pours(rng: np.random.Generator, mask: NDArray[np.uint8]) -> None:
    """A few large areas, thin traces around them, drilled holes within."""
    height, width = mask.shape
    for _ in range(int(rng.integers(2, 5))):
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        trace, bend = int(rng.integers(6, 26)), int(rng.integers(30, 200))
        _polyline(mask, [(-20, y), (x, y), (x + bend, y + bend), (width + 20, y + bend)], trace)
    for _ in range(int(rng.integers(2, 5))):
        _pour(rng, mask)
    _drill(rng, mask, int(rng.integers(0, 6)))


def _mixed(rng: np.random.Generator, mask: NDArray[np.uint8]) -> None:
    """Two layouts side by side, parted by a bare strip."""
    split = int(rng.integers(mask.shape[1] // 4, 3 * mask.shape[1] // 4))
    for part in (mask[:, : split - 22], mask[:, split + 22 :]):
        own = np.zeros(part.shape, np.uint8)
        _PLAIN[int(rng.integers(len(_PLAIN)))](rng, own)
        part[:] = own


def _polyline(mask: NDArray[np.uint8], points: list[tuple[int, int]], trace: int) -> None:
    cv2.polylines(mask, [np.array(points, np.int32)], False, COPPER, trace)


def _via(rng: np.random.Generator, mask: NDArray[np.uint8], centre: tuple[int, int], radius: int) -> None:
    """A round pad; drilled (off centre a little, as drills are) where it is large enough."""
    cv2.circle(mask, centre, radius, COPPER, -1)
    if radius >= 16 and rng.random() < 0.7:
        off = rng.integers(-2, 3, 2)
        cv2.circle(mask, (centre[0] + int(off[0]), centre[1] + int(off[1])), int(radius * 0.58), BARE, -1)


def _drill(rng: np.random.Generator, mask: NDArray[np.uint8], count: int) -> None:
    """Round holes of one drill in the middle of wide copper: larger and rounder than a pin-hole."""
    radius = int(rng.integers(11, 18))
    for _ in range(count):
        inside = np.flatnonzero(cv2.distanceTransform(mask, cv2.DIST_L2, 3) > 34)
        if len(inside) == 0:
            return
        y, x = divmod(int(inside[int(rng.integers(len(inside)))]), mask.shape[1])
        cv2.circle(mask, (x, y), radius, BARE, -1)


def _tidy(mask: NDArray[np.uint8]) -> None:
    """Clear slivers that the overlap of shapes left: unlabelled, they would pass for spurious copper or pin-holes."""
    for value in (BARE, COPPER):
        _, labels, stats, _ = cv2.connectedComponentsWithStats(mask if value == BARE else 255 - mask)
        small = stats[:, cv2.CC_STAT_AREA] < _SMALLEST_PIECE
        if small.any():
            mask[small[labels]] = value


_PLAIN: tuple[Callable[[np.random.Generator, NDArray[np.uint8]], None], ...] = (
    _wide_bus,
    _fine_lines,
    _pad_grid,
    _component_side,
    _pours,
)
_LAYOUTS = (*_PLAIN, _mixed)
