from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import helper

from gistline.detection.layouts import Layout, LayoutKind
from gistline.detection.model_file import adopt, bundled_path, load_model, read_content, read_model
from gistline.detection.understanding import Wishes
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
    "names",
    ["open, short", "{}", "{0: 'a', 2: 'b'}", "[1, 2, 3]", "{'x': 'a'}", "__import__('os')", "3", "['']", "['a', 'a']"],
)
def test_unreadable_class_names_are_quoted(tmp_path: Path, names: str) -> None:
    with pytest.raises(ModelRejected, match="names = ") as refused:
        read_model(spot_detector(tmp_path / "m.onnx", metadata={"names": names}))
    assert "--labels" in refused.value.cure


def test_no_class_names_at_all(tmp_path: Path) -> None:
    with pytest.raises(ModelRejected, match=r"does not name its classes; it answers output0 float \[batch, 7, anch"):
        read_model(spot_detector(tmp_path / "m.onnx", metadata={"names": ""}))


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

    with pytest.raises(ModelRejected, match=rf"takes images float \[batch, {channels}, 128, 128\]"):
        read_model(edited(spot_detector(tmp_path / "m.onnx"), change))


def with_open_height(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"


def test_dynamic_height_needs_a_size(tmp_path: Path) -> None:
    path = edited(spot_detector(tmp_path / "m.onnx", metadata={"imgsz": "?"}), with_open_height)
    with pytest.raises(ModelRejected, match=r"\[batch, 3, height, 128\] and does not say") as refused:
        read_model(path)
    assert "--size" in refused.value.cure
    model = adopt("m.onnx", path.read_bytes(), Wishes(size=(128, 128))).model
    assert read_content("m.onnx", model.content).input_size == (128, 128)


@pytest.mark.parametrize(("imgsz", "size"), [("[128, 128]", (128, 128)), ("(96, 128)", (96, 128)), ("128", (128, 128))])
def test_dynamic_height_with_the_size_in_the_metadata(tmp_path: Path, imgsz: str, size: tuple[int, int]) -> None:
    path = edited(spot_detector(tmp_path / "m.onnx", metadata={"imgsz": imgsz}), with_open_height)
    assert read_model(path).input_size == size


def test_size_that_the_file_does_not_take(tmp_path: Path) -> None:
    path = spot_detector(tmp_path / "m.onnx")
    with pytest.raises(ModelRejected, match="not 64 x 64"):
        adopt("m.onnx", path.read_bytes(), Wishes(size=(64, 64)))


def test_pixels_as_bytes(tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8

    with pytest.raises(ModelRejected, match="takes images uint8") as refused:
        read_model(edited(spot_detector(tmp_path / "m.onnx"), change))
    assert "float32 or float16" in refused.value.cure


@pytest.mark.parametrize("task", ["segment", "pose", "obb", "classify"])
def test_other_tasks(tmp_path: Path, task: str) -> None:
    with pytest.raises(ModelRejected, match=f"task = '{task}'"):
        read_model(spot_detector(tmp_path / "m.onnx", metadata={"task": task}))


def test_unknown_layout_in_the_metadata(tmp_path: Path) -> None:
    with pytest.raises(ModelRejected, match=r"gistline\.layout = 'v99'") as refused:
        read_model(spot_detector(tmp_path / "m.onnx", metadata={"gistline.layout": "v99"}))
    assert "v10" in refused.value.cure


def test_layout_in_the_metadata_that_does_not_fit(tmp_path: Path) -> None:
    with pytest.raises(ModelRejected, match=r"does not fit 3 classes and is to be read as YOLOv5/v7"):
        read_model(spot_detector(tmp_path / "m.onnx", metadata={"gistline.layout": "v5"}))


@pytest.mark.parametrize("count", [2, 4])
def test_labels_that_do_not_match_those_in_the_file(tmp_path: Path, count: int) -> None:
    content = spot_detector(tmp_path / "m.onnx").read_bytes()
    with pytest.raises(ModelRejected, match=rf"names 3 classes itself \(red, green, blue\), and {count} labels"):
        adopt("m.onnx", content, Wishes(labels=tuple("abcd"[:count])))


def test_labels_for_the_bundled_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelRejected, match=r"detection\.labels is set and detection\.model is not"):
        load_model(DetectionSettings(labels=str(tmp_path / "labels.yaml")))


def answering(*outputs: tuple[str, list[int | str]]) -> Callable[[onnx.ModelProto], None]:
    """Other outputs, as declared; refusals of their shapes need no graph that computes them."""

    def change(model: onnx.ModelProto) -> None:
        del model.graph.output[:]
        for name, shape in outputs:
            model.graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))

    return change


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        ([("a", [1, 3, 80, 80, 8])], r"a float \[1, 3, 80, 80, 8\]: heads that are not decoded"),
        ([(name, [1, 3, side, side, 8]) for name, side in (("a", 80), ("b", 40), ("c", 20))], "c float .*not decoded"),
        (
            [("num_dets", [1, 1]), ("det_boxes", [1, 100, 4]), ("det_scores", [1, 100]), ("det_classes", [1, 100])],
            r"det_boxes float \[1, 100, 4\].*as a plugin",
        ),
        ([("output", ["n", 7])], r"output float \[n, 7\]: the boxes of all images in one table"),
        ([("output", [1, 1000])], r"\[1, 1000\]: one row an image, as classification does"),
        ([("output0", [1, 39, 8400]), ("output1", [1, 32, 160, 160])], "boxes and masks, as segmentation does"),
        ([("output0", [1, 39, 8400])], r"\[1, 39, 8400\] does not fit 3 classes \(.*35 as YOLOv8.*segmentation"),
        ([("output0", [1, 8, 8400])], r"\[1, 8, 8400\] does not fit 3 classes \(by its shape: 4 as YOLOv8"),
        ([("output0", [1, 25200, 9])], r"does not fit 3 classes \(by its shape: 4 as YOLOv5/v7"),
        ([("a", [1, 7, 8400]), ("b", [1, 7, 8400])], "answers a float .*, b float"),
        ([("a", [1, 9, 8400]), ("b", [1, 10, 8400])], "none of them fits 3 classes"),
        ([], "answers nothing"),
    ],
)
def test_outputs_that_are_not_understood(tmp_path: Path, outputs: list[tuple[str, list[int | str]]], said: str) -> None:
    with pytest.raises(ModelRejected, match=rf"m\.onnx: (It|The output).*{said}"):
        read_model(edited(spot_detector(tmp_path / "m.onnx"), answering(*outputs)))


