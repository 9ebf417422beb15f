"""Health as it is, failures without their insides, and a process that starts, says where, and stops when told to."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import psutil
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from gistline.settings import ApiSettings, RedisSettings, Settings
from gistline.settings_report import as_environment
from gistline.storage import migrate
from gistline.storage.session import transaction
from tests.support import images
from tests.support.api import NO_TLS, RunningApi, serving, settings_for
from tests.support.processes import wait_until

DATA = images.frame(1)


def test_alive_and_ready(api: RunningApi) -> None:
    with api.client("") as nobody:
        assert nobody.get("/healthz").json() == {"status": "ok"}
        assert nobody.get("/readyz").json() == {"status": "ready", "broker": "down", "workers": {}}


def test_workers_are_shown(api: RunningApi) -> None:
    with transaction(api.sessions) as session:
        session.execute(
            text(
                "INSERT INTO worker_heartbeats (name, kind, ready, beat_at, detail) VALUES"
                " ('a', 'detect', true, now(), '{}'), ('b', 'detect', false, now(), '{}'),"
                " ('c', 'detect', true, now() - interval '1 hour', '{}'), ('d', 'report', true, now(), '{}')"
            )
        )
    with api.client("") as nobody:
        found = nobody.get("/readyz").json()["workers"]
    well = {"unproven": 0, "troubled": 0}
    assert found == {"detect": {"alive": 2, "ready": 1} | well, "report": {"alive": 1, "ready": 1} | well}


def test_the_broker_is_shown(database_url: str, redis_url: str, clean_settings: Path) -> None:
    settings = settings_for(database_url, clean_settings)
    settings = settings.model_copy(update={"redis": RedisSettings(url=SecretStr(redis_url))})
    with serving(settings) as api, api.client("") as nobody:
        assert nobody.get("/readyz").json()["broker"] == "up"


def test_old_tables_are_not_ready(empty_database_url: str, clean_settings: Path) -> None:
    with serving(settings_for(empty_database_url, clean_settings)) as api, api.client("") as nobody:
        answer = nobody.get("/readyz")
        assert answer.status_code == 503
        assert f"tables are at nothing, needed is {migrate.head()}: gistline db upgrade" in answer.json()["detail"]
        assert nobody.get("/healthz").status_code == 200


def test_a_store_that_takes_nothing_is_not_ready(api: RunningApi, camera: httpx2.Client) -> None:
    away = api.folder.with_name("away")
    api.folder.rename(away)
    api.folder.write_text("in the way")
    try:
        ready = camera.get("/readyz")
        sent = camera.post("/v1/frames", content=DATA)
    finally:
        api.folder.unlink()
        away.rename(api.folder)
    assert (ready.status_code, sent.status_code) == (503, 503)
    assert "store" in ready.json()["detail"]
    assert sent.headers["retry-after"] == "1"
    assert api.held() == (0, [])
    assert camera.post("/v1/frames", content=DATA).status_code == 202


def test_a_failure_keeps_its_insides_in_the_log(clean_settings: Path, caplog: pytest.LogCaptureFixture) -> None:
    url = "postgresql://spy:topsecret@127.0.0.1:9/gistline"
    with serving(settings_for(url, clean_settings)) as api, api.client("gl_" + "A" * 43) as camera:
        with caplog.at_level(logging.ERROR):
            answer = camera.post("/v1/frames", content=DATA)
        assert camera.get("/readyz").status_code == 503
        assert camera.get("/healthz").status_code == 200
    problem = answer.json()
    assert (answer.status_code, problem["title"]) == (503, "Storage unavailable")
    assert problem["ids"]["log"] in problem["detail"]
    for inside in ("topsecret", "127.0.0.1", "psycopg", "Traceback"):
        assert inside not in answer.text
    assert problem["ids"]["log"] in caplog.text
    assert "Connection refused" in caplog.text
    assert "topsecret" not in caplog.text


@contextmanager
def process(settings: Settings) -> Iterator[subprocess.Popen[str]]:
    """``python -m api`` with these settings, which is not left behind."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GISTLINE_")}
    environment |= as_environment(settings)
    command = [sys.executable, "-m", "api"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as run:  # type: ignore[call-overload]
        try:
            yield run
        finally:
            run.kill()


def test_a_stopping_process_finishes_what_it_began(database_url: str, redis_url: str, clean_settings: Path) -> None:
    settings = settings_for(database_url, clean_settings)
    settings = settings.model_copy(update={"redis": RedisSettings(url=SecretStr(redis_url))})
    with serving(settings) as helper:
        key = helper.key
    go_on = threading.Event()

    def slowly() -> Iterator[bytes]:
        yield DATA[:100]
        run.send_signal(signal.SIGTERM)
        go_on.wait(0.3)
        yield DATA[100:]

    with process(settings) as run:
        assert run.stdout is not None
        said = run.stdout.readline()
        assert said.startswith("Listening on http://127.0.0.1:")
        url = said.rpartition(" ")[2].strip()
        with httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=20.0) as camera:
            assert camera.post("/v1/frames", content=slowly()).status_code == 202
        _, errors = run.communicate(timeout=20)
    assert "Traceback" not in errors


@pytest.mark.long
def test_several_processes_serve_one_port(database_url: str, redis_url: str, clean_settings: Path) -> None:
    settings = settings_for(database_url, clean_settings, api=ApiSettings(port=0, processes=2))
    settings = settings.model_copy(update={"redis": RedisSettings(url=SecretStr(redis_url))})
    with serving(settings_for(database_url, clean_settings)) as helper:
        key = helper.key

    def send(camera: httpx2.Client, number: int) -> int:
        return camera.post("/v1/frames", content=images.frame(number)).status_code

    with process(settings) as run:
        assert run.stdout is not None
        parent = psutil.Process(run.pid)
        url = run.stdout.readline().rpartition(" ")[2].strip()
        wait_until(lambda: len(parent.children()) == 2, "both have been started")
        dying, left = parent.children()
        headers = {"Authorization": f"Bearer {key}"}
        with httpx2.Client(base_url=url, headers=headers, timeout=20.0, verify=NO_TLS) as camera:
            assert send(camera, 1) == 202
        dying.kill()
        dying.wait()
        with httpx2.Client(base_url=url, headers=headers, timeout=20.0, verify=NO_TLS) as camera:
            assert send(camera, 2) == 202
        wait_until(lambda: len(parent.children()) == 2, "another was started in its place")
        children = parent.children()
        assert left in children
        assert dying not in children
        run.kill()
        _, alive = psutil.wait_procs(children, timeout=15)
        assert alive == [], "children end with their parent"


def test_a_taken_port_is_refused_by_the_parent(database_url: str, clean_settings: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = settings_for(database_url, clean_settings, api=ApiSettings(port=port, processes=2))
        with process(settings) as run:
            _, errors = run.communicate(timeout=30)
    assert run.returncode == 2
    assert f"127.0.0.1:{port} cannot be listened on" in errors


def test_a_wrong_setting_ends_the_start_with_its_cure(clean_settings: Path) -> None:
    with process(Settings(data_dir=clean_settings)) as run:
        _, errors = run.communicate(timeout=30)
    assert run.returncode == 2
    assert errors.startswith("Wrong setting: database.url is empty. Set GISTLINE_DATABASE__URL")
    assert errors.count("\n") == 1
