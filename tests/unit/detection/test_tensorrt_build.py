"""Builds of every release, in a TensorRT that has that release's names and no others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gistline.detection.tensorrt_api import LogBook, choose_typing, read_features
from gistline.detection.tensorrt_build import Calibrating, Recipe, build_plan
from gistline.detection.tensorrt_calibrator import Calibration, CalibrationCache, Feeder
from gistline.errors import EngineUnavailable, ModelRejected
from gistline.settings import TensorRtSettings
from tests.support.tensorrt_names import RELEASES
from tests.support.twin_tensorrt import TwinTensorRt
from tests.unit.detection.test_tensorrt_api import HALF, MODEL, QUANTISED


def recipe(twin: TwinTensorRt, folder: Path, **more: Any) -> Recipe:
    features = read_features(twin)
    model = more.pop("model", QUANTISED)
    typing = choose_typing(features, model, calibrated=more.pop("calibrated", False))
    return Recipe(model, TensorRtSettings(**more), features, typing, folder / "timing")


def build(twin: TwinTensorRt, made: Recipe, calibrating: Calibrating | None = None) -> list[tuple[float, str]]:
    told: list[tuple[float, str]] = []
    plan = build_plan(twin, made, LogBook(), progress=lambda *one: told.append(one), calibrating=calibrating)
    assert plan
    return told


@pytest.mark.parametrize("release", RELEASES)
def test_a_network_of_any_batch_gets_a_profile(release: str, tmp_path: Path) -> None:
    twin = TwinTensorRt(release)
    build(twin, recipe(twin, tmp_path, max_batch=16, opt_batch=4, workspace_mb=512, builder_level=5))
    shapes = [(batch, 3, 64, 64) for batch in (1, 4, 16)]
    assert twin.notes["profiles"] == [("images", *shapes)]
    assert twin.notes["pools"] == {"WORKSPACE": 512 * 2**20}
    assert (twin.notes["level"], twin.notes["verbosity"]) == (5, "DETAILED")


@pytest.mark.parametrize("release", RELEASES)
def test_a_batch_built_into_the_file_needs_none(release: str, tmp_path: Path) -> None:
    twin = TwinTensorRt(release, shape=(8, 3, 64, 64))
    made = recipe(twin, tmp_path, model=replace(QUANTISED, max_batch=8))
    assert made.batches == (8, 8, 8)
    build(twin, made)
    assert twin.notes["profiles"] == []


def test_the_usual_batch_is_never_above_the_most(tmp_path: Path) -> None:
    twin = TwinTensorRt("11.4.0.106")
    assert recipe(twin, tmp_path, max_batch=8, opt_batch=32).batches == (1, 8, 8)
    assert recipe(twin, tmp_path, max_batch=8).batches == (1, 8, 8)


@pytest.mark.parametrize(
    ("release", "model", "network", "flags"),
    [
        ("8.6.1", QUANTISED, ["EXPLICIT_BATCH"], ["INT8", "FP16"]),
        ("8.6.1", MODEL, ["EXPLICIT_BATCH"], ["FP16"]),
        ("10.0.1", QUANTISED, [], ["INT8", "FP16"]),
        ("10.0.1", HALF, ["STRONGLY_TYPED"], []),
        ("11.4.0.106", QUANTISED, ["STRONGLY_TYPED"], []),
        ("11.4.0.106", MODEL, ["STRONGLY_TYPED"], []),
    ],
)
def test_flags(release: str, model: Any, network: list[str], flags: list[str], tmp_path: Path) -> None:
    twin: Any = TwinTensorRt(release)
    build(twin, recipe(twin, tmp_path, model=model))
    kinds = twin.NetworkDefinitionCreationFlag
    assert twin.notes["network_flags"] == sum(1 << int(kinds[name]) for name in network)
    assert twin.notes["flags"] == flags


@pytest.mark.parametrize("release", RELEASES)
def test_version_compatible_leaves_the_runtime_out(release: str, tmp_path: Path) -> None:
    twin = TwinTensorRt(release)
    build(twin, recipe(twin, tmp_path, version_compatible=True))
    assert twin.notes["flags"][-2:] == ["VERSION_COMPATIBLE", "EXCLUDE_LEAN_RUNTIME"]


@pytest.mark.parametrize("release", RELEASES[1:])
def test_progress_is_told_and_never_falls(release: str, tmp_path: Path) -> None:
    twin = TwinTensorRt(release)
    told = build(twin, recipe(twin, tmp_path))
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert (0.25, "Tactics") in told


def test_a_release_without_a_monitor_tells_begin_and_end(tmp_path: Path) -> None:
    twin = TwinTensorRt("8.6.1")
    assert [share for share, _ in build(twin, recipe(twin, tmp_path))] == [0.0, 1.0]


def test_kernels_are_measured_once(tmp_path: Path) -> None:
    twin = TwinTensorRt("11.4.0.106")
    made = recipe(twin, tmp_path)
    build(twin, made)
    assert made.timing.read_bytes() == b"timing of "
    build(twin, made)
    assert made.timing.read_bytes() == b"timing of timing of "


def test_a_timing_cache_of_another_gpu_is_begun_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    twin = TwinTensorRt("11.4.0.106")
    made = recipe(twin, tmp_path)
    made.timing.write_bytes(b"of another GPU")
    build(twin, made)
    assert made.timing.read_bytes() == b"timing of "
    assert "begun anew" in caplog.text


@pytest.mark.parametrize("release", RELEASES)
def test_a_failed_build_says_tensorrt_s_reason(release: str, tmp_path: Path) -> None:
    twin = TwinTensorRt(release, fails="build")
    with pytest.raises(ModelRejected, match=r"built no engine of pcb\.onnx: no kernel for conv_4"):
        build(twin, recipe(twin, tmp_path))
    assert not (tmp_path / "timing").exists()


@pytest.mark.parametrize("release", RELEASES)
def test_a_file_that_is_not_understood_is_said_to_be_so(release: str, tmp_path: Path) -> None:
    twin = TwinTensorRt(release, fails="parse")
    with pytest.raises(ModelRejected, match=r"does not understand pcb\.onnx: no such operator \(node 4\)"):
        build(twin, recipe(twin, tmp_path))


def test_a_machine_that_makes_no_builder_is_said_to_be_so(tmp_path: Path) -> None:
    twin = TwinTensorRt("11.4.0.106", fails="builder")
    with pytest.raises(EngineUnavailable, match="makes no builder"):
        build(twin, recipe(twin, tmp_path))


@pytest.mark.parametrize("release", RELEASES[:3])
def test_the_calibrator_shows_every_image_and_keeps_its_scales(release: str, tmp_path: Path) -> None:
    shown: list[NDArray[np.float32]] = []

    def upload(batch: NDArray[np.float32]) -> int:
        shown.append(batch.copy())
        return 0x1000

    images = [np.full((64, 64, 3), level, np.uint8) for level in (0, 51, 102, 153, 204)]
    cache = CalibrationCache(tmp_path / "scales")

    def once() -> TwinTensorRt:
        twin = TwinTensorRt(release)
        feeder = Feeder(Calibration(images, batch=2), (64, 64), upload)
        made = recipe(twin, tmp_path, model=MODEL, calibrated=True, max_batch=16)
        build(twin, made, Calibrating(feeder, cache))
        return twin

    twin = once()
    assert twin.notes["batches"] == [0x1000] * 3
    assert twin.notes["calibration_profile"] == ("images", *[(2, 3, 64, 64)] * 3)
    assert twin.notes["profiles"][0][3] == (16, 3, 64, 64)
    assert twin.notes["flags"] == ["INT8", "FP16"]
    seen = [round(float(image.mean()) * 5) for batch in shown for image in batch]
    assert seen == [0, 1, 2, 3, 4, 0]
    assert cache.read() == b"scales"
    assert once().notes["batches"] == []
    assert len(shown) == 3
