from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from gistline.detection.calibration import FEW_IMAGES, CalibrationCheck, share_near_two_levels

RANDOM = np.random.default_rng(5)


def photo() -> NDArray[np.uint8]:
    coarse = RANDOM.integers(0, 255, (8, 8, 3)).astype(np.float64)
    smooth = np.kron(coarse, np.ones((8, 8, 1))) + RANDOM.normal(0, 20, (64, 64, 3))
    return np.clip(smooth, 0, 255).astype(np.uint8)


def drawing() -> NDArray[np.uint8]:
    """Black lines on white, with a few grey values at the edges."""
    image = np.where(np.kron(RANDOM.random((8, 8)) < 0.3, np.ones((8, 8))), 8, 250).astype(np.uint8)
    image[::32] = 128
    return image


def seen(*images: NDArray[np.uint8]) -> CalibrationCheck:
    check = CalibrationCheck()
    for image in images:
        check.see(image)
    return check


def test_good_images_raise_no_remark() -> None:
    check = seen(*(photo() for _ in range(FEW_IMAGES)))
    assert (check.images, check.binary, check.blank, check.repeated) == (FEW_IMAGES, 0, 0, 0)
    assert check.remarks() == []


def test_few_images_are_named() -> None:
    assert seen(*(photo() for _ in range(12))).remarks() == [
        "12 images are few: 100 to 500 show what a camera sees in a shift."
    ]


def test_nearly_binary_images_are_named() -> None:
    check = seen(*(drawing() for _ in range(FEW_IMAGES)))
    assert check.binary == FEW_IMAGES
    assert "nearly binary" in check.remarks()[0]


def test_one_image_over_and_over_is_named() -> None:
    one = photo()
    noisy = [np.clip(one + RANDOM.normal(0, 2, one.shape), 0, 255).astype(np.uint8) for _ in range(FEW_IMAGES)]
    assert seen(*noisy).repeated == FEW_IMAGES - 1
    assert "repeat an earlier one" in seen(*noisy).remarks()[0]


def test_blank_images_are_named() -> None:
    blank = [np.full((40, 40), level, np.uint8) for level in range(100, 200)]
    assert any("100 of 100 images are blank" in remark for remark in seen(*blank).remarks())


@pytest.mark.parametrize(("levels", "share"), [([0, 255], 1.0), ([0, 128, 255, 64], 0.5), ([10, 20, 250, 240], 1.0)])
def test_share_near_two_levels(levels: list[int], share: float) -> None:
    assert share_near_two_levels(np.repeat(np.array(levels, np.uint8), 100).reshape(20, -1)) == share


def test_digest_depends_on_pixels_shape_and_order() -> None:
    a, b = photo(), photo()
    digests = {seen(a, b).digest, seen(b, a).digest, seen(a).digest, seen(a.reshape(32, 128, 3)).digest}
    assert len(digests) == 4
    assert seen(a, b).digest == seen(a.copy(), b.copy()).digest
