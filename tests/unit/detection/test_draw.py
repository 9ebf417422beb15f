from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from gistline.detection.draw import draw, encode_png
from gistline.domain import Box, Detection


@pytest.mark.parametrize("shape", [(120, 160), (120, 160, 3)])
def test_copy_is_drawn_into_and_the_original_left_alone(shape: tuple[int, ...]) -> None:
    image = np.full(shape, 200, np.uint8)
    before = image.copy()
    drawn = draw(image, [Detection("open", 0.91, Box(40, 60, 30, 20))])
    assert (image == before).all()
    assert drawn.shape == (120, 160, 3)
    assert (drawn[60:80, 40] != 200).any(axis=1).all()
    assert (drawn[65:75, 50:60] == 200).all()
    assert (drawn[100:] == 200).all()


def test_classes_keep_their_colour_from_image_to_image() -> None:
    image = np.zeros((200, 200), np.uint8)
    labels = ("open", "short")
    alone = draw(image, [Detection("short", 0.5, Box(50, 80, 40, 40))], labels=labels)
    both = draw(
        image,
        [Detection("open", 0.9, Box(120, 80, 40, 40)), Detection("short", 0.5, Box(50, 80, 40, 40))],
        labels=labels,
    )
    assert (alone[100, 50] == both[100, 50]).all()
    assert (both[100, 50] != both[100, 120]).any()


@pytest.mark.parametrize("box", [Box(0, 0, 10, 10), Box(150, 110, 10, 10), Box(0, 0, 160, 120), Box(159, 0, 1, 120)])
def test_labels_stay_inside_the_image(box: Box) -> None:
    drawn = draw(np.zeros((120, 160), np.uint8), [Detection("mousebite", 0.5, box)])
    tag = (drawn > 0).any(axis=2).sum()
    assert tag > 300


def test_nothing_found_is_a_plain_copy() -> None:
    image = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    drawn = draw(image, [])
    assert drawn is not image
    assert (drawn == image).all()


def test_png_keeps_every_pixel() -> None:
    image = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    assert (np.asarray(Image.open(io.BytesIO(encode_png(image)))) == image).all()
