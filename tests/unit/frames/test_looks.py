"""Three numbers of an image: each follows what it is named after, and size does not matter."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from gistline.frames.looks import STATISTICS, look
from gistline.simulator.boards import render_board

BOARD = render_board(np.random.default_rng(5), size=(320, 320)).image


def test_half_the_light_is_half_as_bright_and_half_the_contrast() -> None:
    whole, half = look(BOARD), look((BOARD * 0.5).astype(np.uint8))
    assert set(whole) == set(STATISTICS)
    assert half["brightness"] == pytest.approx(whole["brightness"] / 2, abs=1)
    assert half["contrast"] == pytest.approx(whole["contrast"] / 2, abs=1)
    assert half["sharpness"] == pytest.approx(whole["sharpness"] - 1, abs=0.1)


def test_a_blur_is_less_sharp_and_hardly_darker() -> None:
    sharp, blurred = look(BOARD), look(np.asarray(cv2.GaussianBlur(BOARD, (0, 0), 3), np.uint8))
    assert blurred["sharpness"] < sharp["sharpness"] - 2
    assert blurred["brightness"] == pytest.approx(sharp["brightness"], abs=1)


def test_colour_and_size_are_taken_alike() -> None:
    grey = look(BOARD)
    assert look(np.stack([BOARD] * 3, axis=2)) == pytest.approx(grey, abs=0.2)
    large = np.asarray(cv2.resize(BOARD, (1280, 1280), interpolation=cv2.INTER_NEAREST), np.uint8)
    assert look(large)["brightness"] == pytest.approx(grey["brightness"], abs=1)
    assert look(np.zeros((20, 30), np.uint8)) == {
        "brightness": 0.0,
        "contrast": 0.0,
        "sharpness": pytest.approx(-6.64, abs=0.01),
    }
