"""Batches for TensorRT's calibrator, over a copy function that only remembers."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from gistline.detection.preprocess import letterbox
from gistline.detection.tensorrt_calibrator import Calibration, Feeder, planes


def images(count: int) -> list[NDArray[np.uint8]]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (30 + i, 50, 3) if i % 2 else (30, 50 + i), dtype=np.uint8) for i in range(count)]


def drawn(feeder: Feeder) -> int:
    count = 0
    while feeder.next_address() is not None:
        count += 1
    return count


@pytest.mark.parametrize(("count", "batch", "batches"), [(1, 8, 1), (8, 8, 1), (9, 8, 2), (16, 8, 2), (7, 3, 3)])
def test_no_image_is_left_out(count: int, batch: int, batches: int) -> None:
    shown: list[NDArray[np.float32]] = []
    feeder = Feeder(Calibration(images(count), batch), (64, 64), lambda one: shown.append(one) or 64)  # type: ignore[func-returns-value]
    assert drawn(feeder) == batches
    assert feeder.next_address() is None
    assert {one.shape for one in shown} == {(feeder.batch, 3, 64, 64)}
    wanted = [planes(image, (64, 64)) for image in images(count)]
    np.testing.assert_array_equal(np.concatenate(shown)[:count], wanted)


def test_a_batch_built_into_the_network_is_filled_from_few_images() -> None:
    feeder = Feeder(Calibration(images(3), 2), (64, 64), len, fixed=8)
    assert feeder.batch == 8
    assert feeder.next_address() == 8
    assert feeder.next_address() is None


def test_pixels_are_as_the_network_reads_them() -> None:
    image = images(2)[1]
    boxed, _ = letterbox(image, (64, 64))
    found = planes(image, (64, 64))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, boxed.transpose(2, 0, 1).astype(np.float32) / np.float32(255))


def test_the_digest_knows_pixels_shapes_and_order() -> None:
    one = images(3)
    digests = {
        Calibration(one).digest,
        Calibration(one[::-1]).digest,
        Calibration(one[:2]).digest,
        Calibration([one[0].reshape(-1, 25), *one[1:]]).digest,
        Calibration([one[0] ^ np.uint8(1), *one[1:]]).digest,
    }
    assert len(digests) == 5
    assert Calibration([image.copy() for image in one]).digest in digests


def test_no_images_are_refused() -> None:
    with pytest.raises(ValueError, match="needs images"):
        Feeder(Calibration([]), (64, 64), len)
