"""Buffers, streams and their release, on a real GPU, around a network that answers its own input."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gistline.detection.candidates import Candidates
from gistline.detection.gpu_buffers import GpuSession
from gistline.detection.gpu_pipeline import Pipeline
from gistline.errors import EngineUnavailable
from tests.support.gpu import EchoNetwork, echo_reference

pytestmark = pytest.mark.gpu

SIZE = (64, 64)


def frames(count: int, *, seed: int = 0) -> list[NDArray[np.uint8]]:
    """Grey and RGB frames of different sizes, some larger and some smaller than the input."""
    random = np.random.default_rng(seed)
    made: list[NDArray[np.uint8]] = []
    for i in range(count):
        height, width = (int(side) for side in random.integers(20, 120, 2))
        shape = (height, width) if i % 2 else (height, width, 3)
        made.append(random.integers(0, 256, shape, dtype=np.uint8))
    return made


def check(found: list[Candidates], images: list[NDArray[np.uint8]], min_confidence: float) -> None:
    for one, image in zip(found, images, strict=True):
        boxes, scores, classes = echo_reference(image, SIZE, min_confidence)
        np.testing.assert_array_equal(one.scores, scores)
        np.testing.assert_array_equal(one.boxes, boxes)
        np.testing.assert_array_equal(one.classes, classes)
        assert (one.geometry.height, one.geometry.width) == image.shape[:2]


@pytest.mark.parametrize("max_batch", [1, 4, 16])
@pytest.mark.parametrize("count", [0, 1, 5, 33])
def test_frames_come_back_as_candidates_in_order(session: GpuSession, max_batch: int, count: int) -> None:
    pipeline = Pipeline(session, EchoNetwork(session, SIZE, max_batch))
    images = frames(count)
    for min_confidence in (0.99, 0.3):
        check(list(pipeline.stream(iter(images), min_confidence)), images, min_confidence)


def test_the_bare_network_answers_its_input(session: GpuSession) -> None:
    pipeline = Pipeline(session, EchoNetwork(session, SIZE, 4))
    batch = np.random.default_rng(0).integers(0, 256, (9, *SIZE, 3), dtype=np.uint8)
    wanted = batch.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(pipeline.infer(batch).reshape(wanted.shape), wanted)


def test_half_precision_network(session: GpuSession) -> None:
    pipeline = Pipeline(session, EchoNetwork(session, SIZE, 4, float16=True))
    image = frames(1)[0]
    [found] = pipeline.stream([image], 0.5)
    np.testing.assert_array_equal(found.scores, echo_reference(image, SIZE, 0.5, float16=True)[1])


def test_frames_are_drawn_while_earlier_ones_are_computed(session: GpuSession) -> None:
    """The second batch has been uploaded while the first, slow one is still being computed."""
    # 400 copies of 79 MB take tens of milliseconds, and are queued in one or two.
    pipeline = Pipeline(session, EchoNetwork(session, (640, 640), 16, work=400))
    first, second = frames(16), frames(16, seed=1)
    slots: list[Any] = [pipeline._idle.get(), pipeline._idle.get()]
    running = [pipeline._launch(slot, batch, 0.5) for slot, batch in zip(slots, (first, second), strict=True)]
    with session.current():
        slots[1]._uploaded.synchronize()
        assert not slots[0]._computed.query()
        assert not slots[1]._computed.query()
    for one in running:
        with session.current():
            one.slot.read(16)
        pipeline._idle.put(one.slot)


def test_large_batches_are_packed_by_several_threads(session: GpuSession) -> None:
    pipeline = Pipeline(session, EchoNetwork(session, SIZE, 8))
    images = [np.random.default_rng(i).integers(0, 256, (1080, 1920, 3), dtype=np.uint8) for i in range(8)]
    for one, image in zip(pipeline.stream(images, 0.5), images, strict=True):
        np.testing.assert_array_equal(one.scores, echo_reference(image, SIZE, 0.5)[1])
    pipeline.close()


def test_threads_share_it(session: GpuSession) -> None:
    pipeline = Pipeline(session, EchoNetwork(session, SIZE, 3))
    sets = [frames(10, seed=seed) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for images, found in zip(sets, pool.map(lambda s: list(pipeline.stream(s, 0.4)), sets), strict=True):
            check(found, images, 0.4)


def test_a_thousand_rounds_leave_no_memory_behind(session: GpuSession, driver: Any) -> None:
    pipeline = Pipeline(session, EchoNetwork(session, SIZE, 8))
    images = frames(12)
    free = []
    for round_number in range(1_010):
        list(pipeline.stream(images, 0.9))
        if round_number in (9, 1_009):
            with session.current():
                free.append(driver.mem_get_info()[0])
    assert free[1] >= free[0]


def test_closing_gives_everything_back(driver: Any) -> None:
    def one_life() -> int:
        session = GpuSession(driver)
        pipeline = Pipeline(session, EchoNetwork(session, (640, 640), 16))
        list(pipeline.stream(frames(20), 0.9))
        pipeline.close()
        session.close()
        session.close()
        with pytest.raises(EngineUnavailable, match="closed"):
            list(pipeline.stream(frames(1), 0.9))
        assert session.held_bytes == 0
        probe = GpuSession(driver)
        with probe.current():
            free = int(driver.mem_get_info()[0])
        probe.close()
        return free

    one_life()
    free = [one_life() for _ in range(20)]
    assert free[-1] >= free[0]


@pytest.mark.parametrize("wrong", [np.zeros((4, 4), np.float32), np.zeros((4, 4, 2), np.uint8)])
def test_a_wrong_image_in_the_middle_harms_nobody_else(session: GpuSession, wrong: NDArray[Any]) -> None:
    pipeline = Pipeline(session, EchoNetwork(session, SIZE, 2))
    images = frames(6)
    for _ in range(5):
        with pytest.raises(ValueError, match="an image is uint8"):
            list(pipeline.stream([*images[:5], wrong, *images], 0.5))
        check(list(pipeline.stream(images, 0.5)), images, 0.5)


def test_a_caller_who_stops_halfway_gives_his_slots_back(session: GpuSession) -> None:
    pipeline = Pipeline(session, EchoNetwork(session, SIZE, 2))
    images = frames(9)
    for _ in range(5):
        next(pipeline.stream(images, 0.5))
    check(list(pipeline.stream(images, 0.5)), images, 0.5)


def test_nonsense_from_the_network_is_an_error_each_time(session: GpuSession) -> None:
    network = EchoNetwork(session, SIZE, 2, poison=float("nan"))
    pipeline = Pipeline(session, network)
    for _ in range(4):
        with pytest.raises(EngineUnavailable, match="NaN or infinity"):
            list(pipeline.stream(frames(7), 0.5))
    network.poison = None
    images = frames(7)
    check(list(pipeline.stream(images, 0.5)), images, 0.5)


def test_frames_larger_than_the_staging_area_go_alone(session: GpuSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gistline.detection.gpu_pipeline.STAGING_BYTES", 10_000)
    pipeline = Pipeline(session, EchoNetwork(session, SIZE, 8))
    images = frames(20)
    check(list(pipeline.stream(images, 0.5)), images, 0.5)


def test_memory_that_does_not_suffice_is_said(session: GpuSession) -> None:
    with pytest.raises(EngineUnavailable, match="used up") as caught, session.current():
        session.device_block(2**50)
    assert "max_batch" in caught.value.cure
    pipeline = Pipeline(session, EchoNetwork(session, SIZE, 2))
    images = frames(3)
    check(list(pipeline.stream(images, 0.5)), images, 0.5)


def test_a_gpu_that_does_not_exist_is_said(driver: Any) -> None:
    with pytest.raises(EngineUnavailable, match="GPU 99 was asked for"):
        GpuSession(driver, 99)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_is_told_to_open_its_own(session: GpuSession) -> None:
    pipeline = Pipeline(session, EchoNetwork(session, SIZE, 2))
    list(pipeline.stream(frames(3), 0.5))
    child = os.fork()
    if child == 0:
        os._exit(_refused_after_a_fork(pipeline, session))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    images = frames(3)
    check(list(pipeline.stream(images, 0.5)), images, 0.5)


def _refused_after_a_fork(pipeline: Pipeline, session: GpuSession) -> int:
    """0 when the child is refused with the reason; ``close`` there touches nothing."""
    calls: list[Iterator[Candidates]] = [pipeline.stream(frames(1), 0.5)]
    for call in calls:
        try:
            next(call)
        except EngineUnavailable as error:
            session.close()
            return 0 if "fork" in str(error) else 2
    return 1
