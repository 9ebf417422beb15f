"""``gistline detect`` on real files with a model whose answers can be checked by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gistline.cli.main import run
from tests.support.onnx_models import spot_detector


@pytest.fixture
def model(tmp_path: Path) -> str:
    return f"detection.model={spot_detector(tmp_path / 'spots.onnx')}"


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """256 x 256 with a red square whose corner is at (64, 128)."""
    image = np.zeros((256, 256, 3), np.uint8)
    image[128:192, 64:128, 0] = 255
    path = tmp_path / "board.png"
    Image.fromarray(image).save(path)
    return path


def test_json_is_exactly_the_promised_form(model: str, board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--set", model, "detect", str(board), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "images": [
            {
                "file": str(board),
                "width": 256,
                "height": 256,
                "findings": [{"class": "red", "confidence": 1.0, "bbox": [64.0, 128.0, 64.0, 64.0]}],
            }
        ]
    }


def test_table(model: str, board: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(board.parent)
    assert run(["--set", model, "detect", board.name]) == 0
    out = capsys.readouterr().out
    assert "red" in out
    assert "1.00" in out
    assert "board.png" in out


def test_bad_files_are_named_and_the_others_inspected(
    model: str, board: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "notes.jpg"
    text.write_text("no image")
    missing = tmp_path / "missing.png"
    assert run(["--set", model, "detect", str(text), str(board), str(missing), str(tmp_path), "--json"]) == 2
    captured = capsys.readouterr()
    assert [one["file"] for one in json.loads(captured.out)["images"]] == [str(board)]
    lines = captured.err.strip().splitlines()
    assert [line.split(":")[0] for line in lines] == [str(text), str(missing), str(tmp_path)]


def test_min_confidence(model: str, board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dim = Image.fromarray(np.asarray(Image.open(board)) // 10)
    dim.save(board)
    assert run(["--set", model, "detect", str(board), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"][0]["findings"] == []
    assert run(["--set", model, "detect", str(board), "--json", "--min-confidence", "0.05"]) == 0
    assert len(json.loads(capsys.readouterr().out)["images"][0]["findings"]) == 1


def test_annotated_copies(model: str, board: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "board.png").write_bytes(board.read_bytes())
    before = board.read_bytes()
    assert run(["--set", model, "detect", str(board), str(other / "board.png"), "--draw", str(tmp_path)]) == 0
    assert board.read_bytes() == before
    for name in ("board.findings.png", "board-2.findings.png"):
        copy = np.asarray(Image.open(tmp_path / name))
        assert copy.shape == (256, 256, 3)
        assert (copy[140:180, 64] != [255, 0, 0]).any()


def test_no_image_at_all_is_wrong_usage(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--set", model, "detect"]) == 2
    assert "IMAGE" in capsys.readouterr().err


def test_model_that_does_not_fit_says_so(tmp_path: Path, board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = tmp_path / "wrong.onnx"
    wrong.write_bytes(b"nonsense")
    assert run(["--set", f"detection.model={wrong}", "detect", str(board)]) == 1
    assert "wrong.onnx is no ONNX file" in capsys.readouterr().err
