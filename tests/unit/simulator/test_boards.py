"""The simulator's promise: what is labelled is there, and nothing else is."""

from __future__ import annotations

from collections import Counter

import cv2
import numpy as np
import pytest

from gistline.errors import RequestRejected
from gistline.simulator.boards import DEFECTS, Board, BoardStyle, encode_jpeg, render_board
from gistline.simulator.planting import Terrain, plant

GREY = BoardStyle(binary=False, copper=50, bare=190, gradient=0.4, blur=1.6, noise=6.0, mottling=4.0)
SCAN = BoardStyle(binary=True, roughness=0.3)


def _board(seed: int, defects: int | None = None, style: BoardStyle | None = None) -> Board:
    return render_board(np.random.default_rng(seed), defects=defects, style=style)


def test_equal_seeds_give_equal_boards() -> None:
    first, second = _board(3), _board(3)
    assert np.array_equal(first.image, second.image)
    assert first.defects == second.defects


def test_unequal_seeds_give_unequal_boards() -> None:
    assert not np.array_equal(_board(3).image, _board(4).image)


@pytest.mark.parametrize("size", [(640, 640), (480, 800), (160, 160)])
def test_image_has_the_size_asked_for_and_boxes_lie_inside(size: tuple[int, int]) -> None:
    for seed in range(6):
        board = render_board(np.random.default_rng(seed), size=size, defects=5)
        assert board.image.shape == size
        assert board.image.dtype == np.uint8
        for _, box in board.defects:
            assert min(box.x, box.y) >= 0
            assert box.x + box.w <= size[1]
            assert box.y + box.h <= size[0]


@pytest.mark.long
@pytest.mark.parametrize("style", [GREY, SCAN], ids=["grey", "scan"])
def test_each_defect_changes_its_box_and_nothing_changes_outside(style: BoardStyle) -> None:
    for seed in range(12):
        board, twin = _board(seed, defects=8, style=style), _board(seed, defects=0, style=style)
        changed = board.image != twin.image
        for _, box in board.defects:
            inside = np.s_[int(box.y) : int(box.y + box.h), int(box.x) : int(box.x + box.w)]
            assert np.count_nonzero(changed[inside]) >= 10
            changed[inside] = False
        assert not changed.any()


@pytest.mark.long
def test_every_class_occurs_and_none_dominates() -> None:
    seen = Counter(label for seed in range(60) for label, _ in _board(seed, defects=8).defects)
    assert set(seen) == set(DEFECTS)
    assert max(seen.values()) < 2.5 * min(seen.values())


@pytest.mark.long
def test_a_good_share_of_boards_is_flawless_when_no_count_is_given() -> None:
    clean = sum(not _board(seed).defects for seed in range(80))
    assert 14 <= clean <= 44


def test_boxes_of_one_board_do_not_overlap() -> None:
    for seed in range(10):
        cover = np.zeros((640, 640), np.uint8)
        for _, box in _board(seed, defects=12).defects:
            cover[int(box.y) : int(box.y + box.h), int(box.x) : int(box.x + box.w)] += 1
        assert cover.max() <= 1


def test_a_flawless_mask_has_no_piece_as_small_as_a_defect() -> None:
    for seed in range(12):
        image = _board(seed, defects=0, style=BoardStyle(binary=True, roughness=0.0)).image
        for side in (image, 255 - image):
            _, _, stats, _ = cv2.connectedComponentsWithStats(side)
            assert stats[:, cv2.CC_STAT_AREA].min() >= 100


def _two_traces() -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    mask = np.zeros((300, 300), np.uint8)
    mask[:, 90:120] = 255
    mask[:, 160:190] = 255
    return mask


@pytest.mark.parametrize(
    ("label", "copper", "bare"),
    [
        ("open", 1, None),
        ("short", -1, None),
        ("mousebite", 0, 0),
        ("spur", 0, 0),
        ("copper", 1, 0),
        ("pin-hole", 0, 1),
    ],
)
def test_a_class_is_what_it_does_to_connectedness(label: str, copper: int, bare: int | None) -> None:
    clean = _two_traces()
    for seed in range(15):
        mask = clean.copy()
        assert plant(np.random.default_rng(seed), Terrain.of(clean), mask=mask, label=label, taken=[]) is not None
        assert np.sign(_pieces(mask) - _pieces(clean)) == copper
        assert bare is None or np.sign(_pieces(255 - mask) - _pieces(255 - clean)) == bare


def _pieces(mask: np.ndarray[tuple[int, int], np.dtype[np.uint8]]) -> int:
    return int(cv2.connectedComponents(mask)[0])


def test_a_bare_board_has_nowhere_for_an_open() -> None:
    mask = np.zeros((300, 300), np.uint8)
    assert plant(np.random.default_rng(0), Terrain.of(mask), mask=mask, label="open", taken=[]) is None
    assert not mask.any()


def test_jpeg_decodes_to_nearly_the_same_image() -> None:
    image = _board(1, style=GREY).image
    back = cv2.imdecode(np.frombuffer(encode_jpeg(image, quality=95), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert back is not None
    assert np.abs(back.astype(int) - image.astype(int)).mean() < 3


@pytest.mark.parametrize(("size", "defects"), [((100, 640), None), ((640, 640), 13), ((640, 640), -1)])
def test_what_cannot_be_rendered_is_refused(size: tuple[int, int], defects: int | None) -> None:
    with pytest.raises(RequestRejected):
        render_board(np.random.default_rng(0), size=size, defects=defects)
