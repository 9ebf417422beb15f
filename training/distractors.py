"""Draws lawful artwork into real pictures: what a board never seen before may show and no defect looks like.

Detectors trained on a few boards take the artwork of others for defects: drilled holes for pin-holes, narrow gaps for
opens. What is drawn here carries no label, so that the difference is learnt: artwork is round or straight and even,
defects are ragged.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from gistline.domain import Box
from gistline.simulator.patterns import decorate

_Mask = NDArray[np.uint8]
_Point = tuple[int, int]

COPPER, BARE = 255, 0
CLEAR = 12  # pixels between a label and what is drawn
MOST_CHANGED = 0.3  # share of a picture
LONG, ROOMY, MOSTLY = 60, 8.0, 0.85  # pixels of a track, pixels to the nearest edge, share of it with that much room


def distract(rng: np.random.Generator, mask: _Mask, taken: Sequence[Box], *, most: int = 16) -> None:
    """Draw up to ``most`` pieces into a copper mask (``uint8`` ``[h, w]``, 255 copper) in place, off the boxes."""
    closed = np.zeros_like(mask)
    for box in taken:
        corner = (int(box.x + box.w) + CLEAR, int(box.y + box.h) + CLEAR)
        cv2.rectangle(closed, (int(box.x) - CLEAR, int(box.y) - CLEAR), corner, 255, -1)
    for _ in range(int(rng.integers(0, most + 1))):
        trial = mask.copy()
        _PIECES[int(rng.integers(len(_PIECES)))](rng, trial)
        change = cv2.bitwise_xor(mask, trial)
        if not (change & closed).any() and np.count_nonzero(change) < MOST_CHANGED * change.size:
            mask[:] = trial


def _spot(rng: np.random.Generator, mask: _Mask, *, on: int, room: float) -> _Point | None:
    """A point at least ``room`` pixels inside copper or bare board; None where there is none."""
    field = cv2.distanceTransform(mask if on == COPPER else 255 - mask, cv2.DIST_L2, 3)
    places = np.flatnonzero(field >= room)
    if not places.size:
        return None
    y, x = divmod(int(places[int(rng.integers(places.size))]), mask.shape[1])
    return x, y


def _ground(rng: np.random.Generator) -> int:
    return COPPER if rng.random() < 0.5 else BARE


def _drills(rng: np.random.Generator, mask: _Mask) -> None:
    """One to six round holes of one size in copper, or round dots on bare board, in a row."""
    on, radius = _ground(rng), int(rng.integers(3, 15))
    first = _spot(rng, mask, on=on, room=radius + 4.0)
    if first is None:
        return
    field = cv2.distanceTransform(mask if on == COPPER else 255 - mask, cv2.DIST_L2, 3)
    step = int(rng.integers(3 * radius + 4, 3 * radius + 90))
    dx, dy = [(step, 0), (0, step), (step, step), (step, -step)][int(rng.integers(4))]
    for index in range(int(rng.integers(1, 7))):
        x, y = first[0] + index * dx, first[1] + index * dy
        if 0 <= x < mask.shape[1] and 0 <= y < mask.shape[0] and field[y, x] >= radius + 3:
            cv2.circle(mask, (x, y), radius, COPPER - on, -1, cv2.LINE_8)


def _ring(rng: np.random.Generator, mask: _Mask) -> None:
    """A land with its hole on bare board, or a hole with its clearance in copper."""
    on, radius = _ground(rng), int(rng.integers(9, 40))
    centre = _spot(rng, mask, on=on, room=radius * 0.6 + 4)
    if centre is not None:
        cv2.circle(mask, centre, radius, COPPER - on, -1)
        cv2.circle(mask, centre, int(radius * rng.uniform(0.25, 0.75)), on, -1)


def _track(rng: np.random.Generator, mask: _Mask) -> None:
    """A trace across bare board or a gap across copper, in right angles or slants, its width changing at times.

    Only where it is long and has room: a short one between two conductors, or through a narrow one, is a defect.
    """
    on = _ground(rng)
    start = _spot(rng, mask, on=on, room=8.0)
    if start is None:
        return
    path, slant = [start], rng.random() < 0.3
    for index in range(int(rng.integers(1, 6))):
        length = int(rng.integers(15, 160)) * (1 if rng.random() < 0.5 else -1)
        step = (length, length) if slant and index % 2 else (length, 0) if rng.random() < 0.5 else (0, length)
        path.append((path[-1][0] + step[0], path[-1][1] + step[1]))
    middle = np.zeros_like(mask)
    cv2.polylines(middle, [np.array(path, np.int32)], False, 255, 1)
    rooms = cv2.distanceTransform(mask if on == COPPER else 255 - mask, cv2.DIST_L2, 3)[middle > 0]
    if rooms.size < LONG or np.mean(rooms >= ROOMY) < MOSTLY:
        return
    width = int(rng.integers(3, 15))
    for before, after in itertools.pairwise(path):
        cv2.line(mask, before, after, COPPER - on, width)
        width = int(rng.integers(3, 22)) if rng.random() < 0.5 else width
    if rng.random() < 0.4:
        cv2.circle(mask, path[-1], int(rng.integers(7, 22)), COPPER - on, -1)


def _pad(rng: np.random.Generator, mask: _Mask) -> None:
    """A row of equal pads on bare board, or of equal windows in copper."""
    on, w, h = _ground(rng), int(rng.integers(8, 50)), int(rng.integers(8, 50))
    first = _spot(rng, mask, on=on, room=min(w, h) / 2 + 4)
    if first is None:
        return
    gap = int(rng.integers(8, 30))
    for index in range(int(rng.integers(1, 7))):
        x = first[0] + index * (w + gap)
        cv2.rectangle(mask, (x - w // 2, first[1] - h // 2), (x + w // 2, first[1] + h // 2), COPPER - on, -1)


def _patch(rng: np.random.Generator, mask: _Mask) -> None:
    """One of the simulator's patterns, in the place of what was there."""
    decorate(rng, mask, 1)


