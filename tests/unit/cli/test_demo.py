"""The demo keeps to itself: its own servers, its own folder, nothing of the plant's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gistline.cli import demo
from gistline.cli.main import cli
from gistline.embedded.servers import servers
from gistline.errors import EngineUnavailable, RequestRejected
from gistline.settings import Settings, load_settings


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, clean_settings: Path) -> list[Settings]:
    """Settings that a demo would run with; it goes no further."""
    seen: list[Settings] = []

    @contextmanager
    def running(settings: Settings, **_: Any) -> Iterator[None]:
        seen.append(settings)
        raise EngineUnavailable("as planned")
        yield

    monkeypatch.setattr(demo, "running", running)
    return seen


def run(output: Path) -> BaseException | None:
    return CliRunner().invoke(cli, ["demo", "--output", str(output)], prog_name="gistline").exception


def test_it_reaches_neither_the_plant_s_gates_nor_its_metrics(
    started: list[Settings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GISTLINE_VERDICTS__ENABLED", "true")
    monkeypatch.setenv("GISTLINE_MQTT__URL", "mqtts://gistline:secret@broker.plant:8883")
    monkeypatch.setenv("GISTLINE_METRICS__PORT", "9400")
    assert isinstance(run(tmp_path / "out"), EngineUnavailable)
    (settings,) = started
    assert not settings.mqtt.url.get_secret_value()
    assert not settings.metrics.port


def test_the_folder_of_a_demo_that_runs_is_not_emptied(started: list[Settings], tmp_path: Path) -> None:
    output = tmp_path / "out"
    assert isinstance(run(output), EngineUnavailable)
    (output / "report.md").write_text("of the first")
    database = {"url": "postgresql+psycopg://127.0.0.1:9/nobody"}
    with servers(load_settings(data_dir=output / "data", database=database)):
        refused = run(output)
    assert isinstance(refused, RequestRejected)
    assert (output / "report.md").exists()
    assert isinstance(run(output), EngineUnavailable)
    assert not (output / "report.md").exists()
