"""The stream of a simulated camera."""

from __future__ import annotations

import cv2
import numpy as np

from gistline.simulator.cameras import camera_frames


def test_a_stream_depends_on_camera_and_seed_alone() -> None:
    first = list(camera_frames(camera="line-1", seed=7, count=3))
    assert first == list(camera_frames(camera="line-1", seed=7, count=5))[:3]
    assert first[0].jpeg != next(camera_frames(camera="line-2", seed=7, count=1)).jpeg
    assert first[0].jpeg != next(camera_frames(camera="line-1", seed=8, count=1)).jpeg


def test_keys_are_unique_and_time_rises() -> None:
    frames = [*camera_frames(camera="a", seed=1, count=4), *camera_frames(camera="b", seed=1, count=4)]
    assert len({frame.frame_key for frame in frames}) == 8
    offsets = [frame.captured_at for frame in frames[:4]]
    assert offsets == sorted(set(offsets))


def test_defect_rate_of_nought_and_one() -> None:
    assert not any(frame.defects for frame in camera_frames(camera="a", seed=2, count=5, defect_rate=0.0))
    assert all(frame.defects for frame in camera_frames(camera="a", seed=2, count=5, defect_rate=1.0))


def test_frames_are_grey_jpegs() -> None:
    frame = next(camera_frames(camera="a", seed=3, count=1))
    image = cv2.imdecode(np.frombuffer(frame.jpeg, np.uint8), cv2.IMREAD_UNCHANGED)
    assert image is not None
    assert image.shape == (640, 640)
