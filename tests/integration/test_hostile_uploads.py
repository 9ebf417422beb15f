"""Over a hundred ways to send something bad: each is refused with a reason, leaves nothing, and a good frame passes."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx2
import pytest

from gistline.flows.revoke_camera import revoke_camera
from gistline.settings import ApiSettings, Settings
from gistline.settings_frames import FrameSettings
from gistline.settings_report import as_environment
from tests.support import images
from tests.support.api import LINE, RunningApi, serving, settings_for
from tests.support.hostile import ALL, FORM, GOOD, Hostile, form, part


def send(client: httpx2.Client, hostile: Hostile) -> httpx2.Response:
    headers = {"Content-Type": hostile.media_type} | hostile.headers
    return client.post(f"/v1/frames{hostile.query}", content=hostile.body, headers=headers)


def check_problem(answer: httpx2.Response, hostile: Hostile) -> None:
    """A problem with the status that is due, a reason and a cure, and nothing of our inside."""
    assert answer.status_code == hostile.status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert hostile.why in problem["detail"]
    assert problem["status"] == hostile.status
    assert problem["title"]
    assert problem["cure"]
    for inside in ("Traceback", ".py", "sqlalchemy", "psycopg", "simplejpeg", "PIL", "/tmp/"):  # noqa: S108
        assert inside not in answer.text


@pytest.fixture(scope="module")
def module_settings(module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Default limits, but for fewer bytes, so that the tests need not send so many."""
    limits = ApiSettings(port=0, receive_timeout_s=1.0)
    frames = FrameSettings(max_bytes=2_000_000)
    return settings_for(module_database_url, tmp_path_factory.mktemp("hostile"), api=limits, frames=frames)


@pytest.fixture(scope="module")
def module_api(module_settings: Settings) -> Iterator[RunningApi]:
    with serving(module_settings) as running:
        yield running


@pytest.mark.parametrize("name", ALL)
def test_refused_without_a_trace(
    api: RunningApi, camera: httpx2.Client, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        check_problem(send(camera, ALL[name]), ALL[name])
    assert not caplog.records
    assert api.held() == (0, [])
    assert api.bells.frames == []
    assert camera.post("/v1/frames", content=GOOD).status_code == httpx2.codes.ACCEPTED


@pytest.mark.parametrize("media_type", ["image/png", "image/x-unheard-of", "application/octet-stream"])
def test_content_decides_not_the_content_type(api: RunningApi, camera: httpx2.Client, media_type: str) -> None:
    answer = camera.post("/v1/frames", content=GOOD, headers={"Content-Type": media_type})
    assert answer.status_code == httpx2.codes.ACCEPTED
    assert api.rows()[0].media_type == "image/jpeg"


@pytest.mark.parametrize("filename", ["../../../etc/cron.d/x", "/etc/passwd", "a\0b", "x" * 500, ""])
def test_filenames_mean_nothing(api: RunningApi, camera: httpx2.Client, filename: str) -> None:
    answer = camera.post("/v1/frames", content=form(part("images", GOOD, filename)), headers={"Content-Type": FORM})
    assert answer.status_code == httpx2.codes.ACCEPTED
    (stored,) = api.stored()
    assert stored == api.rows()[0].sha256


def test_a_revoked_key_is_refused_at_once(api: RunningApi) -> None:
    with api.client(api.add_camera("cam-gone", LINE)) as client:
        assert client.post("/v1/frames", content=GOOD).status_code == httpx2.codes.ACCEPTED
        assert revoke_camera(api.sessions, "cam-gone") == 1
        before = api.held()
        check_problem(client.post("/v1/frames", content=GOOD), Hostile(401, "unknown or revoked", b""))
    assert api.held() == before


RAW = {
    "no HTTP": (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(40) + b"\r\n\r\n", 400, "Invalid HTTP"),
    "a header with a null byte": (b"POST /v1/frames HTTP/1.1\r\nHost: x\r\nX-A: a\0b\r\n\r\n", 400, "Invalid HTTP"),
    "an endless header": (b"POST /v1/frames HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 70_000, 400, "Invalid HTTP"),
    "two lengths": (b"POST /v1/frames HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, ""),
    "a negative length": (b"POST /v1/frames HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400, "Invalid HTTP"),
    "a broken chunk": (
        b"POST /v1/frames HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        400,
        "",
    ),
    "a body that never comes": (
        b"POST /v1/frames HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nContent-Length: 1000\r\n\r\n\xff\xd8",
        408,
        "did not arrive within 1.0 s",
    ),
}


@pytest.mark.parametrize("name", RAW)
def test_bytes_that_are_hardly_http(api: RunningApi, camera: httpx2.Client, name: str) -> None:
    request, status, why = RAW[name]
    host, port = api.url.removeprefix("http://").split(":")
    with closing(socket.create_connection((host, int(port)), timeout=10)) as connection:
        connection.sendall(request.replace(b"KEY", api.key.encode()))
        head, _, body = b"".join(iter(lambda: _received(connection, until=b'"ids"'), b"")).partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    problem = json.loads(body)
    assert why in problem["detail"]
    assert problem["cure"]
    assert api.held() == (0, [])
    assert camera.post("/v1/frames", content=GOOD).status_code == httpx2.codes.ACCEPTED


def _received(connection: socket.socket, *, until: bytes) -> bytes:
    """What came, or nothing at the end; a complete problem ends the waiting on a connection that is kept."""
    data = connection.recv(65_536)
    if until in data:
        connection.shutdown(socket.SHUT_WR)
    return data


def test_a_client_that_hangs_up_leaves_nothing(api: RunningApi, camera: httpx2.Client) -> None:
    host, port = api.url.removeprefix("http://").split(":")
    for _ in range(5):
        with closing(socket.create_connection((host, int(port)), timeout=10)) as connection:
            head = b"POST /v1/frames HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\nAuthorization: Bearer "
            connection.sendall(head + api.key.encode() + b"\r\n\r\n" + GOOD)
    assert camera.post("/v1/frames", content=images.frame(8)).status_code == httpx2.codes.ACCEPTED
    assert len(api.rows()) == 1


@contextmanager
def real_process(settings: Settings, log: Path) -> Iterator[subprocess.Popen[str]]:
    """``python -m api`` with these settings, which is not left behind."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GISTLINE_")}
    environment |= as_environment(settings)
    command = [sys.executable, "-m", "api"]
    with (
        log.open("wb") as errors,
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.long
def test_the_real_process_survives_them_all(api: RunningApi, module_settings: Settings, tmp_path: Path) -> None:
    """The same requests in a row against a process of its own; then it takes a good frame, and stops when told to."""
    with real_process(module_settings, tmp_path / "log") as process:
        assert process.stdout is not None
        url = process.stdout.readline().rpartition(" ")[2].strip()
        with httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {api.key}"}, timeout=20.0) as client:
            for hostile in ALL.values():
                check_problem(send(client, hostile), hostile)
            assert api.held() == (0, [])
            assert client.post("/v1/frames", content=GOOD).status_code == httpx2.codes.ACCEPTED
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    assert "Traceback" not in (tmp_path / "log").read_text()
