"""Which servers run for which settings, who owns them, who may share them."""

from __future__ import annotations

import json
import os
import pickle
import signal
import stat
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from redis import Redis

from gistline.cli import buying_probe
from gistline.cli.checks import State
from gistline.embedded.servers import attached, child_environment, is_owned, servers
from gistline.errors import StorageUnavailable
from gistline.settings import Settings, load_settings
from gistline.storage import migrate
from gistline.storage.buying_stops import stop_buying
from gistline.storage.session import close_database, open_database, transaction
from tests.support.processes import ROOT, family, is_alive, read_line, running_script, wait_until

OWNER = """
import sys, time
from pathlib import Path
from gistline.embedded.servers import servers
from gistline.settings import load_settings

with servers(load_settings(data_dir=Path(sys.argv[1]))) as settings:
    print("ready", flush=True)
    time.sleep(600)
"""

CHILD = """
import json, pickle, sys
from gistline.settings import load_settings

child = load_settings()
equal = child == pickle.loads(bytes.fromhex(sys.argv[1]))
print(json.dumps([equal, child.api.port, child.detection.min_confidence, child.fleet.batch_size]))
"""


@pytest.fixture
def unnamed(clean_settings: Path) -> Settings:
    """Settings that name no server, with a data folder of this test's own."""
    return load_settings(data_dir=clean_settings / "data")


def url_of(settings: Settings) -> tuple[str, str]:
    return settings.database.url.get_secret_value(), settings.redis.url.get_secret_value()


def answers(settings: Settings) -> bool:
    """Whether both servers do."""
    database, redis = url_of(settings)
    with psycopg.connect(database.replace("+psycopg", "")) as connection, Redis.from_url(redis) as client:
        return connection.execute("SELECT 1").fetchone() == (1,) and bool(client.ping())


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that several tests start anew, since making a PostgreSQL's takes longest."""
    return tmp_path_factory.mktemp("used") / "data"


def test_a_password_for_another_server_does_not_reach_the_children(clean_settings: Path, used: Path) -> None:
    named = load_settings(data_dir=used, redis={"password": "of-another"}, database={"password": "of-another"})
    with servers(named) as settings:
        command = [sys.executable, "-c", CHILD, pickle.dumps(settings).hex()]
        child = subprocess.run(command, env=child_environment(settings), check=True, capture_output=True, text=True)
    assert json.loads(child.stdout)[0]


def test_both_servers_run_shared_by_a_second_command_and_owned_by_one(clean_settings: Path, used: Path) -> None:
    unnamed = load_settings(data_dir=used)
    with servers(unnamed) as settings:
        assert answers(settings)
        assert settings.data_dir.is_absolute()
        note = settings.data_dir / "servers.json"
        assert stat.S_IMODE(note.stat().st_mode) == 0o600
        with attached(unnamed) as shared:
            assert url_of(shared) == url_of(settings)
        assert answers(settings), "a guest's leaving must not stop the owner's servers"
        with pytest.raises(StorageUnavailable, match=f"in use by process {os.getpid()}") as caught, servers(unnamed):
            raise AssertionError("two owners")
        assert "GISTLINE_DATA_DIR" in caught.value.cure
    assert not note.exists()


def test_the_doctor_asks_the_embedded_database_while_it_runs_and_never_starts_it(
    clean_settings: Path, used: Path
) -> None:
    unnamed = load_settings(data_dir=used)
    with servers(unnamed) as settings:
        assert list(buying_probe.examine(unnamed)) == []  # no tables yet, which another check says
        migrate.upgrade(settings.database.url.get_secret_value())
        sessions = open_database(settings.database)
        with transaction(sessions) as session:
            stop_buying(session, "spend_limit_reached", "The month is spent.", pause_s=600)
        close_database(sessions)
        (check,) = buying_probe.examine(unnamed)
    assert (check.name, check.state) == ("buying", State.MISSING)
    assert "spend_limit_reached, The month is spent." in check.found
    assert list(buying_probe.examine(unnamed)) == []
    assert not is_owned(used)
    assert not (used / "postgres" / "postmaster.pid").exists()


def test_only_what_has_no_url_is_started(unnamed: Settings, postgres_url: str) -> None:
    with servers(load_settings(data_dir=unnamed.data_dir, database={"url": postgres_url})) as settings:
        assert settings.database.url.get_secret_value() == postgres_url
        assert answers(settings)
    assert not (unnamed.data_dir / "postgres").exists()


def test_named_servers_need_no_folder(unnamed: Settings) -> None:
    named = load_settings(
        data_dir=unnamed.data_dir, database={"url": "postgresql://db/one"}, redis={"url": "redis://cache/0"}
    )
    with servers(named) as settings, attached(named) as shared:
        assert url_of(settings) == url_of(shared) == ("postgresql://db/one", "redis://cache/0")
    assert not unnamed.data_dir.exists()


def test_a_folder_that_cannot_be_made_is_named(unnamed: Settings) -> None:
    unnamed.data_dir.write_text("a file stands here")
    with pytest.raises(StorageUnavailable, match="data cannot be written"), servers(unnamed):
        raise AssertionError("started")


def test_a_new_owner_removes_the_note_of_a_killed_one_before_it_starts(unnamed: Settings) -> None:
    note, version = unnamed.data_dir / "servers.json", unnamed.data_dir / "postgres" / "PG_VERSION"
    version.parent.mkdir(parents=True)
    version.write_text("16")
    note.write_text("{}")
    with pytest.raises(StorageUnavailable, match="PostgreSQL 16"), servers(unnamed):
        raise AssertionError("started")
    assert not note.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_after_a_killed_owner_the_next_one_starts_at_once(clean_settings: Path, used: Path) -> None:
    with running_script(clean_settings / "owner.py", OWNER, str(used)) as owner:
        assert read_line(owner) == "ready"
        children = family(owner.pid)
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        with attached(
            load_settings(data_dir=used)
        ) as settings:  # not misled by the note that the owner could not remove
            assert answers(settings)
        wait_until(lambda: not any(map(is_alive, children)), "the killed owner's servers end")


def test_a_child_loads_exactly_its_parent_s_settings(clean_settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (clean_settings / "gistline.toml").write_text("[api]\nport = 9\n[detection]\nmin_confidence = 0.9\n")
    monkeypatch.setenv("GISTLINE_FLEET__BATCH_SIZE", "3")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "of-the-shell")
    settings = load_settings(
        data_dir=clean_settings / "data",
        anthropic_api_key="of-the-parent",
        api={"port": 8080},  # the default, although the file says otherwise
        verdict={"severities": {"scratch": 1}},
        database={"url": "postgresql://a b:p%40ss@db/one"},
    )
    done = subprocess.run(
        [sys.executable, "-c", CHILD, pickle.dumps(settings).hex()],
        cwd=clean_settings,
        env=child_environment(settings) | {"PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert json.loads(done.stdout) == [True, 8080, 0.9, 3]
    assert "ANTHROPIC_API_KEY" not in child_environment(settings)
