"""Defects lifted off pictures that show the same place, and planted elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from gistline.domain import Box
from gistline.simulator.artwork import draw_artwork
from gistline.simulator.boards import DEFECTS
from gistline.simulator.planting import Terrain, plant, proves
from training.strokes import ADDS_COPPER, Lifted, Stroke, by_class, lift_all, plant_stroke

SIDE = 640
Labels = list[tuple[str, Box]]


def _defective(artwork: NDArray[np.uint8], seed: int) -> tuple[NDArray[np.uint8], Labels]:
    rng, mask, found = np.random.default_rng(seed), artwork.copy(), list[tuple[str, Box]]()
    for label in DEFECTS * 2:
        box = plant(rng, Terrain.of(artwork), mask=mask, label=label, taken=[box for _, box in found])
        if box is not None:
            found.append((label, box))
    return mask, found


@pytest.fixture(scope="module")
def artwork() -> NDArray[np.uint8]:
    return draw_artwork(np.random.default_rng(5), (SIDE + 80, SIDE + 80))


@pytest.fixture(scope="module")
def lifted(artwork: NDArray[np.uint8]) -> tuple[list[NDArray[np.uint8]], list[Labels], list[list[Lifted | None]]]:
    """Three views of one board, moved against each other, each with defects of its own."""
    views = [artwork[y : y + SIDE, x : x + SIDE] for x, y in ((0, 0), (24, 51), (80, 13))]
    masks, labels = zip(*(_defective(view, seed) for seed, view in enumerate(views)), strict=True)
    return views, list(labels), lift_all(masks, labels)


def test_what_was_drawn_is_told_from_the_artwork_by_another_view(lifted) -> None:  # type: ignore[no-untyped-def]
    views, labels, found = lifted
    assert sum(one is not None for row in found for one in row) >= 20
    for view, row, lifts in zip(views, labels, found, strict=True):
        for (label, box), one in zip(row, lifts, strict=True):
            if one is None:
                continue
            left, above, right, below = one.stroke.margins
            height, width = one.stroke.pixels.shape
            assert one.stroke.label == label
            assert min(one.stroke.margins) >= 0
            assert (left + width + right, above + height + below) == (box.w, box.h)
            x, y = int(box.x + left), int(box.y + above)
            ground = view[y : y + height, x : x + width][one.stroke.pixels]
            assert (ground == (0 if label in ADDS_COPPER else 255)).all()


def test_a_picture_can_be_rid_of_its_defects(artwork: NDArray[np.uint8]) -> None:
    (first, labels), (second, _) = _defective(artwork[:SIDE, :SIDE], 1), _defective(artwork[30 : 30 + SIDE, :SIDE], 2)
    lifts = lift_all([first, second], [labels, []])[0]
    assert any(lifts)
    for (_, box), one in zip(labels, lifts, strict=True):
        if one is not None:
            one.clear(first)
            place = slice(int(box.y), int(box.y + box.h)), slice(int(box.x), int(box.x + box.w))
            assert (first[place] == artwork[:SIDE, :SIDE][place]).all()


def test_nothing_is_lifted_where_no_other_picture_shows_the_place() -> None:
    pairs = [_defective(draw_artwork(np.random.default_rng(seed), (SIDE, SIDE)), seed) for seed in (11, 12)]
    found = lift_all([mask for mask, _ in pairs], [labels for _, labels in pairs])
    assert not any(one for row in found for one in row)


@pytest.mark.parametrize("label", DEFECTS)
def test_a_planted_stroke_is_what_its_class_says(lifted, label: str) -> None:  # type: ignore[no-untyped-def]
    strokes = by_class(lifted[2])
    if label not in strokes:
        pytest.skip(f"no {label} was lifted from these views")
    planted = 0
    for seed in range(8):
        flawless = draw_artwork(np.random.default_rng(100 + seed), (SIDE, SIDE))
        mask = flawless.copy()
        answer = plant_stroke(np.random.default_rng(seed), Terrain.of(flawless), mask, strokes[label], [])
        if answer is None:
            assert (mask == flawless).all()
            continue
        planted += 1
        name, box = answer
        assert name == label
        changed = np.argwhere(mask != flawless)
        (top, left), (low, right) = changed.min(0), changed.max(0)
        assert max(box.x - left, box.y - top) <= 0
        assert min(box.x + box.w - right, box.y + box.h - low) > 0
        around = slice(max(0, top - 20), low + 21), slice(max(0, left - 20), right + 21)
        added = (mask > flawless).any()
        assert added == (label in ADDS_COPPER)
        assert proves(label, flawless[around], mask[around]) or label in ("open", "short")
    assert planted


def test_a_turned_stroke_keeps_its_margins_on_their_sides() -> None:
    pixels = np.zeros((5, 9), bool)
    pixels[0, 0] = pixels[4, :] = True
    stroke = Stroke("spur", pixels, (1.0, 2.0, 3.0, 4.0))
    seen = set()
    for seed in range(60):
        turned = stroke.turned(np.random.default_rng(seed))
        if turned.pixels.sum() != pixels.sum() or sorted(turned.pixels.shape) != [5, 9]:
            continue  # zoomed
        ((corner_y, corner_x),) = np.argwhere(turned.pixels & ~_full_lines(turned.pixels))
        left, above, right, below = turned.margins
        beside = (left if corner_x == 0 else right, above if corner_y == 0 else below)
        assert set(beside) == {1.0, 2.0}
        seen.add((turned.pixels.shape, corner_x, corner_y))
    assert len(seen) == 8


def _full_lines(pixels: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(pixels.all(1, keepdims=True) | pixels.all(0, keepdims=True))
