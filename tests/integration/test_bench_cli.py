"""``gistline bench`` and the doctor's own measurement, on real engines; figures are looked at for sense, not speed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from gistline.cli.main import run
from gistline.detection.model_file import ModelFile, read_model
from gistline.errors import ImageRejected, ModelRejected, NotFound
from gistline.flows.bench_engines import find_model, images_in, rendered_images
from gistline.flows.compare_precisions import FILE, last_comparison
from gistline.flows.register_model import register_model
from gistline.settings import load_settings
from gistline.settings_frames import FrameSettings
from gistline.storage.session import close_database, open_database
from tests.support.onnx_models import yolo

pytestmark = pytest.mark.usefixtures("clean_settings")
QUICK = ["--rounds", "2", "--turn", "0.02"]


@pytest.fixture
def small(tmp_path: Path) -> str:
    return str(yolo(tmp_path / "small.onnx"))


@pytest.mark.long
def test_two_engines_side_by_side(small: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", small, small, "--batch", "1,3,stream", "--json", *QUICK]) == 0
    told = json.loads(capsys.readouterr().out)
    first, second = told["engines"]
    assert told["images"] == {"source": "rendered boards", "count": 32}
    assert [(cell["cell"]["stage"], cell["cell"]["batch"]) for cell in first["cells"]] == [
        (stage, batch) for stage in ("engine", "detect", "bytes") for batch in (1, 3, 0)
    ]
    assert all(cell["ratio"] == {"median": 1.0, "low": 1.0, "high": 1.0} for cell in first["cells"])
    for cell in second["cells"]:
        times = cell["latency"]
        assert 0 < times["least"] <= times["p50"] <= times["p90"] <= times["p99"] <= times["most"]
        assert 0 < cell["rate"]["low"] <= cell["rate"]["median"] <= cell["rate"]["high"]
        assert cell["ratio"]["low"] > 0
    assert told["cpu"]["cores"] >= 1
    assert second["info"]["runtime"].startswith("OpenVINO")


@pytest.mark.long
def test_the_table_names_engine_stage_and_hardware(small: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", small, "--stage", "detect", "--batch", "2", *QUICK]) == 0
    shown = capsys.readouterr().out
    assert "OpenVINO" in shown
    assert "pixels to boxes" in shown
    assert "engine alone" not in shown
    assert "32 rendered boards" in shown


def test_images_of_a_folder(small: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, data in enumerate(rendered_images(2)):
        (folder / f"{number}.jpg").write_bytes(data)
    (folder / "notes.txt").write_text("no image")
    assert len(images_in(folder, FrameSettings())) == 2
    Image.new("L", (80, 700)).save(folder / "tall.png")
    assert len(images_in(folder, FrameSettings(max_side=650))) == 2, "what is too large is passed over"
    (folder / "tall.png").unlink()
    assert run(["bench", small, "--images", str(folder), "--stage", "bytes", "--batch", "1", "--json", *QUICK]) == 0
    assert json.loads(capsys.readouterr().out)["images"]["count"] == 2


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageRejected, match="holds no image"):
        images_in(tmp_path, FrameSettings())


@pytest.mark.parametrize("batches", ["0x", "", "1,-2", "512"])
def test_wrong_batches_are_wrong_usage(batches: str) -> None:
    assert run(["bench", "--batch", batches]) == 2


def test_models_are_found_by_name(small: str) -> None:
    def stored(name: str) -> ModelFile:
        raise NotFound(f"asked the registry for {name}")

    assert find_model("bundled:int8", stored).quantised_convolutions > 0
    assert find_model("bundled:fp32", stored).quantised_convolutions == 0
    assert find_model(small, stored).name == "small.onnx"
    with pytest.raises(NotFound, match="asked the registry for nowhere"):
        find_model("nowhere", stored)
    with pytest.raises(ModelRejected, match="bundled in 'int4'"):
        find_model("bundled:int4", stored)


@pytest.mark.long
def test_a_model_of_the_registry_is_timed(
    small: str, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GISTLINE_DATABASE__URL", database_url)
    settings = load_settings()
    sessions = open_database(settings.database)
    register_model(sessions, read_model(Path(small)), settings.registry)
    close_database(sessions)
    Path(small).unlink()
    assert run(["bench", "small.onnx", "--stage", "engine", "--batch", "1", "--json", *QUICK]) == 0
    [engine] = json.loads(capsys.readouterr().out)["engines"]
    assert engine["info"]["model"] == "small.onnx"
    assert run(["bench", "line-4", *QUICK]) != 0
    assert "No model is called 'line-4'" in capsys.readouterr().err


@pytest.mark.long
def test_the_doctor_measures_int8_and_remembers(capsys: pytest.CaptureFixture[str], clean_settings: Path) -> None:
    run(["doctor", "--json"])
    before = json.loads(capsys.readouterr().out)
    assert before["hardware"]["int8_speed"] is None
    [check] = [check for check in before["checks"] if check["name"] == "int8"]
    assert "not measured here" in check["found"]
    assert check["cure"] == "gistline doctor --bench"
    run(["doctor", "--bench", "--json"])
    after = json.loads(capsys.readouterr().out)
    speed = after["hardware"]["int8_speed"]
    # Medians of rates and of each round's ratio need not agree on a busy machine; how they are reported is what holds.
    assert 0 < speed["low"] <= speed["ratio"] <= speed["high"]
    assert speed["int8_rate"] > 0
    assert speed["fp32_rate"] > 0
    [check] = [check for check in after["checks"] if check["name"] == "int8"]
    assert f"{speed['ratio']:.2f} x FP32" in check["found"]
    # A figure of another processor is not believed.
    kept = clean_settings / ".data" / FILE
    kept.write_text(json.dumps({**speed, "subject": "something else"}))
    assert last_comparison(load_settings()) is None
    kept.write_text("{")
    assert last_comparison(load_settings()) is None
