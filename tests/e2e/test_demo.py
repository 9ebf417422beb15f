"""The command that a new user types first, as a process of its own, to its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from gistline.simulator.messages_api import MessagesServer, Reply
from tests.support.reporting import draft_text

GISTLINE = str(Path(sys.executable).with_name("gistline"))
FRAMES = 24


def environment(**more: str) -> dict[str, str]:
    ours = ("GISTLINE_", "ANTHROPIC_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | more


def demo(output: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [GISTLINE, "demo", "--limit", str(FRAMES), "--output", str(output), *arguments],
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def processes_of(folder: Path) -> list[psutil.Process]:
    """Processes that name the folder in their command line, or write a log into it."""
    found = []
    for process in psutil.process_iter():
        try:
            words = " ".join(process.cmdline()) + process.environ().get("GISTLINE_DATA_DIR", "")
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if str(folder) in words and process.pid != os.getpid():
            found.append(process)
    return found


def wait_for(condition: Callable[[], bool], *, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path, subprocess.CompletedProcess[str]]:
    output = tmp_path_factory.mktemp("demo") / "out"
    done = demo(output, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), output, done


def test_every_submitted_frame_is_inspected_and_reported(offline: tuple[dict[str, Any], Path, Any]) -> None:
    result, output, _ = offline
    assert result["frames"] == {"submitted": FRAMES, "accepted": FRAMES, "inspected": FRAMES, "failed": 0}
    assert sum(result["verdicts"].values()) == FRAMES
    assert result["verdicts"]["ok"] > 0
    assert result["verdicts"]["ng"] > 0
    assert result["findings"] >= result["verdicts"]["ng"]
    assert result["reports"] == 1
    assert (output / "report.md").read_text().strip()
    assert (output / "annotated.png").read_bytes().startswith(b"\x89PNG")


def test_the_bill_is_simulated_and_far_below_the_images(offline: tuple[dict[str, Any], Path, Any]) -> None:
    result, _, _ = offline
    assert result["cost_simulated"] is True
    assert 0 < result["cost_usd"] < result["image_baseline"]["usd"]
    assert result["saving_ratio"] == pytest.approx(1 - result["cost_usd"] / result["image_baseline"]["usd"], abs=1e-3)
    assert result["tokens"]["input"] > 0
    assert result["tokens"]["output"] > 0
    assert result["image_baseline"]["tokens"] == FRAMES * 529  # 640 x 640: ceil(640 / 28) squared


def test_the_engine_really_runs_in_int8(offline: tuple[dict[str, Any], Path, Any]) -> None:
    result, _, _ = offline
    assert result["engine"]["runtime"].lower().startswith("openvino")
    assert result["engine"]["precision"] == "INT8"
    assert len(result["engine"]["weights_sha256"]) == 64
    assert result["rates"]["fleet_fps"] > 0
    assert result["rates"]["engine_fps"] > 0


def test_nothing_runs_on_after_the_end(offline: tuple[dict[str, Any], Path, Any]) -> None:
    assert processes_of(offline[1]) == []


@pytest.mark.longest
def test_the_sdk_writes_and_is_billed_when_there_is_a_key(tmp_path: Path) -> None:
    reply = Reply(text=draft_text("Written by the twin."))
    with MessagesServer([reply]) as server:
        more = {"ANTHROPIC_API_KEY": "sk-test", "GISTLINE_REPORTS__BASE_URL": server.url}
        done = demo(tmp_path / "out", "--json", **more, GISTLINE_PASSPORT__REQUIRED="false")
        assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["cost_simulated"] is False
    assert result["reports"] == 1
    assert result["cost_usd"] > 0
    assert result["cost_usd"] == pytest.approx(float(server.twin.books.usd), abs=1e-9)
    assert "Written by the twin." in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.long
def test_ctrl_c_stops_everything(tmp_path: Path) -> None:
    output = tmp_path / "out"
    with (tmp_path / "err").open("wb") as err:
        started = subprocess.Popen(
            [GISTLINE, "demo", "--limit", "5000", "--output", str(output)],
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=err,
        )
        wait_for((output / "data" / "logs" / "api.log").exists)
        started.send_signal(signal.SIGINT)
        assert started.wait(timeout=40) == 130
    assert processes_of(output) == []


def test_a_folder_without_images_is_refused_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = demo(tmp_path / "out", "--frames-dir", str(tmp_path / "empty"))
    assert done.returncode == 2
    assert "holds no image" in done.stderr
    assert not (tmp_path / "out").exists(), "it started something first"


def test_a_folder_of_somebody_else_is_not_emptied(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    precious = tmp_path / "out" / "thesis.txt"
    precious.write_text("ten years of work")
    done = demo(tmp_path / "out")
    assert done.returncode == 2
    assert precious.read_text() == "ten years of work"
