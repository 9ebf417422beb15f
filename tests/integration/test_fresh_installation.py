"""The first commands of somebody who named no database: the embedded one is made, and gets its tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from gistline.cli.main import run


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fresh")


@pytest.mark.usefixtures("clean_settings")
@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["cameras", "list"], ""),
        (["costs"], "No report windows"),
        (["reports", "list"], "No report windows"),
        (["model", "list"], "pcb.int8.onnx"),
    ],
)
def test_reading_commands_answer(
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    words: str,
) -> None:
    monkeypatch.setenv("GISTLINE_DATA_DIR", str(data_dir))
    assert run(command) == 0
    captured = capsys.readouterr()
    assert words in captured.out
    assert "Traceback" not in captured.err
