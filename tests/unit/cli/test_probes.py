"""What the doctor makes of a machine's own words; recorded ones, since no machine has every processor."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from gistline.cli import probes
from gistline.cli.main import run
from gistline.cli.probes import State, cpu, gpu
from tests.support.onnx_models import spot_detector

INTEL = """processor\t: 0
model name\t: Intel(R) Xeon(R) Platinum 8488C
flags\t\t: fpu sse2 avx2 avx512f avx512_vnni avx_vnni amx_bf16 avx512_bf16 amx_tile amx_int8

processor\t: 1
model name\t: Intel(R) Xeon(R) Platinum 8488C
flags\t\t: fpu
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd asimddp i8mm bf16\n"
OLD = "model name\t: Intel(R) Core(TM) i5-4460\nflags\t\t: fpu sse2 avx2\n"


@pytest.mark.parametrize(
    ("text", "state", "found"),
    [
        (INTEL, State.OK, "8488C, {} cores, INT8 by avx512_vnni avx_vnni amx_int8, BF16 by avx512_bf16 amx_bf16"),
        (ARM, State.OK, ", {} cores, INT8 by i8mm asimddp, BF16 by bf16"),
        (OLD, State.ABSENT, "i5-4460, {} cores, INT8 by none, BF16 by none"),
    ],
)
def test_instructions_for_small_numbers_are_told(text: str, state: State, found: str) -> None:
    check = cpu(text)
    assert check.state is state
    assert check.found.endswith(found.format(probes._cores()))


@pytest.mark.parametrize(
    ("capability", "state"), [("7.0", State.ABSENT), ("7.2", State.OK), ("7.5", State.OK), ("12.0", State.OK)]
)
def test_int8_tensor_cores_follow_from_the_compute_capability(capability: str, state: State) -> None:
    check = gpu(["NVIDIA Card", f" {capability}", " 16384 MiB", " 580.95"])
    assert check.state is state
    assert f"compute capability {capability}" in check.found


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small detector, its quantised twin and their passport in place of the installed ones."""
    fp32, int8 = spot_detector(tmp_path / "pcb.onnx"), tmp_path / "pcb.int8.onnx"
    digest = hashlib.sha256(fp32.read_bytes()).hexdigest()
    spot_detector(int8, metadata={"gistline.source_sha256": digest})
    released = hashlib.sha256(int8.read_bytes()).hexdigest()
    (tmp_path / "pcb.json").write_text(json.dumps({"int8": {"sha256": released}}))
    monkeypatch.setattr(probes, "bundled_path", lambda precision: {"fp32": fp32, "int8": int8}[precision])
    return tmp_path


def test_the_bundled_weights_are_as_released() -> None:
    assert probes._checksums().state is State.OK


@pytest.mark.parametrize("name", ["pcb.onnx", "pcb.int8.onnx"])
def test_changed_weights_are_found(installation: Path, name: str) -> None:
    assert probes._checksums().state is State.OK
    spot_detector(installation / name, scale=2.0, metadata={"gistline.source_sha256": _digest(installation)})
    check = probes._checksums()
    assert check.state is State.MISSING
    assert check.found == f"{name} is not the file that was released"


@pytest.mark.parametrize("name", ["pcb.json", "pcb.int8.onnx"])
def test_unreadable_papers_are_found(installation: Path, name: str) -> None:
    (installation / name).write_bytes(b"{")
    check = probes._checksums()
    assert check.state is State.MISSING
    assert "papers cannot be read" in check.found


def _digest(installation: Path) -> str:
    return hashlib.sha256((installation / "pcb.onnx").read_bytes()).hexdigest()


@pytest.mark.usefixtures("clean_settings")
def test_servers_that_do_not_answer_are_missing_and_their_password_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GISTLINE_DATABASE__URL", "postgresql://u:hunter2@127.0.0.1:1/one")
    monkeypatch.setenv("GISTLINE_REDIS__URL", "redis://:hunter2@127.0.0.1:1/0")
    assert run(["doctor", "--json"]) == 1
    captured = capsys.readouterr()
    answer = json.loads(captured.out)
    checks = {check["name"]: check for check in answer["checks"]}
    assert answer["healthy"] is False
    assert {name: checks[name]["state"] for name in ("postgres", "redis", "openvino", "tokens")} == {
        "postgres": "missing",
        "redis": "missing",
        "openvino": "ok",
        "tokens": "ok",
    }
    assert all(check["cure"] for check in checks.values() if check["state"] == "missing")
    assert "hunter2" not in captured.out + captured.err


@pytest.mark.usefixtures("clean_settings")
def test_the_table_tells_found_and_cure(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("GISTLINE_DETECTION__MODEL", "nowhere.onnx")
    assert run(["doctor"]) == 1
    shown = capsys.readouterr().out
    assert "missing model     The model file nowhere.onnx cannot be read" in shown
    assert "GISTLINE_DETECTION__MODEL" in shown
    assert "embedded 18." in shown
