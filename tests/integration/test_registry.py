"""Models in a real database: names, digests, caches, passports, promotions, and the commands around them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import SecretStr
from sqlalchemy import text, update

from gistline.cli.main import run
from gistline.detection.model_file import bundled_path, read_model
from gistline.domain import Passport, PassportVerdict
from gistline.errors import Conflict, EngineUnproven, ModelRejected, NotFound
from gistline.flows.measure_passport import MeasuringTools, measure_passport
from gistline.flows.promote_model import promote_model
from gistline.flows.register_model import cache_folder, fetch_model, register_bundled, register_model
from gistline.flows.rollback_model import rollback_model
from gistline.flows.serve_model import Wanted, judged_now, serve_model, wanted_model
from gistline.flows.trial_images import LabelledFiles
from gistline.settings import DatabaseSettings, DetectionSettings, PassportSettings, RegistrySettings, Settings
from gistline.simulator.boards import render_board
from gistline.storage.models import find_model
from gistline.storage.passports import get_passport
from gistline.storage.session import Sessions, close_database, open_database, transaction
from gistline.storage.tables import ModelRow
from tests.support.onnx_models import spot_detector

BOARDS = {"boards": 8, "least_boxes": 2, "resamples": 200, "max_class_loss": 40, "max_class_loss50": 40}


@pytest.fixture
def settings(database_url: str, tmp_path: Path, clean_settings: Path) -> Settings:
    return Settings(
        data_dir=tmp_path,
        database=DatabaseSettings(url=SecretStr(database_url)),
        detection=DetectionSettings(runtime="openvino"),
        passport=PassportSettings(**BOARDS, max_loss=10, max_loss50=10),
    )


@pytest.fixture
def sessions(settings: Settings) -> Iterator[Sessions]:
    made = open_database(settings.database)
    yield made
    close_database(made)


def add_spots(sessions: Sessions, settings: Settings, folder: Path, **changes: Any) -> str:
    """Take the detector of coloured squares in; returns its digest."""
    model = read_model(spot_detector(folder / "spots.onnx", **changes))
    return register_model(sessions, model, settings.registry).model.sha256


def squares(folder: Path) -> Path:
    """A labelled set of three pictures of coloured squares."""
    folder.mkdir()
    document: dict[str, Any] = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "red"}]}
    for number in range(3):
        image = np.zeros((128, 128, 3), np.uint8)
        image[32:64, 32 * number : 32 * number + 32, 0] = 255
        Image.fromarray(image).save(folder / f"{number}.png")
        document["images"].append({"id": number, "file_name": f"{number}.png"})
        box = [32 * number, 32, 32, 32]
        document["annotations"].append({"id": number, "image_id": number, "category_id": 1, "bbox": box})
    (folder / "set.json").write_text(json.dumps(document))
    return folder / "set.json"


def test_the_bundled_pair_is_taken_in_once_and_knows_its_twin(sessions: Sessions, settings: Settings) -> None:
    first, again = (register_bundled(sessions, settings) for _ in range(2))
    assert first == again
    assert first["int8"].source_sha256 == first["fp32"].sha256
    assert first["int8"].quantised
    assert first["fp32"].source_sha256 is None
    assert first["int8"].recipe["method"]


def test_a_model_is_fetched_whole_and_a_damaged_cache_is_mended(sessions: Sessions, settings: Settings) -> None:
    stored = register_bundled(sessions, settings)["int8"]
    content = bundled_path("int8").read_bytes()
    path = cache_folder(settings) / f"{stored.sha256}.onnx"
    assert fetch_model(sessions, stored, settings).content == content
    assert path.read_bytes() == content
    path.write_bytes(content[:-1])
    assert fetch_model(sessions, stored, settings).content == content
    assert path.read_bytes() == content
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_a_cache_that_cannot_be_written_costs_nothing_else(sessions: Sessions, settings: Settings) -> None:
    stored = register_bundled(sessions, settings)["int8"]
    (settings.data_dir / "file").touch()
    unwritable = RegistrySettings(cache_dir=str(settings.data_dir / "file" / "x"))
    nowhere = settings.model_copy(update={"registry": unwritable})
    assert fetch_model(sessions, stored, nowhere).sha256 == stored.sha256


def test_other_bytes_under_a_digest_are_refused(sessions: Sessions, settings: Settings) -> None:
    stored = register_bundled(sessions, settings)["int8"]
    with transaction(sessions) as session:
        session.execute(update(ModelRow).values(content=b"x" * 10, byte_count=10))
    with pytest.raises(ModelRejected, match="other bytes"):
        fetch_model(sessions, stored, settings)


def test_a_model_above_the_cap_is_refused(sessions: Sessions, settings: Settings) -> None:
    with pytest.raises(ModelRejected) as refused:
        register_model(sessions, read_model(bundled_path("fp32")), RegistrySettings(max_bytes=1_000))
    assert "GISTLINE_REGISTRY__MAX_BYTES" in refused.value.cure


def test_models_are_found_by_name_or_digest_and_doubles_are_named(
    sessions: Sessions, settings: Settings, tmp_path: Path
) -> None:
    one = add_spots(sessions, settings, tmp_path)
    with transaction(sessions) as session:
        assert find_model(session, "spots.onnx") == find_model(session, one[:6].upper())
        for unknown in ("other.onnx", one[:5]):
            with pytest.raises(NotFound):
                find_model(session, unknown)
    add_spots(sessions, settings, tmp_path, scale=0.5)
    with transaction(sessions) as session, pytest.raises(NotFound, match="2 models are called"):
        find_model(session, "spots.onnx")


@pytest.mark.long
def test_a_passport_comes_back_as_it_was_written(sessions: Sessions, settings: Settings) -> None:
    pair = register_bundled(sessions, settings)
    made = measure_passport(pair["int8"], MeasuringTools(sessions, settings))
    with transaction(sessions) as session:
        assert get_passport(session, made.id) == made
    assert made.judgement.verdict is PassportVerdict.PASSED
    assert made.reference is not None
    assert made.measurement is not None
    assert (made.reference.weights_sha256, made.reference.precision) == (pair["fp32"].sha256, "FP32")
    assert made.measurement.images == 8
    assert made.measurement.boxes == sum(
        len(render_board(np.random.default_rng(77_000_000 + number)).defects) for number in range(8)
    )
    assert made.engine.layer_precisions[0][0] == "INT8"
    assert {"openvino", "python", "gistline"} <= made.versions.keys()


def test_an_fp32_model_is_its_own_reference_and_still_must_be_good(sessions: Sessions, settings: Settings) -> None:
    tools = MeasuringTools(sessions, settings)
    made = measure_passport(register_bundled(sessions, settings)["fp32"], tools)
    assert made.measurement is not None
    assert made.measurement.map50_95.loss.value == made.measurement.map50_95.loss.high == 0
    strict = settings.model_copy(update={"passport": PassportSettings(**BOARDS, least_map50=0.9999)})
    assert judged_now(made, strict).verdict is PassportVerdict.FAILED


def test_a_detector_of_other_things_needs_labelled_images(
    sessions: Sessions, settings: Settings, tmp_path: Path
) -> None:
    digest = add_spots(sessions, settings, tmp_path)
    tools = MeasuringTools(sessions, settings)
    with transaction(sessions) as session:
        stored = find_model(session, digest)
    with pytest.raises(EngineUnproven) as refused:
        measure_passport(stored, tools)
    assert "--labelled" in refused.value.cure
    made = measure_passport(stored, tools, files=LabelledFiles(squares(tmp_path / "set")))
    assert made.measurement is not None
    assert made.measurement.map50.engine.value == pytest.approx(1.0)
    assert made.judgement.verdict is PassportVerdict.PASSED
    assert serve_model(Wanted(stored, "test", None), tools).passport.id == made.id, "no second measurement is needed"


@pytest.mark.long
def test_a_quantised_model_without_a_twin_wants_one_to_be_named(sessions: Sessions, settings: Settings) -> None:
    pair = register_bundled(sessions, settings)
    tools = MeasuringTools(sessions, settings)
    with transaction(sessions) as session:
        session.execute(update(ModelRow).where(ModelRow.sha256 == pair["int8"].sha256).values(source_sha256=None))
        orphan = find_model(session, "pcb.int8.onnx")
    with pytest.raises(EngineUnproven) as refused:
        measure_passport(orphan, tools)
    assert "--against" in refused.value.cure
    with pytest.raises(EngineUnproven, match="no FP32 model"):
        measure_passport(orphan, tools, against=pair["int8"])
    assert measure_passport(orphan, tools, against=pair["fp32"]).reference is not None


def test_promotions_are_a_stack_that_ends_at_the_settings(sessions: Sessions, settings: Settings) -> None:
    pair = register_bundled(sessions, settings)
    fp32, int8 = pair["fp32"].sha256, pair["int8"].sha256
    forced: dict[str, Any] = {"actor": "test", "reason": "a test", "force": True}
    for digest in (fp32, int8):
        promote_model(sessions, digest, settings, **forced)
    with pytest.raises(Conflict, match="already"):
        promote_model(sessions, int8, settings, **forced)
    assert wanted_model(sessions, settings).model.sha256 == int8
    assert rollback_model(sessions, actor="test").promotion.model_sha256 == fp32
    assert wanted_model(sessions, settings).model.sha256 == fp32
    assert rollback_model(sessions, actor="test").model is None
    assert wanted_model(sessions, settings).model.sha256 == int8, "detection.precision decides again"
    with pytest.raises(Conflict):
        rollback_model(sessions, actor="test")
    promote_model(sessions, fp32, settings, **forced)
    assert rollback_model(sessions, actor="test").model is None


def test_a_model_of_the_settings_wins_over_a_promotion(sessions: Sessions, settings: Settings, tmp_path: Path) -> None:
    register_bundled(sessions, settings)
    promote_model(sessions, "pcb.onnx", settings, actor="test", reason="a test", force=True)
    own = spot_detector(tmp_path / "own.onnx")
    pinned = settings.model_copy(update={"detection": DetectionSettings(model=str(own), runtime="openvino")})
    found = wanted_model(sessions, pinned)
    assert found.model.name == "own.onnx"
    assert "wins over promotions" in found.why


@pytest.mark.long
def test_a_passport_counts_only_on_such_a_machine(
    sessions: Sessions, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = register_bundled(sessions, settings)["fp32"]
    at_rest = settings.model_copy(update={"passport": PassportSettings(**BOARDS, measure_at_start=False)})
    tools = MeasuringTools(sessions, at_rest)
    measure_passport(stored, tools)
    serve_model(Wanted(stored, "test", None), tools).detector.close()
    with transaction(sessions) as session:
        session.execute(text("UPDATE passports SET machine = machine || ' with other instructions'"))
    with pytest.raises(EngineUnproven, match="has no passport"):
        serve_model(Wanted(stored, "test", None), tools)


@pytest.fixture
def command_line(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("GISTLINE_DATABASE__URL", settings.database.url.get_secret_value())
    monkeypatch.setenv("GISTLINE_DETECTION__RUNTIME", "openvino")
    monkeypatch.setenv("GISTLINE_DATA_DIR", str(settings.data_dir))
    for name, value in (BOARDS | {"max_loss": 10, "max_loss50": 10}).items():
        monkeypatch.setenv(f"GISTLINE_PASSPORT__{name.upper()}", str(value))
    monkeypatch.setenv("GISTLINE_REDIS__URL", "redis://127.0.0.1:1/0")
    return settings


@pytest.mark.long
def test_the_commands_from_measuring_to_rolling_back(
    command_line: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["model", "promote", "pcb.onnx"]) == 1
    assert "gistline model passport pcb.onnx" in capsys.readouterr().err
    assert run(["model", "promote", "pcb.onnx", "--force"]) == 2
    assert run(["model", "passport", "pcb.onnx", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["measurement"]["images"] == 8
    assert run(["model", "passport", "pcb.int8.onnx"]) == 0
    out = capsys.readouterr().out
    for word in ("passed", "mAP50-95", ": AP50-95", "frames/s", "FP32 weights", "libraries", "43 in INT8"):
        assert word in out
    assert run(["model", "promote", "pcb.onnx", "--reason", "a test"]) == 0
    capsys.readouterr()
    assert run(["model", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {one["name"]: one["served"] for one in listed} == {"pcb.onnx": True, "pcb.int8.onnx": False}
    assert run(["model", "show"]) == 0
    out = capsys.readouterr().out
    assert "pcb.onnx" in out
    assert "a test" in out
    assert run(["model", "rollback", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] is None
    assert run(["model", "show", "pcb.int8.onnx", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    (paper,) = shown["passports"]
    assert paper["judged_now"]["verdict"] == "passed"
    assert [one["action"] for one in shown["history"]] == ["rollback", "promote"]


def test_a_failing_passport_is_stored_shown_and_exits_1(
    command_line: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], sessions: Sessions
) -> None:
    monkeypatch.setenv("GISTLINE_PASSPORT__LEAST_MAP50", "0.9999")
    assert run(["model", "passport", "pcb.onnx", "--json"]) == 1
    made = json.loads(capsys.readouterr().out)
    with transaction(sessions) as session:
        stored: Passport = get_passport(session, made["id"])
    assert stored.judgement.verdict is PassportVerdict.FAILED
    assert "mAP50 is" in stored.judgement.reasons[0]


def test_images_without_labels_are_refused(command_line: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["model", "passport", "pcb.onnx", "--images", "."]) == 2
    assert "--labelled" in capsys.readouterr().err
