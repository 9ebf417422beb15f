"""``gistline model quantise`` from the shell: the bundled FP32 detector and rendered boards, really calibrated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from gistline.cli.main import run
from gistline.detection.calibration import LEAST_IMAGES
from gistline.detection.model_file import bundled_path, read_model
from gistline.detection.openvino_engine import OpenVinoEngine
from gistline.simulator.boards import render_board


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dozen boards and one file that is no image."""
    folder = tmp_path_factory.mktemp("frames")
    for seed in range(LEAST_IMAGES + 2):
        Image.fromarray(render_board(np.random.default_rng(seed)).image).save(folder / f"{seed}.png")
    (folder / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    return folder


def quantise(frames: Path, out: Path, *more: str, model: Path | None = None) -> int:
    return run(
        [
            "model",
            "quantise",
            str(model or bundled_path("fp32")),
            "--calibration",
            str(frames),
            "--out",
            str(out),
            *more,
        ]
    )


@pytest.mark.long
@pytest.mark.usefixtures("clean_settings")
def test_a_file_for_cpus_runs_in_int8(frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert quantise(frames, tmp_path / "a.onnx", "--method", "minmax", "--weight-steps", "64") == 0
    said = capsys.readouterr()
    assert "43 of 45 convolutions in INT8" in said.out
    assert "weights per channel, 64 steps; activations uint8" in said.out
    assert "torn.jpg" in said.err
    assert "Calibration:" in said.err  # a dozen images are few, and it says so
    engine = OpenVinoEngine(read_model(tmp_path / "a.onnx"))
    assert (engine.info.int8_convolutions, engine.info.convolutions) == (43, 45)
    engine.close()


@pytest.mark.long
@pytest.mark.usefixtures("clean_settings")
def test_a_file_for_gpus_is_symmetric(frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert quantise(frames, tmp_path / "g.onnx", "--target", "tensorrt", "--keep", "*stem*") == 0
    assert "42 of 45 convolutions in INT8" in capsys.readouterr().out
    graph = onnx.load(str(tmp_path / "g.onnx")).graph
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    zeros = [constants[node.input[2]] for node in graph.node if node.op_type == "QuantizeLinear"]
    assert zeros
    assert all(zero.dtype == np.int8 and not zero.any() for zero in zeros)


@pytest.mark.longest
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("clean_settings")
def test_a_search_prints_what_it_measured_and_draws_it(
    frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GISTLINE_PASSPORT__BOARDS", "20")
    picture = tmp_path / "pareto.svg"
    wished = ("--max-loss", "50", "--rounds", "0", "--picture", str(picture), "--method", "minmax")
    kept = ("--keep", "*backbone*", "--keep", "*neck*")  # the six of the head are enough to choose among
    assert quantise(frames, tmp_path / "s.onnx", *wished, *kept) == 0
    said = capsys.readouterr().out
    assert "chosen" in said
    assert "12 of 20 images of 20 rendered boards" in said
    assert picture.read_text().count("<path") > 10
    assert read_model(tmp_path / "s.onnx").quantised_convolutions == 6


@pytest.mark.long
@pytest.mark.usefixtures("clean_settings")
@pytest.mark.parametrize(
    ("model", "more", "words"),
    [
        ("int8", (), "is quantised already"),
        ("fp32", ("--keep", "*nothing*"), "*nothing*"),
        ("fp32", ("--images", "."), "--images says where"),
        ("fp32", ("--picture", "p.svg"), "--max-loss 0.5"),
        ("fp32", ("--max-loss", "1", "--picture", "p.docx"), "p.docx"),
    ],
)
def test_refusals_name_what_is_wrong(
    frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], model: str, more: tuple[str, ...], words: str
) -> None:
    assert quantise(frames, tmp_path / "r.onnx", *more, model=bundled_path(model)) != 0
    assert words in capsys.readouterr().err
    assert not (tmp_path / "r.onnx").exists()


@pytest.mark.usefixtures("clean_settings")
def test_too_few_images_are_refused(frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = tmp_path / "few"
    few.mkdir()
    (few / "one.png").write_bytes((frames / "0.png").read_bytes())
    assert quantise(few, tmp_path / "r.onnx") != 0
    said = capsys.readouterr().err
    assert "1 calibration images are too few" in said
    assert "Take 100 to 500 frames" in said
