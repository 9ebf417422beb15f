"""Every layout, with every trait that exports differ in, from the file to boxes in pixels of the image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper

from gistline.detection.detector import Detector, open_detector, open_model
from gistline.detection.layouts import Layout, LayoutKind
from gistline.detection.model_file import ModelFile, adopt, read_content
from gistline.detection.openvino_engine import OpenVinoEngine
from gistline.detection.postprocess import Limits
from gistline.detection.understanding import Wishes
from gistline.domain import Box, Detection
from gistline.errors import EngineUnavailable, ModelRejected
from gistline.settings import DetectionSettings
from tests.support.onnx_models import COLOURS
from tests.support.spot_models import OBJECTNESS, Form, spots

KINDS = list(LayoutKind)
SETTINGS = DetectionSettings(runtime="openvino")


def lit(size: tuple[int, int], *cells: tuple[str, int, int], cell: int = 32) -> NDArray[np.uint8]:
    """Black with cells (colour, row, column) lit, each dimmer than the one before, so that their order is known."""
    image = np.zeros((*size, 3), np.uint8)
    for number, (colour, row, column) in enumerate(cells):
        square = image[cell * row : cell * (row + 1), cell * column : cell * (column + 1)]
        square[..., COLOURS.index(colour)] = 255 - 20 * number
    return image


def taken(path: Path, **wishes: object) -> ModelFile:
    return adopt(path.name, path.read_bytes(), Wishes(**wishes)).model  # type: ignore[arg-type]


def found_by(model: ModelFile, images: list[NDArray[np.uint8]]) -> list[list[Detection]]:
    with open_model(model, SETTINGS) as detector:
        detector.try_out(model.layout)
        return detector.detect(images)


FORMS: dict[str, Callable[[LayoutKind], Form]] = {
    "plain": Form,
    "not square": lambda kind: Form(kind, size=(96, 160)),
    "static batch 1": lambda kind: Form(kind, batch=1),
    "static batch 4, not square": lambda kind: Form(kind, batch=4, size=(64, 160)),
    "float16": lambda kind: Form(kind, half=True),
    "float16, static batch 2": lambda kind: Form(kind, half=True, batch=2),
    "dynamic sides with imgsz": lambda kind: Form(
        kind, size=(96, 160), sides=("height", "width"), metadata={"imgsz": "[96, 160]"}
    ),
    "shape left open": lambda kind: Form(kind, written=("batch", "first", "second")),
    "with heads beside": lambda kind: Form(kind, heads=3),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_known_boxes_come_out(tmp_path: Path, kind: LayoutKind, form: str) -> None:
    wanted = FORMS[form](kind)
    model = taken(spots(tmp_path / "m.onnx", wanted))
    assert model.layout.kind is kind
    assert model.input_size == wanted.size
    assert model.max_batch == (wanted.batch if isinstance(wanted.batch, int) else None)
    assert model.float16 == wanted.half
    image = lit(wanted.size, ("green", 1, 2), ("red", 0, 1), ("blue", 1, 0))
    empty = np.zeros_like(image)
    results = found_by(model, [image, empty, image, image, image])
    assert results[1] == []
    factor = OBJECTNESS if kind is LayoutKind.OBJECTNESS else 1
    for found in (results[0], *results[2:]):
        assert [one.label for one in found] == ["green", "red", "blue"]
        assert [one.box for one in found] == [Box(64, 32, 32, 32), Box(32, 0, 32, 32), Box(0, 32, 32, 32)]
        levels = [factor * level / 255 for level in (255, 235, 215)]
        assert [one.confidence for one in found] == pytest.approx(levels, abs=2e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_images_of_another_size_are_mapped_back(tmp_path: Path, kind: LayoutKind) -> None:
    """Twice the input's width; of its 128 rows the image fills 96, with 16 of grey above and below."""
    model = taken(spots(tmp_path / "m.onnx", Form(kind, size=(128, 160))))
    wide = np.zeros((192, 320, 3), np.uint8)
    wide[32:96, 64:128, 0] = 255
    [row] = found_by(model, [wide])
    assert (row[0].label, row[0].box) == ("red", Box(64, 32, 64, 64))


@pytest.mark.parametrize("kind", [LayoutKind.ANCHOR_FREE, LayoutKind.OBJECTNESS])
def test_exchanged_axes_are_turned(tmp_path: Path, kind: LayoutKind) -> None:
    path = spots(tmp_path / "m.onnx", Form(kind, transposed=True))
    model = taken(path, layout=kind)
    assert model.layout == Layout(kind, 3, 16)
    [[found]] = found_by(model, [lit((128, 128), ("blue", 3, 1))])
    assert (found.label, found.box) == ("blue", Box(32, 96, 32, 32))
    with pytest.raises(ModelRejected, match=r"\[batch, .*\] does not fit 3 classes"):
        read_content(path.name, path.read_bytes())


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_owner_said_stands_in_the_file_afterwards(tmp_path: Path, kind: LayoutKind) -> None:
    path = spots(tmp_path / "m.onnx", Form(kind, labels=None, sides=("h", "w"), written=("batch", "a", "b"), heads=2))
    model = taken(path, labels=("rot", "gruen", "blau"), size=(128, 128))
    again = read_content("again.onnx", model.content)
    assert (again.labels, again.input_size, again.layout) == (("rot", "gruen", "blau"), (128, 128), model.layout)
    assert again.sha256 == model.sha256
    assert taken(path, labels=("rot", "gruen", "blau"), size=(128, 128)).sha256 == model.sha256
    [[found]] = found_by(again, [lit((128, 128), ("green", 1, 1))])
    assert found.label == "gruen"


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_says_everything_keeps_its_bytes(tmp_path: Path, kind: LayoutKind) -> None:
    path = spots(tmp_path / "m.onnx", Form(kind))
    assert taken(path).content == path.read_bytes()
    assert taken(path, labels=COLOURS).content == path.read_bytes()