def _bored_lands(rng: np.random.Generator, mask: _Mask) -> None:
    """A round hole in the very middle of several lands of one size: drilled, where a pin-hole sits anywhere."""
    field = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    middles = (field >= 6) & (field <= 26) & (field >= cv2.dilate(field, np.ones((31, 31), np.uint8)))
    count, _, _, centres = cv2.connectedComponentsWithStats(middles.astype(np.uint8))
    if count < 2:
        return
    spots = [(round(float(x)), round(float(y))) for x, y in centres[1:]]
    rooms = np.array([field[y, x] for x, y in spots])
    size = rooms[int(rng.integers(len(rooms)))]
    radius = max(2, round(float(size) * rng.uniform(0.25, 0.65)))
    for (x, y), room in zip(spots, rooms, strict=True):
        if abs(room - size) < 1.5 and radius < room - 2:
            cv2.circle(mask, (x, y), radius, BARE, -1)


def _linked_land(rng: np.random.Generator, mask: _Mask) -> None:
    """A square or round land on bare board, at times drilled, and an even trace from its middle to the next copper."""
    half = int(rng.integers(7, 22))
    centre = _spot(rng, mask, on=BARE, room=half + 5.0)
    if centre is None:
        return
    x, y = centre
    dx, dy = [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1), (1, -1), (-1, 1)][int(rng.integers(8))]
    reach = next((n for n in range(1, 140) if _is_copper(mask, x + n * dx, y + n * dy)), 0)
    if reach and rng.random() < 0.7:
        width = int(rng.integers(4, min(15, 2 * half)))
        cv2.line(mask, centre, (x + (reach + 3) * dx, y + (reach + 3) * dy), COPPER, width)
    if rng.random() < 0.5:
        cv2.rectangle(mask, (x - half, y - half), (x + half, y + half), COPPER, -1)
    else:
        cv2.circle(mask, centre, half, COPPER, -1)
    if rng.random() < 0.6:
        cv2.circle(mask, centre, max(2, int(half * rng.uniform(0.25, 0.65))), BARE, -1)


def _is_copper(mask: _Mask, x: int, y: int) -> bool:
    return 0 <= y < mask.shape[0] and 0 <= x < mask.shape[1] and mask[y, x] == COPPER


def _thermal(rng: np.random.Generator, mask: _Mask) -> None:
    """A land within a copper plane, parted from it by a ring that two or four straight spokes bridge."""
    inner = int(rng.integers(6, 22))
    outer = inner + int(rng.integers(4, 12))
    centre = _spot(rng, mask, on=COPPER, room=outer + 3.0)
    if centre is None:
        return
    x, y = centre
    cv2.circle(mask, centre, outer, BARE, -1)
    width, slant = int(rng.integers(3, 10)), rng.random() < 0.5
    axes = [(1, 1), (1, -1)] if slant else [(1, 0), (0, 1)]
    for dx, dy in axes[: int(rng.integers(1, 3))]:
        cv2.line(mask, (x - dx * outer, y - dy * outer), (x + dx * outer, y + dy * outer), COPPER, width)
    cv2.circle(mask, centre, inner, COPPER, -1)
    if rng.random() < 0.7:
        cv2.circle(mask, centre, max(2, int(inner * rng.uniform(0.3, 0.7))), BARE, -1)


