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


def test_planting_keeps_what_was_labelled_and_changes_only_its_own_boxes() -> None:
    board = render_board(np.random.default_rng(3), defects=0, style=BoardStyle(binary=True))
    one = Pictures(board.image[None], np.zeros((1, MOST_BOXES, 4), np.float32), np.full((1, MOST_BOXES), -1))
    richer = plant_more(one, 2)
    assert len(richer) == 2
    for image, row in zip(richer.images, richer.truth(), strict=True):
        assert len(row) >= 3
        changed = np.abs(image.astype(int) - board.image) > 128
        assert changed.any()
        for _, (x, y, w, h) in row:
            changed[int(y) : int(y + h), int(x) : int(x + w)] = False
        assert not changed.any()
