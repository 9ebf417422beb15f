from __future__ import annotations

import numpy as np
import pytest

from gistline.detection.preprocess import PAD_VALUE, letterbox


def test_rgb_that_fits_is_neither_copied_nor_changed() -> None:
    image = np.random.default_rng(0).integers(0, 255, (640, 640, 3), np.uint8)
    boxed, geometry = letterbox(image, (640, 640))
    assert boxed is image or np.shares_memory(boxed, image)
    assert (geometry.scale_x, geometry.scale_y, geometry.pad_x, geometry.pad_y) == (1, 1, 0, 0)


def test_grey_that_fits_gets_three_equal_channels() -> None:
    image = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    boxed, _ = letterbox(image, (64, 64))
    assert boxed.shape == (64, 64, 3)
    assert all((boxed[..., channel] == image).all() for channel in range(3))


def test_wide_image_is_scaled_to_width_and_padded_above_and_below() -> None:
    boxed, geometry = letterbox(np.full((100, 400, 3), 255, np.uint8), (200, 200))
    assert boxed.shape == (200, 200, 3)
    assert (geometry.scale_x, geometry.scale_y, geometry.pad_x, geometry.pad_y) == (0.5, 0.5, 0, 75)
    assert (geometry.width, geometry.height) == (400, 100)
    assert (boxed[:75] == PAD_VALUE).all()
    assert (boxed[75:125] == 255).all()
    assert (boxed[125:] == PAD_VALUE).all()


def test_small_image_is_enlarged() -> None:
    boxed, geometry = letterbox(np.full((10, 20), 7, np.uint8), (100, 100))
    assert (geometry.scale_x, geometry.scale_y, geometry.pad_y) == (5, 5, 25)
    assert (boxed[25:75] == 7).all()


def test_extreme_aspect_ratio_keeps_one_pixel() -> None:
    boxed, geometry = letterbox(np.zeros((2000, 1), np.uint8), (100, 100))
    assert boxed.shape == (100, 100, 3)
    assert geometry.scale_x == 1
    assert (boxed[:, geometry.pad_x] == 0).all()


def test_hair_line_survives_a_strong_reduction() -> None:
    image = np.full((1000, 1000), 255, np.uint8)
    image[:, 401] = 0
    boxed, _ = letterbox(image, (100, 100))
    assert boxed.min() < 255


def test_strided_image_comes_out_contiguous() -> None:
    image = np.zeros((64, 64, 6), np.uint8)[..., ::2]
    boxed, _ = letterbox(image, (64, 64))
    assert boxed.flags["C_CONTIGUOUS"]


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.float32),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4,), np.uint8),
        np.zeros((0, 4), np.uint8),
    ],
)
def test_other_shapes_and_types_are_a_mistake(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="uint8"):
        letterbox(image, (64, 64))
