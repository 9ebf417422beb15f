"""``gistline up`` as a process of its own: ready, self-healing, and gone without a trace, however it is ended."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from gistline.cli.main import run
from gistline.cli.stack import Stack, wait_until_ready
from gistline.embedded.processes import Program
from gistline.embedded.servers import child_environment
from gistline.embedded.supervisor import Supervisor
from gistline.errors import EngineUnavailable
from gistline.settings import Settings, load_settings
from tests.support.onnx_models import spot_detector
from tests.support.processes import family, is_alive, read_line, wait_until

GISTLINE = str(Path(sys.executable).with_name("gistline"))


@dataclass(frozen=True, slots=True)
class Up:
    """A running ``gistline up``, what it said when it was ready, and all processes that it had started by then."""

    process: subprocess.Popen[str]
    facts: dict[str, Any]
    children: list[int]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that the tests of this file use one after the other."""
    return tmp_path_factory.mktemp("up") / "data"


@pytest.fixture
def settings(data: Path, clean_settings: Path) -> Settings:
    model = clean_settings / "spot.onnx"
    spot_detector(model)
    detection = {"model": str(model), "runtime": "openvino"}
    return load_settings(data_dir=data, api={"port": 0}, detection=detection, passport={"required": False})


@contextmanager
def up(settings: Settings) -> Iterator[Up]:
    environment = child_environment(settings)
    with (settings.data_dir.parent / "stderr").open("w") as stderr:
        process = subprocess.Popen(
            [GISTLINE, "up", "--json-ready"], env=environment, text=True, stdout=subprocess.PIPE, stderr=stderr
        )
    try:
        facts = json.loads(read_line(process))
        yield Up(process, facts, family(process.pid))
    finally:
        process.kill()
        process.communicate()


def detect_workers(pid: int) -> set[int]:
    """Detect workers among what a process started; what they start themselves comes and goes."""
    found = set()
    for child in psutil.Process(pid).children():
        with suppress(psutil.NoSuchProcess):
            if child.cmdline()[-2:] == ["workers", "detect"]:
                found.add(child.pid)
    return found


def is_ready(facts: dict[str, Any]) -> bool:
    connection = http.client.HTTPConnection(facts["api"].removeprefix("http://"), timeout=10)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    finally:
        connection.close()


def test_ready_then_healed_then_stopped_by_ctrl_c(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with up(settings) as running:
        assert set(running.facts["pids"]) == {"api", "beat", "detect-1", "report"}
        assert is_ready(running.facts)

        monkeypatch.setenv("GISTLINE_DATA_DIR", str(settings.data_dir))
        assert run(["db", "current", "--json"]) == 0  # a command beside it shares its servers
        assert json.loads(capsys.readouterr().out)["ready"] is True

        os.kill(running.facts["pids"]["detect-1"], signal.SIGKILL)
        stderr = settings.data_dir.parent / "stderr"
        wait_until(lambda: "detect-1 was ended by SIGKILL; restart 1" in stderr.read_text(), "the restart is told")
        killed = running.facts["pids"]["detect-1"]
        wait_until(lambda: bool(detect_workers(running.process.pid) - {killed}), "the worker is there again")

        children = family(running.process.pid)
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(60) == 0
        assert not any(map(is_alive, {*children, *running.children}))
        assert "Stopped." in stderr.read_text()


@pytest.mark.long
def test_without_its_postgres_it_ends_so_that_somebody_starts_it_again(settings: Settings) -> None:
    with up(settings) as running:
        server = next(
            child for child in psutil.Process(running.process.pid).children() if child.name().startswith("postgres")
        )
        server.send_signal(signal.SIGKILL)
        assert running.process.wait(60) == 1
        assert not any(map(is_alive, running.children))
        said = (settings.data_dir.parent / "stderr").read_text()
        assert "the embedded PostgreSQL has ended" in said


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_killed_it_leaves_no_process(settings: Settings) -> None:
    with up(settings) as running:
        assert len(running.children) >= 6  # two servers and four processes
        running.process.send_signal(signal.SIGKILL)
        wait_until(lambda: not any(map(is_alive, running.children)), "everything ends with it")


@pytest.mark.long
def test_a_model_that_nothing_proves_is_named_with_the_cure(settings: Settings) -> None:
    proof = settings.passport.model_copy(update={"required": True})
    settings = settings.model_copy(update={"passport": proof})
    done = subprocess.run(
        [GISTLINE, "up"], env=child_environment(settings), text=True, capture_output=True, timeout=100, check=False
    )
    assert done.returncode == 1
    assert "The detect worker takes no work: The detector knows red, green, blue" in done.stderr
    assert "gistline model passport MODEL --labelled COCO.json" in done.stderr


def test_a_taken_port_is_refused_before_anything_starts(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with http_listener() as port:
        monkeypatch.setenv("GISTLINE_DATA_DIR", str(settings.data_dir / "untouched"))
        assert run(["--set", f"api.port={port}", "up"]) == 2
    error = capsys.readouterr().err
    assert f"127.0.0.1:{port} cannot be listened on" in error
    assert "GISTLINE_API__PORT" in error
    assert not (settings.data_dir / "untouched").exists()


def test_a_worker_that_cannot_start_is_named_with_its_reason(settings: Settings, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    settings = settings.model_copy(update={"data_dir": tmp_path})
    fails = Program("detect-1", (sys.executable, "-c", "raise SystemExit('no model here')"), logs / "detect-1.log")
    with Supervisor() as supervisor:
        supervisor.start(fails)
        stack = Stack(settings, supervisor, "http://127.0.0.1:0")
        with pytest.raises(EngineUnavailable) as caught:
            wait_until_ready(stack, lambda _: None)
    assert caught.value.message == "detect-1 ends as soon as it starts: no model here"
    assert str(logs / "detect-1.log") in caught.value.cure


@contextmanager
def http_listener() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]
