"""What the rest of the product calls, where the two libraries are missing, and around twins of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from gistline.cli.main import run
from gistline.detection import tensorrt_engine
from gistline.detection.gpu_buffers import GpuSession
from gistline.detection.model_file import ModelFile
from gistline.detection.tensorrt_api import LogBook, read_features
from gistline.detection.tensorrt_engine import TensorRtEngine, available, build_engine_file, open_engine
from gistline.detection.tensorrt_order import Bench
from gistline.errors import EngineUnavailable, ModelRejected
from gistline.settings import DetectionSettings, TensorRtSettings
from tests.support.onnx_models import spot_detector
from tests.support.tensorrt_names import RELEASES
from tests.support.twin_cuda import TwinDriver
from tests.support.twin_tensorrt import TwinTensorRt
from tests.unit.detection.test_tensorrt_api import MODEL, QUANTISED


@pytest.fixture
def driver() -> TwinDriver:
    return TwinDriver()


def use(monkeypatch: pytest.MonkeyPatch, twin: TwinTensorRt, driver: TwinDriver) -> None:
    """Let the product find these in place of the libraries."""
    monkeypatch.setattr(
        tensorrt_engine,
        "open_bench",
        lambda settings: Bench(twin, GpuSession(driver, settings.device), read_features(twin), LogBook()),
    )


def build(model: ModelFile, folder: Path, **more: Any) -> tensorrt_engine.BuiltEngine:
    return build_engine_file(model, settings=TensorRtSettings(cache_dir=folder), progress=lambda *_: None, **more)


def test_without_the_libraries_the_reason_and_the_cure_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for missing in ("tensorrt", "tensorrt_lean", "pycuda", "pycuda.driver"):
        monkeypatch.setitem(sys.modules, missing, None)
    assert "TensorRT cannot be loaded" in (available() or "")
    with pytest.raises(EngineUnavailable, match="TensorRT cannot be loaded") as caught:
        open_engine(MODEL, DetectionSettings())
    assert caught.value.cure == "pip install 'gistline[gpu]'"
    wide = DetectionSettings(tensorrt=TensorRtSettings(version_compatible=True))
    with pytest.raises(EngineUnavailable, match="nor its lean runtime"):
        open_engine(MODEL, wide)


@pytest.mark.parametrize("release", RELEASES)
def test_a_build_is_kept_and_everything_given_back(
    release: str, driver: TwinDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, twin := TwinTensorRt(release), driver)
    first, second = build(QUANTISED, tmp_path), build(QUANTISED, tmp_path)
    assert (first.fresh, second.fresh, twin.builds) == (True, False, 1)
    assert first.path == second.path
    assert first.path.is_file()
    assert build(QUANTISED, tmp_path, force=True).fresh
    assert twin.builds == 2
    assert (driver.used, driver.pinned, driver.contexts, driver.stack) == (0, 0, 0, [])


def test_a_refused_build_gives_everything_back(
    driver: TwinDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, TwinTensorRt("11.4.0.106", fails="build"), driver)
    with pytest.raises(ModelRejected, match="no kernel for conv_4"):
        build(QUANTISED, tmp_path)
    assert not list(tmp_path.glob("*.engine"))
    assert (driver.used, driver.pinned, driver.contexts, driver.stack) == (0, 0, 0, [])


def test_an_engine_that_cannot_start_gives_everything_back(
    driver: TwinDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twin's driver takes no kernels, which is found out last."""
    use(monkeypatch, TwinTensorRt("11.4.0.106"), driver)
    with pytest.raises(EngineUnavailable, match=r"does not take the kernels of letterbox\.cu"):
        TensorRtEngine(QUANTISED, TensorRtSettings(cache_dir=tmp_path))
    assert (driver.used, driver.pinned, driver.contexts, driver.stack) == (0, 0, 0, [])


def test_a_runtime_that_cannot_be_made_is_said_and_gives_everything_back(
    driver: TwinDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, twin := TwinTensorRt("11.4.0.106"), driver)

    def refuse(_logger: object) -> object:
        raise TypeError("pybind11::init(): factory function returned nullptr")

    monkeypatch.setattr(twin, "Runtime", refuse)
    with pytest.raises(EngineUnavailable, match="makes no runtime here"):
        TensorRtEngine(QUANTISED, TensorRtSettings(cache_dir=tmp_path))
    assert (driver.used, driver.contexts, driver.stack) == (0, 0, [])


def test_a_worker_may_be_forbidden_to_build(
    driver: TwinDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, twin := TwinTensorRt("11.4.0.106"), driver)
    with pytest.raises(EngineUnavailable, match=r"No engine of pcb\.onnx was built for NVIDIA H100") as caught:
        TensorRtEngine(QUANTISED, TensorRtSettings(cache_dir=tmp_path, build_at_start=False))
    assert "gistline model build" in caught.value.cure
    assert (twin.builds, driver.contexts) == (0, 0)


def test_the_command_prints_what_was_built(
    driver: TwinDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(monkeypatch, twin := TwinTensorRt("8.6.1", shape=(-1, 3, 128, 128)), driver)
    twin.answers = (7, 16)
    model, frames = spot_detector(tmp_path / "spot.onnx"), tmp_path / "frames"
    frames.mkdir()
    for i in range(3):
        cv2.imwrite(str(frames / f"{i}.png"), np.full((40, 60, 3), 40 * i, np.uint8))
    command = ["--set", f"detection.tensorrt.cache_dir={tmp_path}", "model", "build", str(model), "--max-batch", "4"]
    assert run([*command, "--calibration", str(frames), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["info"]["layer_precisions"] == [["INT8", 3], ["FP16", 1]]
    assert told["fresh"] is True
    assert Path(told["path"]).is_file()
    assert len(twin.notes["batches"]) == 1
    assert run(command) == 0
    assert "INT8 convolutions  3 of 4" in capsys.readouterr().out
    assert twin.notes["profiles"][0][3] == (4, 3, 128, 128)


def test_the_command_without_the_libraries(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    if available() is None:
        pytest.skip("TensorRT and a GPU are here")
    assert run(["model", "build", str(spot_detector(tmp_path / "spot.onnx"))]) == 1
    assert "cannot be" in capsys.readouterr().err
