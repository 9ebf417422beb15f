from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from gistline.detection.layouts import Layout, LayoutKind
from gistline.detection.model_file import bundled_path, load_model, read_model
from gistline.errors import ModelRejected
from gistline.settings import DetectionSettings
from tests.support.onnx_models import COLOURS, spot_detector, yolo


def edited(path: Path, change: Callable[[onnx.ModelProto], object]) -> Path:
    model = onnx.load(str(path))
    change(model)
    onnx.save(model, str(path))
    return path


def test_facts_of_a_good_file(tmp_path: Path) -> None:
    path = spot_detector(tmp_path / "spots.onnx", input_size=(128, 96))
    model = read_model(path)
    assert (model.name, model.labels, model.input_size) == ("spots.onnx", COLOURS, (128, 96))
    assert (model.convolutions, model.quantised_convolutions) == (1, 0)
    assert model.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert read_model(yolo(tmp_path / "yolo.onnx")).convolutions == 63


def test_settings_name_the_file(tmp_path: Path) -> None:
    path = spot_detector(tmp_path / "spots.onnx")
    assert load_model(DetectionSettings(model=str(path))).labels == COLOURS


@pytest.mark.parametrize("names", ["{0: 'a', 1: 'b', 2: 'c'}", "['a', 'b', 'c']", '{"0": "a", "2": "c", "1": "b"}'])
def test_ways_to_write_class_names(tmp_path: Path, names: str) -> None:
    assert read_model(spot_detector(tmp_path / "m.onnx", metadata={"names": names})).labels == ("a", "b", "c")


@pytest.mark.parametrize(
    "names", ["", "open, short", "{}", "{0: 'a', 2: 'b'}", "[1, 2, 3]", "{'x': 'a'}", "__import__('os')", "3", "['']"]
)
def test_unreadable_class_names_are_quoted(tmp_path: Path, names: str) -> None:
    with pytest.raises(ModelRejected, match="names = ") as refused:
        read_model(spot_detector(tmp_path / "m.onnx", metadata={"names": names}))
    assert "ultralytics" in refused.value.cure


def test_wrong_number_of_classes(tmp_path: Path) -> None:
    with pytest.raises(ModelRejected, match=r"\[batch, 7, anchors\] does not fit 2 classes.*3 as YOLOv8"):
        read_model(spot_detector(tmp_path / "m.onnx", metadata={"names": "['a', 'b']"}))


def test_layout_is_recognised(tmp_path: Path) -> None:
    model = read_model(spot_detector(tmp_path / "m.onnx"))
    assert model.layout == Layout(LayoutKind.ANCHOR_FREE, classes=3)
    assert (model.max_batch, model.float16) == (None, False)


@pytest.mark.parametrize("channels", [1, 4])
def test_other_channels(tmp_path: Path, channels: int) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = channels

    with pytest.raises(ModelRejected, match=rf"takes images float \['batch', {channels}, 128, 128\]"):
        read_model(edited(spot_detector(tmp_path / "m.onnx"), change))


def test_dynamic_height(tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"

    with pytest.raises(ModelRejected, match="'height'"):
        read_model(edited(spot_detector(tmp_path / "m.onnx"), change))


def test_half_precision_input(tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16

    with pytest.raises(ModelRejected, match="float16"):
        read_model(edited(spot_detector(tmp_path / "m.onnx"), change))


def test_weights_in_other_files(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    model = onnx.load(str(spot_detector(path)))
    onnx.save(model, str(path), save_as_external_data=True, location="weights.bin", size_threshold=0)
    with pytest.raises(ModelRejected, match="other files"):
        read_model(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a zip, not a model", b"\x00" * 100])
def test_other_bytes(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelRejected, match=f"{len(content)} bytes"):
        read_model(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelRejected, match="No such file"):
        load_model(DetectionSettings(model=str(tmp_path / "absent.onnx")))
    with pytest.raises(ModelRejected, match="directory"):
        read_model(tmp_path)


def test_unknown_precision_of_the_bundled_model() -> None:
    with pytest.raises(ModelRejected, match="int4"):
        bundled_path("int4")
