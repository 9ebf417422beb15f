"""What the doctor makes of a machine's own words; recorded ones, since no machine has every processor."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from gistline.cli import hardware_probes, probes
from gistline.cli.checks import State
from gistline.cli.main import run
from gistline.detection.cpu_facts import CpuFacts
from gistline.detection.gpu_facts import GpuFacts
from gistline.flows.compare_precisions import PrecisionSpeed
from tests.support.onnx_models import spot_detector

XEON = CpuFacts("Xeon", "x86_64", 8, ("amx_int8", "avx512_vnni", "amx_bf16", "avx512_bf16"), known=True)
OLD = CpuFacts("Core i5-4460", "x86_64", 4, ("avx2",), known=True)
SILENT = CpuFacts("Chip", "riscv64", 2, (), known=False)


@pytest.mark.parametrize(
    ("facts", "state", "found"),
    [
        (XEON, State.OK, "Xeon, 8 cores, INT8 by amx_int8 avx512_vnni, BF16 by amx_bf16 avx512_bf16"),
        (OLD, State.ABSENT, "Core i5-4460, 4 cores, INT8 by none, BF16 by none"),
        (SILENT, State.ABSENT, "Chip, 2 cores, instruction sets unknown"),
    ],
)
def test_instructions_for_small_numbers_are_told(facts: CpuFacts, state: State, found: str) -> None:
    check = hardware_probes.cpu(facts)
    assert (check.state, check.found) == (state, found)


@pytest.mark.parametrize(
    ("capability", "state", "words"),
    [
        ((6, 0), State.ABSENT, "no INT8 arithmetic"),
        ((7, 0), State.ABSENT, "Build with fp16"),
        ((7, 5), State.OK, "INT8: tensor cores"),
        ((9, 0), State.OK, "also FP8"),
        ((10, 3), State.ABSENT, "Build with fp16"),
        ((42, 0), State.ABSENT, "newer than this table"),
    ],
)
def test_a_gpu_is_judged_by_its_compute_capability(capability: tuple[int, int], state: State, words: str) -> None:
    check = hardware_probes.gpu(GpuFacts("Card", capability, 2**34, 2**34, "580.95", "13.0"))
    assert check.state is state
    assert words in f"{check.found} {check.cure}"
    assert "16.0 GiB, driver 580.95, CUDA 13.0" in check.found


def speed(low: float) -> PrecisionSpeed:
    return PrecisionSpeed(1.9, low, 2.1, 35.0, 66.5, "this", "2026-11-24T00:00:00+00:00")


def test_int8_is_judged_by_the_figure_measured_here() -> None:
    check = hardware_probes.int8(OLD, speed(1.8))
    assert check.state is State.OK
    assert "1.90 x FP32 (1.80 to 2.10), 66.5 against 35.0 images/s" in check.found
    assert "weights up to 64" in check.found
    assert hardware_probes.int8(OLD, speed(0.9)).state is State.ABSENT
    expected = hardware_probes.int8(XEON, None)
    assert (expected.state, expected.cure) == (State.ABSENT, "gistline doctor --bench")
    assert "weights up to 127" in expected.found


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
