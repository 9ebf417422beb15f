"""What the doctor makes of a machine's own words; recorded ones, since no machine has every processor."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from gistline.cli import probes
from gistline.cli.main import run
from gistline.cli.probes import State, cpu, gpu

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
    """A folder of weights in place of the installed one."""
    names = {"fp32": "pcb.onnx", "int8": "pcb.int8.onnx"}
    for name in names.values():
        (tmp_path / name).write_bytes(name.encode())
    sums = (f"{hashlib.sha256(name.encode()).hexdigest()}  {name}" for name in names.values())
    (tmp_path / "SHA256SUMS").write_text("\n".join(sums) + "\n")
    monkeypatch.setattr(probes, "bundled_path", lambda precision: tmp_path / names[precision])
    return tmp_path


def test_released_weights_are_recognised(installation: Path) -> None:
    assert probes._checksums().state is State.OK


def test_changed_weights_are_found(installation: Path) -> None:
    (installation / "pcb.int8.onnx").write_bytes(b"something else")
    check = probes._checksums()
    assert check.state is State.MISSING
    assert check.found.startswith("pcb.int8.onnx is not")


def test_missing_sums_are_found(installation: Path) -> None:
    (installation / "SHA256SUMS").unlink()
    assert probes._checksums().state is State.MISSING


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
