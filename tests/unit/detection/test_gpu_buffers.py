"""What a session holds and gives back, on a driver whose GPU is this machine's memory."""

from __future__ import annotations

import os

import numpy as np
import pytest

from gistline.detection.gpu_buffers import GpuSession, GrowingBuffer
from gistline.errors import EngineUnavailable
from tests.support.twin_cuda import TwinDriver, TwinError


@pytest.fixture
def driver() -> TwinDriver:
    return TwinDriver()


def test_closing_frees_everything_once(driver: TwinDriver) -> None:
    session = GpuSession(driver)
    with session.current():
        session.device_block(1000)
        session.pinned_block(500)
        block = session.device_block(24)
        assert (driver.used, driver.pinned, session.held_bytes) == (1024, 500, 1024)
        session.release(block)
        session.release(block)
        assert driver.used == 1000
    assert driver.stack == []
    session.close()
    session.close()
    assert (driver.used, driver.pinned, driver.contexts, driver.stack) == (0, 0, 0, [])
    assert not session.is_open


def test_use_after_close_is_refused(driver: TwinDriver) -> None:
    session = GpuSession(driver)
    session.close()
    with pytest.raises(EngineUnavailable, match="was closed"), session.current():
        pass


def test_a_child_of_a_fork_is_refused_and_touches_nothing(driver: TwinDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    session = GpuSession(driver)
    with session.current():
        session.device_block(8)
    own = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: own + 1)
    with pytest.raises(EngineUnavailable, match="before this process was forked") as caught, session.current():
        pass
    assert "in the process that uses it" in caught.value.cure
    session.close()
    assert (driver.used, driver.contexts) == (8, 1)


def test_the_context_is_left_whatever_happens_inside(driver: TwinDriver) -> None:
    session = GpuSession(driver)
    for raised, seen in (
        (TwinError("illegal address"), EngineUnavailable),
        (ValueError("ours"), ValueError),
        (EngineUnavailable("ours"), EngineUnavailable),
    ):
        with pytest.raises(seen), session.current(), session.current():
            raise raised
        assert driver.stack == []


def test_memory_that_does_not_suffice_says_how_much_is_held(driver: TwinDriver) -> None:
    session = GpuSession(driver)
    driver.total = 2**20
    with session.current():
        session.device_block(2**20)
    with pytest.raises(EngineUnavailable, match=r"used up \(held here: 1 MiB\)") as caught, session.current():
        session.device_block(1)
    assert "max_batch" in caught.value.cure


def test_a_gpu_that_is_not_there(driver: TwinDriver) -> None:
    with pytest.raises(EngineUnavailable, match="GPU 3 was asked for and the driver shows 1"):
        GpuSession(driver, 3)


def test_a_buffer_grows_and_holds_one_block(driver: TwinDriver) -> None:
    session = GpuSession(driver)
    buffer = GrowingBuffer(session)
    with session.current():
        sizes = []
        for wanted in (100, 50, 120, 1000):
            assert buffer.at_least(wanted).size >= wanted
            sizes.append(driver.used)
    assert sizes == [100, 100, 150, 1000]


def test_pinned_memory_is_seen_as_any_type(driver: TwinDriver) -> None:
    session = GpuSession(driver)
    with session.current():
        block = GrowingBuffer(session, pinned=True).at_least(64)
    view = block.view(np.float32, 3)
    view[...] = 1.5
    assert (view.nbytes, block.view(np.float32, 3).tolist()) == (12, [1.5] * 3)
