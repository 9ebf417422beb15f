"""What becomes of the pipeline's two slots when something fails, on a driver that is no GPU."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gistline.detection import gpu_pipeline
from gistline.detection.gpu_buffers import GpuSession
from gistline.detection.gpu_pipeline import SLOTS, Pipeline
from gistline.detection.layouts import Layout, LayoutKind
from tests.support.twin_cuda import TwinDriver

IMAGE = np.zeros((64, 64, 3), np.uint8)


class Broken:
    """A network that fails in a way that no runtime is known for."""

    layout = Layout(LayoutKind.ANCHOR_FREE, 2, 84)
    input_size = (64, 64)
    max_batch = 1
    float16_in = float16_out = False

    def enqueue(self, *_: Any) -> None:
        raise LookupError("as planned")


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    monkeypatch.setattr(gpu_pipeline, "Kernels", lambda *_, **__: SimpleNamespace(letterbox=lambda *_, **__: None))
    session = GpuSession(TwinDriver())
    made = Pipeline(session, Broken())
    yield made
    made.close()
    session.close()


def test_a_failure_of_any_kind_costs_no_slot(pipeline: Pipeline) -> None:
    for _ in range(SLOTS + 1):  # the last would wait for ever
        with pytest.raises(LookupError):
            list(pipeline.stream([IMAGE], 0.5))
