"""One model for one GPU: built once, loaded afterwards, turned down for a reason."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gistline.detection.gpu_buffers import GpuSession
from gistline.detection.model_file import ModelFile
from gistline.detection.tensorrt_api import LogBook, read_features
from gistline.detection.tensorrt_calibrator import Calibration
from gistline.detection.tensorrt_network import TensorRtNetwork
from gistline.detection.tensorrt_order import Bench, Order
from gistline.errors import EngineUnavailable, HardwareUnfit, ModelRejected
from gistline.settings import TensorRtSettings
from tests.support.tensorrt_names import RELEASES
from tests.support.twin_cuda import TwinDriver
from tests.support.twin_tensorrt import TwinTensorRt
from tests.unit.detection.test_tensorrt_api import MODEL, QUANTISED

Make = Callable[..., Order]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """An order for a twin of a release; ``driver`` is its GPU."""

    def made(
        twin: TwinTensorRt, *, driver: TwinDriver | None = None, model: ModelFile = QUANTISED, **more: Any
    ) -> Order:
        bench = Bench(twin, GpuSession(driver or TwinDriver()), read_features(twin), LogBook())
        settings = TensorRtSettings(cache_dir=tmp_path, **more.pop("settings", {}))
        return Order(bench, model, settings, **more)

    return made


def load(order: Order) -> TensorRtNetwork:
    with order.bench.session.current():
        return order.network(lambda share, phase: None)


@pytest.mark.parametrize("release", RELEASES)
def test_built_once_then_loaded(make: Make, release: str) -> None:
    builds = []
    for _ in range(3):
        network = load(make(twin := TwinTensorRt(release)))
        assert (network.layout.predictions, network.max_batch) == (84, 32)
        builds.append(twin.builds)
    assert builds == [1, 0, 0]


@pytest.mark.parametrize("release", RELEASES)
def test_what_runs_is_read_from_the_engine(make: Make, release: str) -> None:
    order = make(TwinTensorRt(release))
    info = order.info(load(order))
    assert (info.precision, info.int8_convolutions, info.convolutions) == ("INT8", 3, 4)
    assert info.layer_precisions == (("INT8", 3), ("FP16", 1))
    assert (info.runtime, info.device) == (f"TensorRT {release}", "NVIDIA H100 80GB HBM3")


def test_an_engine_that_cannot_be_loaded_is_built_again(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    load(make(TwinTensorRt("11.4.0.106")))
    twin = TwinTensorRt("11.4.0.106", fails="load 1")
    twin.builds = 1
    assert load(make(twin)).layers.int8 == 3
    assert twin.builds == 2
    assert "is built again: serialised by another driver" in caplog.text


def test_one_that_never_can_is_an_error(make: Make) -> None:
    twin = TwinTensorRt("11.4.0.106", fails="load 1")
    order = make(twin)
    order.store.save(order.key, b'{"build": 1}')
    twin.builds = 0
    with pytest.raises(EngineUnavailable, match="does not load the engine that it built"):
        load(order)


def test_an_int8_engine_in_name_only_is_refused(make: Make) -> None:
    twin = TwinTensorRt("11.4.0.106")
    twin.layers = [{"LayerType": "CaskConvolution", "Inputs": [{"Format/Datatype": "Half"}]}] * 4
    with pytest.raises(ModelRejected, match=r"holds 3 quantised convolutions, of which .* runs only 0 in INT8"):
        load(make(twin))
    assert load(make(twin, model=MODEL)).layers.convolutions == (("FP16", 4),)


def test_the_hardware_is_looked_at_before_a_build(make: Make) -> None:
    old = TwinDriver("Tesla P100", (6, 0))
    with pytest.raises(HardwareUnfit, match="no INT8 arithmetic"):
        load(make(TwinTensorRt("8.6.1"), driver=old))
    with pytest.raises(HardwareUnfit, match=r"starts at compute capability 7\.5"):
        load(make(TwinTensorRt("11.4.0.106"), driver=old))
    assert load(make(TwinTensorRt("8.6.1"), driver=old, force=True)).layers.count == 4


def test_fp16_is_left_out_where_it_is_no_use(make: Make) -> None:
    twin = TwinTensorRt("8.6.1")
    load(make(twin, driver=TwinDriver("GeForce GTX 1080", (6, 1))))
    assert twin.notes["flags"] == ["INT8"]


def test_the_lean_runtime_loads_and_does_not_build(make: Make) -> None:
    settings = {"version_compatible": True}
    load(make(TwinTensorRt("11.4.0.106"), settings=settings))
    lean = TwinTensorRt("11.4.0.106")
    del lean.Builder, lean.OnnxParser, lean.EngineInspector
    order = make(lean, settings=settings)
    network = load(order)
    assert order.info(network).layer_precisions == ()
    with pytest.raises(EngineUnavailable, match=r"lean runtime .* builds nothing"):
        load(make(lean, settings={**settings, "max_batch": 2}))


def test_images_calibrate_and_belong_to_the_key(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    images = [np.full((20, 20), level, np.uint8) for level in range(5)]
    keys = set()
    for calibration in (Calibration(images, 2), Calibration(images[:4], 2)):
        order = make(twin := TwinTensorRt("8.6.1"), model=MODEL, calibration=calibration)
        load(order)
        keys.add(order.key.name)
        assert len(twin.notes["batches"]) == -(-len(calibration.images) // 2)
        assert order.store.calibration_cache(order.key).read_bytes() == b"scales"
    assert len(keys) == 2


def test_queueing_a_batch(make: Make) -> None:
    network = load(make(twin := TwinTensorRt("11.4.0.106")))
    stream: Any = SimpleNamespace(handle=99)
    for batch in (4, 4, 1):
        network.enqueue(batch, 0x100, 0x200, stream)
    assert twin.notes["context"]["calls"] == [(4, 256, 512, 99), (4, 256, 512, 99), (1, 256, 512, 99)]


def test_a_batch_of_its_own_is_always_whole(make: Make) -> None:
    twin = TwinTensorRt("11.4.0.106", shape=(8, 3, 64, 64))
    network = load(make(twin, model=replace(QUANTISED, max_batch=8)))
    assert network.max_batch == 8
    network.enqueue(3, 1, 2, SimpleNamespace(handle=0))
    assert twin.notes["context"]["calls"] == [(8, 1, 2, 0)]


@pytest.mark.parametrize(
    ("fails", "said"), [("context", "no execution context"), ("shape", "does not take 32 images at once")]
)
def test_an_engine_that_cannot_be_set_up(make: Make, fails: str, said: str) -> None:
    with pytest.raises(EngineUnavailable, match=said):
        load(make(TwinTensorRt("11.4.0.106", fails=fails)))


def test_an_inference_that_does_not_start(make: Make) -> None:
    network = load(make(TwinTensorRt("11.4.0.106", fails="run")))
    with pytest.raises(EngineUnavailable, match="failed to start an inference"):
        network.enqueue(1, 1, 2, SimpleNamespace(handle=0))


def test_an_engine_that_answers_something_else(make: Make) -> None:
    twin = TwinTensorRt("11.4.0.106")
    twin.answers = (11, 84)
    with pytest.raises(ModelRejected, match=r"answers \[32, 11, 84\]"):
        load(make(twin))


def test_advice_that_does_not_stop_is_logged(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        load(make(TwinTensorRt("11.4.0.106")))
    assert "FP8" in caplog.text
