"""The letterbox kernel against preprocess.letterbox (OpenCV), on a real GPU."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from gistline.detection.cuda_frames import Mode, describe
from gistline.detection.gpu_buffers import GpuSession
from gistline.detection.preprocess import letterbox
from tests.support.gpu import letterbox_on_gpu

pytestmark = pytest.mark.gpu

SIZES = [
    (1, 1),
    (1, 5000),
    (5000, 1),
    (2, 2),
    (3, 5000),
    (37, 100),
    (100, 37),
    (320, 320),
    (480, 640),
    (639, 641),
    (640, 640),
    (641, 639),
    (640, 1280),
    (720, 1280),
    (959, 961),
    (1080, 1920),
    (1279, 1281),
    (1280, 1280),
    (1300, 1300),
    (1920, 1920),
    (2160, 3840),
]
INPUTS = [(640, 640), (416, 640), (64, 64)]


def frame(size: tuple[int, int], *, grey: bool, smooth: bool = False, seed: int = 0) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).integers(0, 256, size if grey else (*size, 3), dtype=np.uint8)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 3), np.uint8).reshape(noise.shape) if smooth else noise


def reference(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.float32]:
    boxed, _ = letterbox(image, size)
    return np.asarray(boxed.transpose(2, 0, 1), np.float32) / np.float32(255)


def levels(result: NDArray[np.float32], wanted: NDArray[np.float32]) -> NDArray[np.float32]:
    """Differences in levels of grey, of 255."""
    return np.asarray(np.abs(result - wanted) * 255, np.float32)


@pytest.mark.parametrize("grey", [True, False], ids=["grey", "rgb"])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_every_size_is_opencv_s_picture(session: GpuSession, size: tuple[int, int], grey: bool) -> None:
    images = [frame(size, grey=grey), frame(size, grey=grey, smooth=True)]
    for target in INPUTS:
        result = letterbox_on_gpu(session, images, target)
        for image, one in zip(images, result, strict=True):
            wanted = reference(image, target)
            if Mode(describe([image], target).rows["mode"][0]) is Mode.AREA:
                # A sum of floats on the edge between two levels may fall to either side.
                difference = levels(one, wanted)
                assert difference.max() < 1.01
                assert (difference > 0.5).mean() < 1e-3
            else:
                np.testing.assert_array_equal(one, wanted)


@pytest.mark.parametrize("batch", [1, 2, 7, 32, 64])
def test_a_batch_of_different_sizes(session: GpuSession, batch: int) -> None:
    random = np.random.default_rng(batch)
    images = [
        frame((int(random.integers(1, 900)), int(random.integers(1, 900))), grey=bool(i % 2), seed=i)
        for i in range(batch)
    ]
    result = letterbox_on_gpu(session, images, (320, 320))
    for image, one in zip(images, result, strict=True):
        assert levels(one, reference(image, (320, 320))).max() < 1.01


def test_half_precision_is_the_rounded_single_one(session: GpuSession) -> None:
    images = [frame((500, 333), grey=False), frame((64, 64), grey=True)]
    result = letterbox_on_gpu(session, images, (128, 128), float16=True)
    np.testing.assert_array_equal(result, letterbox_on_gpu(session, images, (128, 128)).astype(np.float16))


def test_an_input_that_no_tile_divides(session: GpuSession) -> None:
    image = frame((50, 71), grey=False)
    np.testing.assert_array_equal(letterbox_on_gpu(session, [image], (65, 97))[0], reference(image, (65, 97)))
