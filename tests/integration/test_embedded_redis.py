"""The embedded Redis: keeps every message, evicts none, asks for its password, is never left behind."""

from __future__ import annotations

import signal
import stat
import sys
from pathlib import Path

import psutil
import pytest
from redis import Redis
from redis.exceptions import AuthenticationError

from gistline.embedded.redis import ask_version, find_binary, redis, server_version
from gistline.errors import StorageUnavailable
from tests.support.processes import is_alive, read_line, running_script, wait_until

OWNER = """
import sys, time
from pathlib import Path
from gistline.embedded.redis import redis

with redis(Path(sys.argv[1]), Path(sys.argv[2])) as url:
    print(url, flush=True)
    time.sleep(600)
"""


def test_settings_that_lose_nothing(tmp_path: Path) -> None:
    with redis(tmp_path / "redis", tmp_path / "log") as url, Redis.from_url(url, decode_responses=True) as client:
        found = client.config_get("*")
        assert (found["appendonly"], found["appendfsync"]) == ("yes", "everysec")
        assert (found["maxmemory-policy"], found["bind"], found["save"]) == ("noeviction", "127.0.0.1", "")


def test_what_was_pushed_is_there_after_a_restart(tmp_path: Path) -> None:
    with redis(tmp_path / "redis", tmp_path / "log") as url, Redis.from_url(url) as client:
        client.rpush("bells", "one", "two")
    with redis(tmp_path / "redis", tmp_path / "log") as again, Redis.from_url(again) as client:
        assert client.lrange("bells", 0, -1) == [b"one", b"two"]
        assert again != url


def test_the_password_is_asked_for_and_on_no_command_line(tmp_path: Path) -> None:
    with redis(tmp_path / "redis", tmp_path / "log") as url:
        password = url.split(":")[2].split("@")[0]
        with Redis.from_url(url.replace(f":{password}@", "")) as stranger, pytest.raises(AuthenticationError):
            stranger.ping()
        server = psutil.Process(int((tmp_path / "redis" / "redis.pid").read_text()))
        assert password not in " ".join(server.cmdline())
        assert len(password) >= 32
    assert stat.S_IMODE((tmp_path / "redis" / "redis.conf").stat().st_mode) == 0o600


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_a_killed_owner_leaves_no_server(tmp_path: Path) -> None:
    with running_script(tmp_path / "owner.py", OWNER, str(tmp_path / "redis"), str(tmp_path / "log")) as owner:
        read_line(owner)
        server = int((tmp_path / "redis" / "redis.pid").read_text())
        owner.send_signal(signal.SIGKILL)
        wait_until(lambda: not is_alive(server), "the server ends with its owner")


def test_a_server_left_behind_is_stopped_before_another_touches_its_file(tmp_path: Path) -> None:
    with redis(tmp_path / "redis", tmp_path / "log") as url, Redis.from_url(url) as client:
        client.set("kept", "yes")
        left_behind = int((tmp_path / "redis" / "redis.pid").read_text())
        with redis(tmp_path / "redis", tmp_path / "log") as again, Redis.from_url(again) as successor:
            assert not is_alive(left_behind)
            assert successor.get("kept") == b"yes"


def test_a_damaged_file_is_reported_with_the_log(tmp_path: Path) -> None:
    folder = tmp_path / "redis"
    folder.mkdir()
    (folder / "appendonly.aof").write_bytes(b"no append-only file\r\n")
    with (
        pytest.raises(StorageUnavailable, match="does not start") as caught,
        redis(folder, tmp_path / "log"),
    ):
        raise AssertionError("started")
    assert str(tmp_path / "log") in caught.value.cure


def test_versions_are_told(redis_url: str) -> None:
    assert server_version(find_binary()).split(".")[0].isdigit()
    assert ask_version(redis_url).split(".")[0].isdigit()


def test_a_silent_address_is_an_error_with_a_cure() -> None:
    with pytest.raises(StorageUnavailable, match="does not answer") as caught:
        ask_version("redis://127.0.0.1:1/0")
    assert "GISTLINE_REDIS__URL" in caught.value.cure