def _lettering(rng: np.random.Generator, mask: _Mask) -> None:
    """A few signs in copper on bare board, or etched into copper, clear of every edge."""
    on = _ground(rng)
    scale, thickness = float(rng.uniform(0.5, 1.8)), int(rng.integers(2, 6))
    centre = _spot(rng, mask, on=on, room=8 * scale + thickness)
    if centre is None:
        return
    text = "".join(rng.choice(list(_SIGNS), int(rng.integers(1, 6))))
    signs, font = np.zeros_like(mask), _FONTS[int(rng.integers(len(_FONTS)))]
    (width, height), _ = cv2.getTextSize(text, font, scale, thickness)
    origin = (centre[0] - width // 2, centre[1] + height // 2)
    cv2.putText(signs, text, origin, font, scale, 255, thickness)
    if rng.random() < 0.5:
        signs = np.ascontiguousarray(np.rot90(signs, int(rng.integers(4))))
    clear = cv2.distanceTransform(mask if on == COPPER else 255 - mask, cv2.DIST_L2, 3) > 5
    mask[(signs > 0) & clear] = COPPER - on


def _land_row(rng: np.random.Generator, mask: _Mask) -> None:
    """Lands of one kind in a row or a grid, drilled alike, some linked to the next or to a trace beside them."""
    half, pitch = int(rng.integers(7, 20)), int(rng.integers(30, 70))
    columns, rows = int(rng.integers(2, 8)), int(rng.integers(1, 4))
    w, h = columns * pitch, rows * pitch
    if w + 40 >= mask.shape[1] or 2 * half + 8 > pitch:
        return
    left, top = int(rng.integers(20, mask.shape[1] - w - 19)), int(rng.integers(20, mask.shape[0] - h - 19))
    cv2.rectangle(mask, (left - 14, top - 14), (left + w + 14, top + h + 14), BARE, -1)
    drill = int(half * rng.uniform(0.2, 0.65)) if rng.random() < 0.8 else 0
    width, linked, kind = int(rng.integers(4, 12)), float(rng.uniform(0, 0.6)), int(rng.integers(4))
    for row in range(rows):
        for column in range(columns):
            x, y = left + column * pitch + pitch // 2, top + row * pitch + pitch // 2
            if rng.random() < linked and column + 1 < columns:
                cv2.line(mask, (x, y), (x + pitch, y), COPPER, width)
            if rng.random() < linked / 2:
                cv2.line(mask, (x, y), (x, top - 20 if rng.random() < 0.5 else top + h + 20), COPPER, width)
            _land(mask, (x, y), half, kind)
    for row in range(rows if drill > 1 else 0):
        for column in range(columns):
            cv2.circle(mask, (left + column * pitch + pitch // 2, top + row * pitch + pitch // 2), drill, BARE, -1)


def _land(mask: _Mask, centre: _Point, half: int, kind: int) -> None:
    """Square, round, upright and oblong, or eight-cornered."""
    x, y = centre
    if kind == 0:
        cv2.rectangle(mask, (x - half, y - half), (x + half, y + half), COPPER, -1)
    elif kind == 1:
        cv2.circle(mask, centre, half, COPPER, -1)
    elif kind == 2:
        cv2.line(mask, (x, y - half // 2), (x, y + half // 2), COPPER, 2 * half - 2)
    else:
        cut = int(half * 0.42)
        corners = [(half, cut), (cut, half), (-cut, half), (-half, cut)]
        points = [(x + dx, y + dy) for dx, dy in corners] + [(x - dx, y - dy) for dx, dy in corners]
        cv2.fillPoly(mask, [np.array(points, np.int32)], COPPER)


def _ends(rng: np.random.Generator, mask: _Mask) -> None:
    """Traces side by side that end where others do not, square, round or in a small land, clear of other copper."""
    count, pitch, width = int(rng.integers(2, 8)), int(rng.integers(22, 44)), int(rng.integers(5, 15))
    length, across = int(rng.integers(60, 220)), count * pitch
    if across + 40 >= mask.shape[0]:
        return
    left = int(rng.integers(20, mask.shape[1] - length - 19))
    top = int(rng.integers(20, mask.shape[0] - across - 19))
    cv2.rectangle(mask, (left - 14, top - 14), (left + length + 14, top + across + 14), BARE, -1)
    even = int(rng.integers(0, length)) if rng.random() < 0.5 else -1
    kind = int(rng.integers(3))
    for index in range(count):
        y = top + index * pitch + pitch // 2
        end = left + (even if even >= 0 else int(rng.integers(0, length)))
        cv2.rectangle(mask, (left - 14, y - width // 2), (end, y - width // 2 + width), COPPER, -1)
        if kind:
            cv2.circle(mask, (end, y - width // 2 + width // 2), width // 2 + (0 if kind == 1 else 4), COPPER, -1)


def _drop(rng: np.random.Generator, mask: _Mask) -> None:
    """A drilled round land whose trace widens towards it."""
    radius = int(rng.integers(8, 22))
    centre = _spot(rng, mask, on=BARE, room=radius + 6.0)
    if centre is None:
        return
    x, y = centre
    dx, dy = [(1, 0), (-1, 0), (0, 1), (0, -1)][int(rng.integers(4))]
    reach = next((n for n in range(1, 140) if _is_copper(mask, x + n * dx, y + n * dy)), int(rng.integers(40, 140)))
    width, neck = int(rng.integers(4, 12)), radius * float(rng.uniform(1.5, 2.5))
    cv2.line(mask, centre, (x + (reach + 3) * dx, y + (reach + 3) * dy), COPPER, width)
    tip = (round(x + neck * dx), round(y + neck * dy))
    side = int(0.8 * radius)
    triangle = [(x + side * dy, y + side * dx), (x - side * dy, y - side * dx), tip]
    cv2.fillPoly(mask, [np.array(triangle, np.int32)], COPPER)
    cv2.circle(mask, centre, radius, COPPER, -1)
    if rng.random() < 0.7:
        cv2.circle(mask, centre, max(2, int(radius * rng.uniform(0.2, 0.6))), BARE, -1)


def _drilled(rng: np.random.Generator, mask: _Mask) -> None:
    """Round holes of one size here and there in wide copper: alone each looks like a pin-hole that is too round."""
    radius = int(rng.integers(3, 10))
    field = cv2.distanceTransform(mask, cv2.DIST_L2, 3)
    for _ in range(int(rng.integers(1, 9))):
        places = np.flatnonzero(field >= radius + rng.uniform(4, 24))
        if not places.size:
            return
        y, x = divmod(int(places[int(rng.integers(places.size))]), mask.shape[1])
        cv2.circle(mask, (x, y), radius, BARE, -1)
        cv2.circle(field, (x, y), 4 * radius, 0.0, -1)


def _waist(rng: np.random.Generator, mask: _Mask) -> None:
    """A straight trace on bare board, or a gap in copper, narrower over a stretch and as wide again after it."""
    on = _ground(rng)
    wide, narrow = int(rng.integers(9, 26)), int(rng.integers(3, 9))
    centre = _spot(rng, mask, on=on, room=wide / 2 + 8)
    if centre is None or narrow + 3 > wide:
        return
    field = cv2.distanceTransform(mask if on == COPPER else 255 - mask, cv2.DIST_L2, 3)
    dx, dy = (1, 0) if rng.random() < 0.5 else (0, 1)
    half, ends = int(rng.integers(8, 40)), []
    for sign in (1, -1):
        most = int(rng.integers(half + 10, half + 130))
        steps = range(1, most)
        free = [_room(field, centre[0] + sign * n * dx, centre[1] + sign * n * dy) >= wide / 2 + 4 for n in steps]
        reach = free.index(False) if False in free else most
        if reach < half + 6:
            return
        # beyond the last free point the wide part runs into whatever is there, or ends
        reach += int(rng.integers(0, 40)) if reach < most and rng.random() < 0.7 else 0
        ends.append((centre[0] + sign * reach * dx, centre[1] + sign * reach * dy))
    cv2.line(mask, ends[0], ends[1], COPPER - on, wide)
    first = (centre[0] - half * dx, centre[1] - half * dy)
    last = (centre[0] + half * dx, centre[1] + half * dy)
    side = wide // 2 + 1
    low, high = (first[0] - side * dy, first[1] - side * dx), (last[0] + side * dy, last[1] + side * dx)
    cv2.rectangle(mask, low, high, on, -1)
    cv2.line(mask, first, last, COPPER - on, narrow)


def _room(field: NDArray[np.float32], x: int, y: int) -> float:
    return float(field[y, x]) if 0 <= y < field.shape[0] and 0 <= x < field.shape[1] else 0.0


_SIGNS = "ABCDEFGHKLMNPRSTUVXYZ0123456789+-/"
_FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX, cv2.FONT_HERSHEY_PLAIN)
_PIECES = (
    *(_drills, _drills, _drills, _ring, _track, _track, _track, _pad, _patch),
    *(_bored_lands, _bored_lands, _linked_land, _linked_land, _thermal, _lettering, _lettering),
    *(_land_row, _land_row, _ends, _drop, _drilled, _drilled, _drilled, _waist, _waist),
)