def test_other_labels_rename_the_classes(tmp_path: Path) -> None:
    model = taken(spots(tmp_path / "m.onnx", Form(LayoutKind.END_TO_END)), labels=("a", "b", "c"))
    assert model.labels == ("a", "b", "c")


@pytest.mark.parametrize("kind", KINDS)
def test_open_detector_takes_a_path_and_labels(tmp_path: Path, kind: LayoutKind) -> None:
    path = spots(tmp_path / "m.onnx", Form(kind, labels=None))
    (tmp_path / "labels.yaml").write_text("names: [rouge, vert, bleu]\n")
    with open_detector(DetectionSettings(model=str(path), labels=str(tmp_path / "labels.yaml"))) as detector:
        assert detector.detect([lit((128, 128), ("red", 2, 2))])[0][0].label == "rouge"


@pytest.mark.parametrize("kind", KINDS)
def test_missing_sigmoid(tmp_path: Path, kind: LayoutKind) -> None:
    path = spots(tmp_path / "m.onnx", Form(kind, logits=True))
    with pytest.raises(ModelRejected, match=r"m\.onnx: Scores from -\d.* were seen on a test image"):
        open_detector(DetectionSettings(model=str(path)))


@pytest.mark.parametrize("kind", KINDS)
def test_boxes_in_shares_of_the_image(tmp_path: Path, kind: LayoutKind) -> None:
    path = spots(tmp_path / "m.onnx", Form(kind, shares=True))
    with pytest.raises(ModelRejected, match=r"Boxes of at most (1|0\.\d+) were seen in an input of 128 x 128 pixels"):
        open_detector(DetectionSettings(model=str(path)))


def test_a_score_above_one_is_never_a_finding(tmp_path: Path) -> None:
    """A model that came past the test images still cannot report one."""
    model = taken(spots(tmp_path / "m.onnx", Form(LayoutKind.ANCHOR_FREE, logits=True)))
    with open_model(model, SETTINGS) as detector, pytest.raises(EngineUnavailable, match="score of 10"):
        detector.detect([lit((128, 128), ("red", 0, 0))])


def test_a_class_without_a_name_is_never_a_finding(tmp_path: Path) -> None:
    path = spots(tmp_path / "m.onnx", Form(LayoutKind.END_TO_END, labels=("red", "green")))
    with open_model(taken(path), SETTINGS) as detector, pytest.raises(EngineUnavailable, match="class 2, of 2"):
        detector.detect([lit((128, 128), ("blue", 0, 0))])
    with pytest.raises(ModelRejected, match=r"Class 2 was seen .* 0\.\.1 belongs"):
        open_detector(DetectionSettings(model=str(path)))


def test_end_to_end_boxes_are_not_suppressed_again(tmp_path: Path) -> None:
    """Two neighbours with the same box: the layout decides whether the weaker one goes."""

    def same_box(model: onnx.ModelProto) -> None:
        model.graph.node[-1].input[0] = "moved"
        squeeze = onnx.numpy_helper.from_array(np.array([0, 0, 0, 0, 1, 1], np.float32), "keep")
        place = onnx.numpy_helper.from_array(np.array([8, 8, 40, 40, 0, 0], np.float32), "place")
        model.graph.initializer.extend([squeeze, place])
        last = model.graph.node[-2].output[0]
        model.graph.node.insert(len(model.graph.node) - 1, helper.make_node("Mul", [last, "keep"], ["kept"]))
        model.graph.node.insert(len(model.graph.node) - 1, helper.make_node("Add", ["kept", "place"], ["moved"]))

    path = spots(tmp_path / "m.onnx", Form(LayoutKind.END_TO_END))
    changed = onnx.load(str(path))
    same_box(changed)
    onnx.save(changed, str(path))
    image = lit((128, 128), ("red", 0, 0), ("red", 0, 1))
    model = taken(path)
    with open_model(model, SETTINGS) as detector:
        assert len(detector.detect([image])[0]) == 2
    with Detector(OpenVinoEngine(model), Limits(0.25, 0.5, 300)) as suppressing:
        assert len(suppressing.detect([image])[0]) == 1


def test_infer_answers_as_the_network_wrote_it(tmp_path: Path) -> None:
    for kind in KINDS:
        form = Form(kind, batch=2, half=True)
        engine = OpenVinoEngine(taken(spots(tmp_path / f"{kind}.onnx", form)))
        raw = engine.infer(np.stack([lit(form.size, ("red", 0, 0))] * 3))
        assert raw.dtype == np.float32
        assert raw.shape == (3, *form.shape()[1:])
        assert (raw[0] == raw[2]).all()
