"""Beyond its limits the API says 429 before it takes anything, fairly; frames past their deadline expire, counted."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest
from sqlalchemy import func, update
from sqlalchemy.orm import Session

from gistline.cli.main import run
from gistline.dispatch import NullDispatcher
from gistline.domain import FrameState
from gistline.errors import FleetBusy
from gistline.flows.add_camera import add_camera
from gistline.flows.admit_upload import admit
from gistline.flows.sweep import sweep
from gistline.settings import PressureSettings
from gistline.storage.cameras import CameraIdentity
from gistline.storage.frame_ledger import read_frame_ledger
from gistline.storage.pressure import QueueLoad, Waiting, read_load
from gistline.storage.session import transaction
from gistline.storage.tables import BatchRow, FrameRow
from tests.support import images
from tests.support.api import RunningApi, serving, settings_for

LIMITS = PressureSettings(max_depth=8, max_camera_depth=6, max_age_s=0, refresh_s=0, min_free_bytes=0)


@contextmanager
def pressed(database_url: str, folder: Path, **changes: object) -> Iterator[RunningApi]:
    limits = LIMITS.model_copy(update=changes)
    with serving(settings_for(database_url, folder).model_copy(update={"pressure": limits})) as running:
        yield running


@pytest.fixture
def api(database_url: str, tmp_path: Path) -> Iterator[RunningApi]:
    with pressed(database_url, tmp_path) as running:
        yield running


def camera(api: RunningApi, name: str, priority: int = 5) -> httpx2.Client:
    return api.client(add_camera(api.sessions, name, "line-a", priority=priority)[1])


def post(client: httpx2.Client, number: int, **fields: str) -> httpx2.Response:
    return client.post(
        "/v1/frames", params=fields, content=images.frame(number), headers={"Content-Type": "image/jpeg"}
    )


def fill(client: httpx2.Client, *, begin: int) -> int:
    """Send until refused; returns how many were accepted."""
    for count in range(100):
        answer = post(client, begin + count)
        if answer.status_code != httpx2.codes.ACCEPTED:
            assert answer.status_code == httpx2.codes.TOO_MANY_REQUESTS, answer.text
            return count
    raise AssertionError("nothing was ever refused")


def drained(session: Session, frames: int, *, age_s: float) -> None:
    """Note a batch that the fleet claimed a while ago."""
    spent = dict.fromkeys(
        ("queue_s", "queue_max_s", "fetch_s", "decode_s", "infer_s", "post_s", "commit_s", "total_s"), 0.0
    )
    claimed = datetime.now(UTC) - timedelta(seconds=age_s)
    row = BatchRow(id=uuid4(), worker="w", claimed_at=claimed, frames=frames, failed=0, cameras=1, **spent)
    session.add(row)
    session.flush()


def end_all(api: RunningApi) -> None:
    """The fleet catches up."""
    with transaction(api.sessions) as session:
        session.execute(update(FrameRow).values(state=FrameState.EXPIRED, finished_at=func.now()))


def test_a_refusal_names_the_limit_and_the_time_and_takes_nothing(api: RunningApi) -> None:
    with camera(api, "chatty") as chatty:
        assert fill(chatty, begin=0) == LIMITS.max_camera_depth
        held = api.held()
        answer = post(chatty, 99)
        assert answer.status_code == httpx2.codes.TOO_MANY_REQUESTS
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        problem = answer.json()
        assert problem["title"] == "Fleet busy"
        assert "6 of its frames wait; 6 may (pressure.max_camera_depth)" in problem["detail"]
        assert "Retry-After" in problem["cure"]
        assert api.held() == held
        end_all(api)
        assert post(chatty, 99).status_code == httpx2.codes.ACCEPTED


def test_who_has_less_than_its_share_is_let_in(api: RunningApi) -> None:
    with camera(api, "chatty") as chatty, camera(api, "quiet") as quiet, camera(api, "alarm", priority=0) as alarm:
        assert fill(chatty, begin=0) == 6
        assert [post(quiet, 100 + number).status_code for number in range(2)] == [202, 202]
        end_of_chatty = post(chatty, 50)
        assert end_of_chatty.status_code == httpx2.codes.TOO_MANY_REQUESTS
        assert post(quiet, 102).status_code == 202, "8 wait, 2 of them its own"
        assert fill(alarm, begin=200) == 6, "an alarm camera feels its own queue only"
        assert post(quiet, 103).status_code == 202, "15 wait"
        assert post(quiet, 104).status_code == httpx2.codes.TOO_MANY_REQUESTS, "16 wait: the ceiling"


def test_age_counts_as_well(database_url: str, tmp_path: Path) -> None:
    with (
        pressed(database_url, tmp_path, max_age_s=30.0) as api,
        camera(api, "one") as one,
        camera(api, "other") as other,
    ):
        assert post(one, 1).status_code == 202
        with transaction(api.sessions) as session:
            session.execute(update(FrameRow).values(accepted_at=func.now() - timedelta(seconds=40)))
        answer = post(one, 2)
        assert answer.status_code == httpx2.codes.TOO_MANY_REQUESTS
        assert "the oldest frame has waited 40 s; 30 may (pressure.max_age_s)" in answer.json()["detail"]
        assert post(other, 3).status_code == 202


@pytest.mark.parametrize(("drained", "wait"), [(0.0, 60), (0.01, 60), (50.0, 3), (1000.0, 1)])
def test_the_pause_is_what_the_fleet_needs(drained: float, wait: int) -> None:
    load = QueueLoad([Waiting(1, 5, 1_100, 1.0)], drained)
    with pytest.raises(FleetBusy) as refused:
        admit(CameraIdentity(1, "cam", "line"), load, PressureSettings(max_depth=1_000, max_camera_depth=951))
    assert refused.value.retry_after_s == wait


def test_the_load_is_read_from_the_rows(api: RunningApi) -> None:
    with camera(api, "one") as one, camera(api, "alarm", priority=1) as alarm:
        for number in range(3):
            post(one, number)
        post(alarm, 10)
    with transaction(api.sessions) as session:
        for frames, age_s in ((90, 5), (60, 20), (1_000, 40)):
            drained(session, frames, age_s=age_s)
        load = read_load(session)
    assert sorted((one.priority, one.frames) for one in load.waiting) == [(1, 1), (5, 3)]
    assert load.drained_per_s == pytest.approx(5.0), "150 frames in the last 30 s"


def test_a_full_disk_is_said_and_nothing_is_taken(database_url: str, tmp_path: Path) -> None:
    with pressed(database_url, tmp_path, min_free_bytes=10**18) as api, camera(api, "cam") as client:
        answer = post(client, 1)
        assert answer.status_code == httpx2.codes.INSUFFICIENT_STORAGE
        assert "pressure.min_free_bytes" in answer.json()["detail"]
        assert answer.headers["retry-after"] == "60"
        assert api.held() == (0, [])


def test_what_arrives_at_once_is_bounded(database_url: str, tmp_path: Path) -> None:
    with pressed(database_url, tmp_path, max_arriving_bytes=1_000_000) as api, camera(api, "cam") as client:
        port = int(api.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as slow:
            slow.sendall(
                f"POST /v1/frames HTTP/1.1\r\nHost: x\r\nAuthorization: {client.headers['authorization']}\r\n"
                "Content-Type: image/jpeg\r\nContent-Length: 999999\r\n\r\n".encode()
            )
            until = time.monotonic() + 10
            while api.gauge.arriving == 0 and time.monotonic() < until:
                time.sleep(0.01)
            answer = post(client, 1)
            assert answer.status_code == httpx2.codes.TOO_MANY_REQUESTS
            assert "999999 bytes are arriving" in answer.json()["detail"]
        while (answer := post(client, 1)).status_code != 202 and time.monotonic() < until:
            time.sleep(0.05)
        assert answer.status_code == 202, "the slow one left"


def test_a_refusal_does_not_wait_for_the_body(api: RunningApi) -> None:
    with camera(api, "cam") as client:
        fill(client, begin=0)
        port = int(api.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
            raw.sendall(
                f"POST /v1/frames HTTP/1.1\r\nHost: x\r\nAuthorization: {client.headers['authorization']}\r\n"
                "Content-Type: image/jpeg\r\nContent-Length: 10000000\r\n\r\n".encode()
            )
            assert raw.recv(1000).startswith(b"HTTP/1.1 429")


def test_the_command_line_waits_its_turn(api: RunningApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = api.key
    with api.client() as client:
        fill(client, begin=0)
    file = tmp_path / "late.jpg"
    file.write_bytes(images.frame(500))
    with transaction(api.sessions) as session:
        drained(session, 3_000, age_s=0)
    later = threading.Timer(0.5, end_all, [api])
    later.start()
    assert run(["submit", str(file), "--key", key, "--url", api.url, "--json"]) == 0
    later.join()
    assert "late.jpg" in capsys.readouterr().out
    assert len(api.rows()) == LIMITS.max_camera_depth + 1


def test_a_camera_gives_its_frames_a_deadline(api: RunningApi) -> None:
    with camera(api, "cam") as client:
        assert post(client, 1, deadline_s="1").status_code == 202
        assert post(client, 2).status_code == 202
        assert post(client, 3, deadline_s="0").status_code == 422
    until = time.monotonic() + 10
    expired = 0
    while not expired and time.monotonic() < until:
        time.sleep(0.1)
        expired = sweep(api.sessions, NullDispatcher(), api.services.settings).expired
    with transaction(api.sessions) as session:
        ledger = read_frame_ledger(session)
    assert (ledger.accepted, ledger.expired, ledger.pending, ledger.faults) == (2, 1, 1, {})
