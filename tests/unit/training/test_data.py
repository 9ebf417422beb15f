"""Training pictures: what comes out of the simulator, and what is planted into other pictures."""

from __future__ import annotations

import numpy as np

from gistline.simulator.boards import BoardStyle, render_board
from training.data import MOST_BOXES, Pictures, plant_more, render_boards


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


def test_planting_leaves_what_was_labelled_as_it_was() -> None:
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
