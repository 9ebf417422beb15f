"""``gistline model add`` from the shell, into a real database and into a file; then ``gistline detect --model``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from gistline.cli.main import run
from gistline.detection.layouts import LayoutKind
from gistline.detection.model_file import read_content, read_model
from gistline.settings import DatabaseSettings
from gistline.storage.models import get_model, model_content
from gistline.storage.session import close_database, open_database, transaction
from tests.support.onnx_models import COLOURS
from tests.support.spot_models import Form, spots


@pytest.fixture
def database(database_url: str, clean_settings: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A migrated database that commands find by the environment."""
    monkeypatch.setenv("GISTLINE_DATABASE__URL", database_url)
    monkeypatch.setenv("GISTLINE_REDIS__URL", "redis://127.0.0.1:9/0")
    return database_url


@pytest.fixture
def labels(tmp_path: Path) -> str:
    path = tmp_path / "labels.yaml"
    path.write_text("names:\n  0: rouge\n  1: vert\n  2: bleu\n")
    return str(path)


def board(tmp_path: Path) -> str:
    """128 x 128, black, its second cell of the third row green."""
    pixels = np.zeros((128, 128, 3), np.uint8)
    pixels[64:96, 32:64, 1] = 255
    Image.fromarray(pixels).save(tmp_path / "board.png")
    return str(tmp_path / "board.png")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (LayoutKind.ANCHOR_FREE, "YOLOv8/v9/11, 3 classes, 16 predictions, 128x128 (height x width), batch dynamic"),
        (LayoutKind.OBJECTNESS, "YOLOv5/v7 with objectness, 3 classes, 16 predictions"),
        (LayoutKind.END_TO_END, "YOLOv10/26 end-to-end, 3 classes, 16 predictions"),
    ],
)
def test_added_with_labels_said_aloud_and_stored(
    database: str, tmp_path: Path, labels: str, capsys: pytest.CaptureFixture[str], kind: LayoutKind, words: str
) -> None:
    file = spots(tmp_path / "best.onnx", Form(kind, labels=None))
    assert run(["model", "add", str(file), "--labels", labels]) == 0
    out = capsys.readouterr().out
    assert f"recognised: {words}" in out
    assert "classes: rouge, vert, bleu" in out
    assert "added: best.onnx, sha256" in out
    digest = out.split()[-1]
    sessions = open_database(DatabaseSettings(url=database))
    with transaction(sessions) as session:
        stored, content = get_model(session, digest), model_content(session, digest)
    close_database(sessions)
    assert stored is not None
    assert (stored.name, stored.layout, stored.labels) == ("best.onnx", kind.value, ("rouge", "vert", "bleu"))
    assert read_content("again", content).labels == ("rouge", "vert", "bleu")


