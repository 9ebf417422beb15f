"""Training pictures: what comes out of the simulator, and what is planted into other pictures."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from gistline.simulator.artwork import draw_artwork
from gistline.simulator.boards import DEFECTS, BoardStyle, render_board
from training import data
from training.data import MOST_BOXES, Pictures, lift_defects, plant_more, render_boards
from training.strokes import by_class


def test_boards_come_with_their_boxes() -> None:
    pictures = render_boards(6, 40)
    assert pictures.images.shape == (6, 640, 640)
    assert pictures.boxes.shape == (6, MOST_BOXES, 4)
    used = pictures.classes >= 0
    assert used.any()
    assert ((pictures.boxes[used][:, 2:] - pictures.boxes[used][:, :2]) > 10).all()


def test_planting_adds_labels_and_artwork_without_any() -> None:
    board = render_board(np.random.default_rng(3), defects=0, style=BoardStyle(binary=True))
    one = Pictures(board.image[None], np.zeros((1, MOST_BOXES, 4), np.float32), np.full((1, MOST_BOXES), -1))
    richer = plant_more(one, 4)
    unlabelled = 0
    for image, row in zip(richer.images, richer.truth(), strict=True):
        assert len(row) >= 3
        changed = np.abs(image.astype(int) - board.image) > 128
        for _, (x, y, w, h) in row:
            assert changed[int(y) : int(y + h), int(x) : int(x + w)].any()
            changed[int(y) : int(y + h), int(x) : int(x + w)] = False
        unlabelled += int(changed.sum())
    assert unlabelled > 0


def test_planting_leaves_what_was_labelled_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "ETCHED", 0.0)
    board = render_board(np.random.default_rng(8), defects=5, style=BoardStyle(binary=True))
    boxes, classes = np.zeros((1, MOST_BOXES, 4), np.float32), np.full((1, MOST_BOXES), -1)
    for slot, (_, box) in enumerate(board.defects):
        boxes[0, slot], classes[0, slot] = (box.x, box.y, box.x + box.w, box.y + box.h), 0
    more = plant_more(Pictures(board.image[None], boxes, classes), 4)
    for image, row in zip(more.images, more.truth(), strict=True):
        assert len(row) > len(board.defects)
        for _, box in board.defects:
            rows, columns = slice(int(box.y), int(box.y + box.h)), slice(int(box.x), int(box.x + box.w))
            assert not (np.abs(image[rows, columns].astype(int) - board.image[rows, columns]) > 128).any()


def _views_of_one_board() -> Pictures:
    """Two pictures of a place, moved against each other, each with its own defects."""
    boards = [render_board(np.random.default_rng(21), defects=count, style=BoardStyle()) for count in (9, 0)]
    boxes, classes = np.zeros((2, MOST_BOXES, 4), np.float32), np.full((2, MOST_BOXES), -1)
    for slot, (label, box) in enumerate(boards[0].defects):
        boxes[0, slot], classes[0, slot] = (box.x, box.y, box.x + box.w, box.y + box.h), DEFECTS.index(label)
    return Pictures(np.stack([board.image for board in boards]), boxes, classes)


def test_a_copy_loses_defects_that_were_lifted_and_gains_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "LIFTED", 1.0)
    monkeypatch.setattr(data, "ETCHED", 0.0)
    pictures = _views_of_one_board()
    lifted = lift_defects(pictures)
    gone = [box for (_, box), one in zip(pictures.truth()[0], lifted[0], strict=True) if one is not None]
    assert len(gone) >= 5
    more = plant_more(pictures, 2, lifted=lifted)
    for row in more.truth()[0::2]:
        assert len(row) > len(pictures.truth()[0]) - len(gone)
        assert not set(gone) & {box for _, box in row}


def test_every_second_board_carries_lifted_strokes() -> None:
    strokes = by_class(lift_defects(_views_of_one_board()))
    plain, mixed = render_boards(6, 40), render_boards(6, 40, strokes)
    assert (plain.images[0::2] == mixed.images[0::2]).all()
    labels = {label for row in mixed.truth()[1::2] for label, _ in row}
    assert labels
    assert labels <= {DEFECTS.index(name) for name in strokes}


def test_etching_joins_and_parts_nothing() -> None:
    mask = draw_artwork(np.random.default_rng(4), (640, 640))
    seen = [data._etched(np.random.default_rng(seed), mask, []) for seed in range(12)]
    assert any((one != mask).any() for one in seen)
    for one in seen:
        assert cv2.connectedComponents(one)[0] == cv2.connectedComponents(mask)[0]
        assert cv2.connectedComponents(255 - one)[0] == cv2.connectedComponents(255 - mask)[0]
