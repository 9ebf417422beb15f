"""``gistline camera`` and the client against a running API: everything arrives once and in order, whatever was away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from gistline.capture.agent import Agent, Counts
from gistline.capture.sameness import Sameness
from gistline.capture.sources import FolderSource, Source
from gistline.capture.spool import Bounds, Spool
from gistline.capture.video import LiveStream, VideoFile
from gistline.cli.camera import ONE_TRY
from gistline.cli.main import run
from gistline.client import CameraClient, Shot, Unanswered, read_key
from gistline.errors import Conflict, FleetBusy, NotAuthenticated, NotFound, RequestRejected, SettingsError
from gistline.settings import ApiSettings, PressureSettings
from gistline.storage.session import transaction
from tests.integration.test_pressure import drained, end_all
from tests.support import images
from tests.support.api import RunningApi, serving, settings_for
from tests.support.capture import agent_process, answering, streamed, write_video
from tests.support.processes import ROOT, wait_until
from tests.support.receivers import own_hook
from tests.support.rtsp import rtsp_camera


def keys(api: RunningApi) -> list[str]:
    """Keys of all frames, in the order in which they were accepted."""
    return [row.idempotency_key for row in api.rows()]


def waiting(spool: Path) -> int:
    return len(list(spool.glob("0*.json")))


def pictures(folder: Path, numbers: range) -> list[str]:
    """Files renamed into a folder, a second apart; their keys, in order."""
    folder.mkdir(exist_ok=True)
    for number in numbers:
        half = folder / f".{number}.half"
        half.write_bytes(images.frame(number))
        os.utime(half, (1_700_000_000 + number,) * 2)
        half.rename(folder / f"{number:03}.jpg")
    return [f"{1_700_000_000 + number}000000000-" for number in numbers]


def beginnings(found: list[str]) -> list[str]:
    return [key[: key.index("-") + 1] for key in found]


@contextmanager
def running(agent: Agent, source: Source, *, levels: float = 0) -> Iterator[list[Counts]]:
    """The agent in a thread; what it counted is there afterwards."""
    counts: list[Counts] = []
    thread = threading.Thread(target=lambda: counts.append(agent.run(source, Sameness(levels))))
    thread.start()
    try:
        yield counts
    finally:
        agent.stop()
        thread.join()


def all_of(api: RunningApi, tmp_path: Path, source: Source, *, levels: float = 0) -> tuple[Counts, list[str]]:
    """Counts and words of an agent that runs until its source has ended."""
    said: list[str] = []
    with Spool(tmp_path / "spool", Bounds()) as spool:
        agent = Agent(spool, lambda: CameraClient(api.url, api.key, patience=ONE_TRY), say=said.append)
        return agent.run(source, Sameness(levels)), said


@pytest.mark.long
def test_a_folder_is_sent_once_and_in_order(api: RunningApi, tmp_path: Path) -> None:
    expected = pictures(tmp_path / "in", range(40))
    counts, said = all_of(api, tmp_path, FolderSource(tmp_path / "in", settle_s=0, once=True))
    assert beginnings(keys(api)) == expected
    assert (counts.spooled, counts.sent, counts.refused, said) == (40, 40, 0, [])
    assert api.rows()[7].captured_at.timestamp() == 1_700_000_007
    assert waiting(tmp_path / "spool") == 0


def test_a_video_leaves_its_near_duplicates_out(api: RunningApi, tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", [20] * 10 + [120] * 10 + [20] * 5)
    counts, _ = all_of(api, tmp_path, VideoFile(video), levels=8)
    assert (counts.spooled, counts.skipped, counts.sent) == (3, 22, 3)
    assert [key[-8:] for key in keys(api)] == ["00000000", "00000010", "00000020"]
    again, _ = all_of(api, tmp_path, VideoFile(video), levels=8)
    assert (again.sent, len(api.rows())) == (3, 3), "read again it makes no frame twice"


def test_what_the_api_refuses_is_kept_and_told_and_holds_nobody_up(api: RunningApi, tmp_path: Path) -> None:
    expected = pictures(tmp_path / "in", range(5))
    (tmp_path / "in" / "002.jpg").write_bytes(b"no image")
    os.utime(tmp_path / "in" / "002.jpg", (1_700_000_002,) * 2)
    counts, said = all_of(api, tmp_path, FolderSource(tmp_path / "in", settle_s=0, once=True))
    assert beginnings(keys(api)) == [*expected[:2], *expected[3:]]
    assert (counts.sent, counts.refused) == (4, 1)
    (aside,) = (tmp_path / "spool" / "refused").glob("*.image")
    assert aside.read_bytes() == b"no image"
    assert f"REFUSED, kept as {aside}: The bytes are no accepted image" in said[0].replace("Image 0: ", "")


@pytest.mark.long
def test_an_api_that_was_away_gets_everything_once_in_order(
    database_url: str, tmp_path: Path, clean_settings: Path
) -> None:
    del clean_settings
    settings = settings_for(database_url, tmp_path / "api")
    early = pictures(tmp_path / "in", range(3))
    with ExitStack() as stack:
        with serving(settings) as first:
            url, key = first.url, first.key
            arguments = (str(tmp_path / "in"), "--url", url, "--spool", str(tmp_path / "spool"), "--settle", "0")
            process = stack.enter_context(agent_process(key, *arguments, folder=tmp_path))
            wait_until(lambda: len(first.rows()) == 3, "the first frames arrive")
        late = pictures(tmp_path / "in", range(3, 30))
        wait_until(lambda: waiting(tmp_path / "spool") == 27, "the frames wait in the spool")
        wait_until(lambda: "does not answer" in (tmp_path / "agent.log").read_text(), "it is said")
    assert process.returncode == -signal.SIGKILL
    more = pictures(tmp_path / "in", range(30, 40))
    again = settings.model_copy(update={"api": ApiSettings(port=int(url.rpartition(":")[2]))})
    with agent_process(key, *arguments, folder=tmp_path) as process:
        wait_until(lambda: waiting(tmp_path / "spool") == 37, "the rest waits behind them")
        with serving(again) as second:
            wait_until(lambda: len(second.rows()) == 40, "everything arrives")
            wait_until(lambda: waiting(tmp_path / "spool") == 0, "the spool is empty")
            assert beginnings(keys(second)) == [*early, *late, *more]
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
    said = (tmp_path / "agent.log").read_text()
    assert "27 frames wait" in said
    assert key not in said


@pytest.mark.long
def test_sigkill_while_it_spools_and_sends_loses_and_doubles_nothing(api: RunningApi, tmp_path: Path) -> None:
    expected = pictures(tmp_path / "in", range(240))
    arguments = (str(tmp_path / "in"), "--url", api.url, "--spool", str(tmp_path / "spool"), "--settle", "0", "--once")
    for part in (10, 45):
        with agent_process(api.key, *arguments, folder=tmp_path) as process:
            wait_until(lambda least=part: len(api.rows()) >= least, f"{part} frames arrive")  # type: ignore[misc]
            process.kill()
            process.wait()
    assert len(api.rows()) < 240
    with agent_process(api.key, *arguments, folder=tmp_path) as process:
        assert process.wait(60) == 0
    assert beginnings(keys(api)) == expected
    assert len(list((tmp_path / "in" / "taken").iterdir())) == 240


def test_retry_after_is_obeyed_and_nothing_is_lost(database_url: str, tmp_path: Path) -> None:
    limits = PressureSettings(max_depth=99, max_camera_depth=4, max_age_s=0, refresh_s=0, min_free_bytes=0)
    settings = settings_for(database_url, tmp_path / "api").model_copy(update={"pressure": limits})
    said: list[str] = []
    moments: list[float] = []

    def say(text: str) -> None:
        moments.append(time.monotonic())
        said.append(text)

    with serving(settings) as api, Spool(tmp_path / "spool", Bounds()) as spool:
        with transaction(api.sessions) as session:
            drained(session, 3_000, age_s=0)
        agent = Agent(spool, lambda: CameraClient(api.url, api.key, patience=ONE_TRY), say=say)
        early = pictures(tmp_path / "in", range(4))
        with running(agent, FolderSource(tmp_path / "in", settle_s=0)):
            wait_until(lambda: len(api.rows()) == 4, "the first four arrive")
            late = pictures(tmp_path / "in", range(4, 8))
            wait_until(lambda: bool(said), "it is put off")
            end_all(api)
            wait_until(lambda: len(api.rows()) == 8, "the others arrive")
            assert time.monotonic() - moments[0] >= 1.0, "Retry-After was a second"
        assert said[0].startswith("Put off for 1 s: Camera 'cam-1' has to wait")
        assert beginnings(keys(api)) == early + late


def test_a_full_spool_leaves_the_files_where_they_are(api: RunningApi, tmp_path: Path) -> None:
    expected = pictures(tmp_path / "in", range(8))
    said: list[str] = []
    # Nobody answers there, so that nothing leaves the spool.
    with Spool(tmp_path / "spool", Bounds(frames=3)) as spool:
        agent = Agent(spool, lambda: CameraClient("http://127.0.0.1:9", "gl_x", patience=ONE_TRY), say=said.append)
        with running(agent, FolderSource(tmp_path / "in", settle_s=0, once=True)) as counts:
            wait_until(lambda: any("Nothing more is taken" in one for one in said), "it is said")
        assert (counts[0].spooled, counts[0].lost, len(spool)) == (3, 0, 3)
        assert len(list((tmp_path / "in").glob("*.jpg"))) == 5
    with Spool(tmp_path / "spool", Bounds(frames=3)) as spool:
        agent = Agent(spool, lambda: CameraClient(api.url, api.key, patience=ONE_TRY), say=said.append)
        agent.run(FolderSource(tmp_path / "in", settle_s=0, once=True), Sameness(0))
    assert beginnings(keys(api)) == expected


def test_a_full_spool_loses_pictures_of_a_stream_loudly(tmp_path: Path) -> None:
    said: list[str] = []
    body = write_video(tmp_path / "a.ts", range(0, 200, 20)).read_bytes()
    with streamed(body) as (url, _), Spool(tmp_path / "spool", Bounds(frames=4)) as spool:
        agent = Agent(spool, lambda: CameraClient("http://127.0.0.1:9", "gl_x", patience=ONE_TRY), say=said.append)
        with running(agent, LiveStream(url, 0, None, said.append)) as counts:
            wait_until(lambda: any("opened again" in one for one in said), "the stream was read to its end")
        assert (counts[0].spooled, len(spool)) == (4, 4)
        assert counts[0].lost >= 6
    assert any(one.startswith("FRAMES ARE LOST (1 so far)") for one in said)


def test_a_wrong_key_keeps_the_frames(api: RunningApi, tmp_path: Path) -> None:
    pictures(tmp_path / "in", range(3))
    said: list[str] = []
    with Spool(tmp_path / "spool", Bounds()) as spool:
        agent = Agent(spool, lambda: CameraClient(api.url, "gl_wrong", patience=ONE_TRY), say=said.append)
        with running(agent, FolderSource(tmp_path / "in", settle_s=0, once=True)):
            wait_until(lambda: bool(said), "it is said")
            wait_until(lambda: len(spool) == 3, "all are spooled")
    assert "unknown or revoked" in said[0]
    assert "gl_wrong" not in said[0]
    assert waiting(tmp_path / "spool") == 3


def test_a_line_on_standard_input_takes_one_picture_of_a_stream(api: RunningApi, tmp_path: Path) -> None:
    body = write_video(tmp_path / "a.ts", range(0, 200, 20)).read_bytes()
    with streamed(body) as (url, asked):
        spool = ("--spool", str(tmp_path / "spool"), "--url", api.url)
        with agent_process(api.key, f"{url}/live", *spool, "--trigger", "stdin", folder=tmp_path) as process:
            assert process.stdin is not None
            wait_until(lambda: bool(asked), "the stream is open")
            for count in (1, 2):
                process.stdin.write("now\n")
                process.stdin.flush()
                wait_until(lambda least=count: len(api.rows()) == least, f"{count} pictures")  # type: ignore[misc]
            process.send_signal(signal.SIGTERM)
            assert process.wait(15) == 0
    assert len(api.rows()) == 2
    assert "2 frames taken, 0 skipped as similar, 2 sent, 0 wait." in (tmp_path / "agent.log").read_text()


def test_an_rtsp_camera_is_read_over_tcp_and_its_password_is_never_shown(
    api: RunningApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = write_video(tmp_path / "a.ts", [20] * 10 + [200] * 10).read_bytes()
    key = api.key
    log = tmp_path / "agent.log"
    with rtsp_camera(body) as (url, asked):
        assert "geheim" in url
        monkeypatch.setenv("GISTLINE_CAMERA_SOURCE", url)
        options = ("--url", api.url, "--spool", str(tmp_path / "spool"), "--fps", "0", "--skip-similar", "8")
        with agent_process(key, *options, folder=tmp_path) as process:
            wait_until(lambda: len(api.rows()) >= 2, "both pictures arrive")
            wait_until(lambda: "opened again" in log.read_text(), "the camera hung up")
            process.send_signal(signal.SIGTERM)
            assert process.wait(15) == 0
    assert asked[:4] == ["OPTIONS", "DESCRIBE", "SETUP RTP/AVP/TCP;unicast;interleaved=0-1", "PLAY"]
    said = log.read_text()
    assert f"{url.replace('anna:geheim@', '')} ended" in said
    assert "geheim" not in said
    assert key not in said


@pytest.mark.usefixtures("clean_settings")
def test_what_was_meant_wrongly_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["camera", str(tmp_path)]) == 2
    assert "There is no camera's key in GISTLINE_CAMERA_KEY" in capsys.readouterr().err
    file = tmp_path / "key"
    file.write_text("gl_key\n")
    assert run(["camera", str(tmp_path / "absent"), "--key-file", str(file)]) == 2
    assert "is no folder, no file and no address" in capsys.readouterr().err
    assert run(["camera", str(tmp_path), "--key-file", str(file), "--trigger", "stdin"]) == 2
    assert "--trigger is for streams" in capsys.readouterr().err


def test_the_client_sends_once_however_often_it_is_asked(api: RunningApi) -> None:
    with CameraClient(api.url, api.key) as client:
        shots = [Shot(images.frame(number), part_number="PN-7") for number in range(3)]
        first, again = client.submit(shots), client.submit(shots)
        assert [frame.id for frame in first] == [frame.id for frame in again] == [str(row.id) for row in api.rows()]
        assert [(one.duplicate, two.duplicate) for one, two in zip(first, again, strict=True)] == [(False, True)] * 3
        assert client.frame(first[0].id)["part_number"] == "PN-7"
        with pytest.raises(Conflict):
            client.submit([Shot(images.frame(9), shots[0].frame_key)])
        with pytest.raises(RequestRejected):
            client.submit([Shot(images.frame(9), "x" * 201)])
    with CameraClient(api.url, "gl_wrong") as client, pytest.raises(NotAuthenticated):
        client.submit(shots)


def test_somebody_else_s_server_is_no_api_and_takes_no_frame(tmp_path: Path) -> None:
    said: list[str] = []
    pictures(tmp_path / "in", range(2))
    with answering(b'{"frames": [{"id": "1"}]}') as url, Spool(tmp_path / "spool", Bounds()) as spool:
        agent = Agent(spool, lambda: CameraClient(url, "gl_x", patience=ONE_TRY), say=said.append)
        with running(agent, FolderSource(tmp_path / "in", settle_s=0)):
            wait_until(lambda: bool(said), "it is said")
            wait_until(lambda: len(spool) == 2, "both frames wait")
    assert "answers without these frames. Is this the address of a Gistline API? Frames are kept" in said[0]
    with pytest.raises(SettingsError, match="is no address"):
        CameraClient("http://gistline:port", "gl_x")


def test_the_client_is_patient_and_not_for_ever() -> None:
    pauses: list[float] = []
    told: list[str] = []
    client = CameraClient(
        "http://127.0.0.1:9", "gl_key", notice=lambda error, _: told.append(str(error)), wait=pauses.append
    )
    with client, pytest.raises(Unanswered, match="does not answer"):
        client.submit([Shot(b"x")])
    assert len(pauses) == len(told) == 3
    assert all(low <= pause <= 2 * low for pause, low in zip(pauses, (0.5, 1, 2), strict=True))
    assert "gl_key" not in repr(told) + repr(client)


@pytest.mark.parametrize("asked", ["86400", "9" * 18, "9" * 5_000])
def test_no_proxy_stops_a_camera_for_a_day(asked: str) -> None:
    pauses: list[float] = []
    with own_hook() as hook:
        hook.answers, hook.headers = [503], {"Retry-After": asked}
        client = CameraClient(hook.url.partition("/alarms")[0], "gl_key", wait=pauses.append)
        with client, pytest.raises(NotFound, match="answered 200"):
            client.submit([Shot(b"x")])
    assert len(pauses) == 1
    assert pauses[0] <= 600


def test_the_client_gives_up_being_put_off(database_url: str, tmp_path: Path) -> None:
    limits = PressureSettings(max_depth=99, max_camera_depth=1, max_age_s=0, refresh_s=0, min_free_bytes=0)
    settings = settings_for(database_url, tmp_path).model_copy(update={"pressure": limits})
    with serving(settings) as api, CameraClient(api.url, api.key, patience=ONE_TRY) as client:
        client.submit([Shot(images.frame(1))])
        with pytest.raises(FleetBusy) as refused:
            client.submit([Shot(images.frame(2))])
        assert 1 <= refused.value.retry_after_s <= 60


def test_a_key_comes_from_the_environment_or_a_file(clean_settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="no camera's key"):
        read_key()
    file = clean_settings / "key"
    file.write_text("gl_from_file\n")
    assert read_key(file) == "gl_from_file"
    monkeypatch.setenv("GISTLINE_CAMERA_KEY_FILE", str(file))
    assert read_key() == "gl_from_file"
    file.write_text("two words")
    with pytest.raises(SettingsError, match="is no camera's key") as refused:
        read_key()
    assert "two words" not in str(refused.value)
    monkeypatch.delenv("GISTLINE_CAMERA_KEY_FILE")
    monkeypatch.setenv("GISTLINE_CAMERA_KEY", "gl_from_environment")
    assert read_key() == "gl_from_environment"


def test_the_client_is_light() -> None:
    heavy = (
        "{'numpy', 'cv2', 'pydantic', 'sqlalchemy', 'celery', 'click', 'av', 'gistline.settings', 'gistline.domain'}"
    )
    script = f"import sys, gistline.client; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
