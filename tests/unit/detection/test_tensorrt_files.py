"""Engines on disk: found for exactly their key, turned down for any other."""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gistline.detection.tensorrt_files import EngineKey, EngineStore, write_atomically
from gistline.errors import EngineUnavailable

KEY = EngineKey(
    model="pcb v2.onnx",
    model_sha256="ab" * 32,
    calibration="",
    gpu="NVIDIA H100 80GB HBM3",
    capability=(9, 0),
    tensorrt="11.4.0.106",
    max_batch=32,
    opt_batch=32,
    workspace_mb=4096,
    builder_level=3,
    version_compatible=False,
)
OTHERS: list[dict[str, Any]] = [
    {"model_sha256": "cd" * 32},
    {"calibration": "ef" * 32},
    {"gpu": "NVIDIA A100"},
    {"capability": (8, 0)},
    {"tensorrt": "11.5.0.1"},
    {"max_batch": 16},
    {"opt_batch": 8},
    {"workspace_mb": 512},
    {"builder_level": 5},
    {"version_compatible": True},
]


def test_a_saved_engine_is_found_again(tmp_path: Path) -> None:
    store = EngineStore(tmp_path / "new" / "folder")
    assert store.find(KEY) is None
    path = store.save(KEY, b"plan", seconds=3)
    assert store.find(KEY) == b"plan"
    assert path.name.startswith("pcb_v2-NVIDIA_H100_80GB_HBM3-sm90-trt11.4.0.106-b32-")
    assert json.loads(path.with_suffix(".json").read_text())["notes"] == {"seconds": 3}


def test_the_model_s_name_does_not_matter(tmp_path: Path) -> None:
    assert replace(KEY, model="other.onnx").facts == KEY.facts


@pytest.mark.parametrize("other", OTHERS, ids=lambda other: next(iter(other)))
def test_an_engine_of_another_key_is_not_found(tmp_path: Path, other: dict[str, Any]) -> None:
    store = EngineStore(tmp_path)
    store.save(KEY, b"plan")
    assert store.find(replace(KEY, **other)) is None


@pytest.mark.parametrize("other", OTHERS, ids=lambda other: next(iter(other)))
def test_nor_under_a_name_that_somebody_gave_it(
    tmp_path: Path, other: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    store, wanted = EngineStore(tmp_path), replace(KEY, **other)
    found = store.save(KEY, b"plan")
    for suffix in (".engine", ".json"):
        found.with_suffix(suffix).rename(store.path(wanted).with_suffix(suffix))
    with caplog.at_level(logging.WARNING):
        assert store.find(wanted) is None
    assert next(iter(other)) in caplog.text.partition("is built again: other ")[2]


def test_a_version_compatible_engine_fits_its_major_version(tmp_path: Path) -> None:
    store = EngineStore(tmp_path)
    wide = replace(KEY, version_compatible=True)
    store.save(wide, b"plan")
    assert store.find(replace(wide, tensorrt="11.0.0.114")) == b"plan"
    assert store.find(replace(wide, tensorrt="10.16.1.11")) is None


@pytest.mark.parametrize("harm", ["truncated", "sidecar gone", "sidecar torn", "sidecar no table", "sidecar of others"])
def test_a_damaged_engine_is_turned_down_aloud(tmp_path: Path, harm: str, caplog: pytest.LogCaptureFixture) -> None:
    store = EngineStore(tmp_path)
    path = store.save(KEY, b"plan")
    sidecar = path.with_suffix(".json")
    if harm == "truncated":
        path.write_bytes(b"pla")
    elif harm == "sidecar gone":
        sidecar.unlink()
    else:
        sidecar.write_text({"torn": '{"gpu": "NV', "no table": "[]", "of others": "{}"}[harm.partition(" ")[2]])
    assert store.find(KEY) is None
    assert "is built again" in caplog.text
    store.save(KEY, b"plan")
    assert store.find(KEY) == b"plan"


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gistline.detection.tensorrt_files.os.fsync", full)
    with pytest.raises(EngineUnavailable, match="No space left") as caught:
        write_atomically(path, b"new")
    assert "cache_dir" in caught.value.cure
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = EngineStore(tmp_path / "file" / "folder")
    with pytest.raises(EngineUnavailable, match="cannot be written to"), store.building(KEY):
        pass


def test_one_builds_and_the_others_wait(tmp_path: Path) -> None:
    store, order = EngineStore(tmp_path), list[str]()

    def second() -> None:
        with store.building(KEY):
            order.append("second")

    with store.building(KEY):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_caches_are_kept_apart(tmp_path: Path) -> None:
    store = EngineStore(tmp_path)
    assert store.timing_cache(KEY) != store.timing_cache(replace(KEY, gpu="NVIDIA A100"))
    assert store.timing_cache(KEY) == store.timing_cache(replace(KEY, model_sha256="cd" * 32))
    assert store.calibration_cache(KEY) != store.calibration_cache(replace(KEY, calibration="ef" * 32))
    assert store.calibration_cache(KEY) != store.calibration_cache(replace(KEY, model_sha256="cd" * 32))
