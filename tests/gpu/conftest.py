"""A real GPU for the tests, or the reason why there is none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

from gistline.detection.gpu_buffers import GpuSession
from gistline.errors import EngineUnavailable


@pytest.fixture(scope="session")
def driver() -> Any:
    """``pycuda.driver`` on a machine that has a GPU; skips the test elsewhere."""
    try:
        found = import_module("pycuda.driver")
    except ImportError as error:
        pytest.skip(f"no PyCUDA: {error}")
    try:
        found.init()
    except found.Error as error:
        pytest.skip(f"no CUDA device: {error}")
    return found


@pytest.fixture
def session(driver: Any) -> Iterator[GpuSession]:
    """A session of its own for the test."""
    opened = GpuSession(driver, int(os.environ.get("TEST_GPU", "0")))
    yield opened
    opened.close()
    with pytest.raises(EngineUnavailable, match="closed"), opened.current():
        pass