def test_one_of_two_outputs_is_named(tmp_path: Path) -> None:
    two = answering(("main", [1, 7, 8400]), ("aux", [1, 7, 8400]))
    content = edited(spot_detector(tmp_path / "m.onnx"), two).read_bytes()
    with pytest.raises(ModelRejected) as refused:
        adopt("m.onnx", content, Wishes())
    assert "--output main or aux" in refused.value.cure
    with pytest.raises(ModelRejected, match="no output 'third'"):
        adopt("m.onnx", content, Wishes(output="third"))
    kept = onnx.load_model_from_string(adopt("m.onnx", content, Wishes(output="main")).model.content)
    assert [value.name for value in kept.graph.output] == ["main"]


def test_metadata_of_the_exporter_stays(tmp_path: Path) -> None:
    path = spot_detector(tmp_path / "m.onnx", metadata={"author": "somebody", "names": ""})
    model = adopt("m.onnx", path.read_bytes(), Wishes(labels=COLOURS)).model
    kept = {entry.key: entry.value for entry in onnx.load_model_from_string(model.content).metadata_props}
    assert (kept["author"], kept["stride"], kept["gistline.layout"]) == ("somebody", "32", "v8")


def test_end_to_end_in_the_metadata_settles_a_doubt(tmp_path: Path) -> None:
    """One class: six values are box, objectness and score, or box, score and class."""
    doubtful = edited(spot_detector(tmp_path / "m.onnx", metadata={"names": "['a']"}), answering(("o", [1, 1500, 6])))
    with pytest.raises(ModelRejected, match=r"\[1, 1500, 6\] may be YOLOv5/v7 .* or YOLOv10/26"):
        read_model(doubtful)
    told = spot_detector(tmp_path / "m.onnx", metadata={"names": "['a']", "end2end": "True"})
    assert read_model(edited(told, answering(("o", [1, 1500, 6])))).layout.kind is LayoutKind.END_TO_END


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