def test_the_same_file_is_there_already(database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = spots(tmp_path / "best.onnx", Form(LayoutKind.ANCHOR_FREE, batch=2, half=True, size=(96, 160)))
    assert run(["model", "add", str(file)]) == 0
    assert "96x160 (height x width), batch 2, FP16" in capsys.readouterr().out
    assert run(["model", "add", str(file), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts.pop("new") is False
    assert facts == {
        "name": "best.onnx",
        "sha256": read_model(file).sha256,
        "layout": "v8",
        "labels": list(COLOURS),
        "predictions": 15,
        "input": {"height": 96, "width": 160},
        "batch": 2,
        "float16": True,
        "convolutions": 1,
        "quantised_convolutions": 0,
        "changes": [],
    }


def test_written_to_a_file_that_says_everything(
    clean_settings: Path, tmp_path: Path, labels: str, capsys: pytest.CaptureFixture[str]
) -> None:
    form = Form(LayoutKind.OBJECTNESS, labels=None, sides=("h", "w"), transposed=True, heads=3)
    file, out = spots(tmp_path / "best.onnx", form), tmp_path / "whole.onnx"
    told = ["--labels", labels, "--size", "128", "--layout", "v5", "--output", "output0"]
    assert run(["model", "add", str(file), *told, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "cut off: head0, head1, head2" in said
    assert "the axes of output0 were exchanged" in said
    assert f"written: {out}" in said
    assert [value.name for value in onnx.load(str(out)).graph.output] == ["output0.turned"]
    assert run(["detect", board(tmp_path), "--model", str(out), "--json"]) == 0
    [found] = json.loads(capsys.readouterr().out)["images"][0]["findings"]
    assert found == {"class": "vert", "confidence": 0.5, "bbox": [32.0, 64.0, 32.0, 32.0]}


@pytest.mark.parametrize("kind", LayoutKind)
def test_detect_takes_a_model_and_its_labels(
    clean_settings: Path, tmp_path: Path, labels: str, capsys: pytest.CaptureFixture[str], kind: LayoutKind
) -> None:
    file = spots(tmp_path / "best.onnx", Form(kind, labels=None))
    assert run(["detect", board(tmp_path), "--model", str(file), "--labels", labels, "--json"]) == 0
    [found] = json.loads(capsys.readouterr().out)["images"][0]["findings"]
    assert (found["class"], found["bbox"]) == ("vert", [32.0, 64.0, 32.0, 32.0])
    assert run(["detect", board(tmp_path), "--model", str(file)]) == 1
    assert "does not name its classes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("form", "said", "cure"),
    [
        (Form(LayoutKind.ANCHOR_FREE, labels=None), "does not name its classes", "--labels"),
        (Form(LayoutKind.ANCHOR_FREE, labels=("a", "b")), "does not fit 2 classes", "Understood"),
        (Form(LayoutKind.OBJECTNESS, sides=("h", "w")), "[batch, 3, h, w] and does not say", "--size"),
        (Form(LayoutKind.OBJECTNESS, transposed=True), "[batch, 8, 16] does not fit 3 classes", "5 + n"),
        (Form(LayoutKind.END_TO_END, logits=True), "were seen on a test image", "sigmoid"),
        (Form(LayoutKind.OBJECTNESS, shares=True), "shares of the image", "in pixels"),
        (Form(LayoutKind.END_TO_END, metadata={"task": "pose"}), "task = 'pose'", "'detect'"),
    ],
)
def test_refusals_say_what_was_seen_and_what_cures_it(
    clean_settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: Form, said: str, cure: str
) -> None:
    out = tmp_path / "out.onnx"
    assert run(["model", "add", str(spots(tmp_path / "best.onnx", form)), "--out", str(out)]) == 1
    message = capsys.readouterr().err
    assert "best.onnx" in message
    assert said in message
    assert cure in message
    assert not out.exists()


@pytest.mark.parametrize("size", ["big", "640x", "x640", "640,640", "6"])
def test_wrong_size_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str], size: str) -> None:
    assert run(["model", "add", "m.onnx", "--size", size]) == 2
    assert "HEIGHTxWIDTH" in capsys.readouterr().err


def test_files_that_cannot_be_read(clean_settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["model", "add", str(tmp_path / "absent.onnx")]) == 1
    assert "No such file" in capsys.readouterr().err
    file = spots(tmp_path / "best.onnx", Form(LayoutKind.ANCHOR_FREE))
    assert run(["model", "add", str(file), "--labels", str(tmp_path / "absent.yaml")]) == 1
    assert "absent.yaml cannot be read" in capsys.readouterr().err


@pytest.mark.long
def test_the_first_command_of_a_fresh_installation(
    clean_settings: Path,
    tmp_path: Path,
    labels: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No database is named and none was made: the embedded one gets its tables first."""
    monkeypatch.setenv("GISTLINE_DATA_DIR", str(tmp_path / "data"))
    file = spots(tmp_path / "best.onnx", Form(LayoutKind.ANCHOR_FREE, labels=None))
    assert run(["model", "add", str(file), "--labels", labels]) == 0
    assert "added: best.onnx" in capsys.readouterr().out
