"""The embedded PostgreSQL: durable, quick to start again, never left behind, never on somebody else's data."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from gistline.embedded.postgres import postgres
from gistline.errors import StorageUnavailable
from tests.support.processes import ROOT, is_alive, read_line, running_script, wait_until

OWNER = """
import sys, time
from pathlib import Path
from gistline.embedded.postgres import postgres

with postgres(Path(sys.argv[1]), Path(sys.argv[2])) as url:
    print(url, flush=True)
    time.sleep(600)
"""

ORDINARY_USER = """
import os, subprocess, sys
from pathlib import Path
from gistline.embedded.postgres import postgres

folder = Path(sys.argv[1])
with postgres(folder / "postgres", folder / "log"):
    print(os.geteuid(), (folder / "postgres").stat().st_uid)
    note = (folder / "postgres" / "postmaster.pid").read_text()
# What a crash leaves behind, where the server's number has become that of another process of the same user.
other = subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
stale = note.replace(note.split()[0], str(other.pid), 1)
(folder / "postgres" / "postmaster.pid").write_text(stale)
with postgres(folder / "postgres", folder / "log"):
    print("again" if other.poll() is None else "the other process was ended")
other.kill()
other.wait()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that every test of this file starts anew, after it was made once."""
    return tmp_path_factory.mktemp("embedded") / "postgres"


@pytest.fixture
def log(folder: Path) -> Path:
    return folder.with_name("log")


def ask(url: str, question: str) -> str:
    """First cell of a statement's answer, empty where it has none."""
    parsed = make_url(url)
    with psycopg.connect(
        host=str(parsed.query["host"]), port=str(parsed.query["port"]), user=parsed.username, dbname=parsed.database
    ) as connection:
        answer = connection.execute(question.encode())
        row = answer.fetchone() if answer.description else None
        return str(row[0]) if row else ""


def postmaster(folder: Path) -> int:
    """Process id of the server that runs on a folder."""
    return int((folder / "postmaster.pid").read_text().split()[0])


def test_commits_are_durable_and_only_the_owner_can_connect(folder: Path, log: Path) -> None:
    with postgres(folder, log) as url:
        assert [ask(url, f"SHOW {name}") for name in ("fsync", "synchronous_commit", "full_page_writes")] == ["on"] * 3
        assert ask(url, "SHOW listen_addresses") == ""
        assert ask(url, "SELECT current_database() || '/' || current_user") == "gistline/gistline"
        socket = Path(str(make_url(url).query["host"])) / ".s.PGSQL.5432"
        assert stat.S_IMODE(socket.stat().st_mode) == 0o700
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_data_outlive_the_server(folder: Path, log: Path) -> None:
    with postgres(folder, log) as url:
        ask(url, "CREATE TABLE kept AS SELECT 42 AS answer")
        first = postmaster(folder)
    assert not is_alive(first)
    with postgres(folder, log) as url:
        assert ask(url, "SELECT answer FROM kept") == "42"
        ask(url, "DROP TABLE kept")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_a_killed_owner_leaves_no_server(folder: Path, log: Path, tmp_path: Path) -> None:
    with running_script(tmp_path / "owner.py", OWNER, str(folder), str(log)) as owner:
        read_line(owner)
        server = postmaster(folder)
        owner.send_signal(signal.SIGKILL)
        wait_until(lambda: not is_alive(server), "the server ends with its owner")


def test_a_server_left_behind_is_taken_over(folder: Path, log: Path) -> None:
    with postgres(folder, log) as url:
        ask(url, "CREATE TABLE taken AS SELECT 7 AS answer")
        left_behind = postmaster(folder)
        with postgres(folder, log) as again:
            assert postmaster(folder) != left_behind
            assert ask(again, "SELECT answer FROM taken") == "7"
            ask(again, "DROP TABLE taken")
            successor = postmaster(folder)
        assert not is_alive(left_behind)
        assert not is_alive(successor)


def test_a_crashed_server_recovers(folder: Path, log: Path) -> None:
    with postgres(folder, log) as url:
        ask(url, "CREATE TABLE IF NOT EXISTS crashed (answer int)")
        ask(url, "INSERT INTO crashed VALUES (1)")
        os.kill(postmaster(folder), signal.SIGKILL)
    with postgres(folder, log) as url:
        assert ask(url, "SELECT count(*) FROM crashed") == "1"
        ask(url, "DROP TABLE crashed")


def test_a_note_with_another_process_s_number_does_not_block(folder: Path, log: Path) -> None:
    with postgres(folder, log):
        note = (folder / "postmaster.pid").read_text()
    stale = note.replace(note.split("\n", 1)[0], str(os.getpid()), 1)
    (folder / "postmaster.pid").write_text(stale)
    with postgres(folder, log) as url:
        assert ask(url, "SELECT 1") == "1"
    assert is_alive(os.getpid())


def test_data_of_another_version_are_refused_with_a_cure(tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    folder.mkdir()
    (folder / "PG_VERSION").write_text("16\n")
    with pytest.raises(StorageUnavailable, match=r"PostgreSQL 16; the embedded server is version 18") as caught:
        _enter(folder)
    assert "move the folder away" in caught.value.cure


def test_somebody_else_s_files_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    with pytest.raises(StorageUnavailable, match="holds files"):
        _enter(folder)
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]


def test_a_path_too_long_for_a_socket_gets_a_short_one(tmp_path: Path) -> None:
    folder = tmp_path / ("long-" * 20) / "postgres"
    with postgres(folder, tmp_path / "log") as url:
        sockets = Path(str(make_url(url).query["host"]))
        assert sockets != folder
        assert ask(url, "SELECT 1") == "1"
    assert not sockets.exists()


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A folder that nobody but its owner may enter."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o700)
    yield folder
    folder.chmod(0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs a system user for the server")
def test_root_lets_the_server_through_and_nobody_else(closed: Path) -> None:
    with postgres(closed / "postgres", closed / "log") as url:
        assert ask(url, "SELECT 1") == "1"
        assert (closed / "postgres").stat().st_uid != 0
    assert stat.S_IMODE(closed.stat().st_mode) == 0o710


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder of user 65534, reachable by that user (pytest's own are not)."""
    with tempfile.TemporaryDirectory() as name:
        os.chown(name, 65534, 65534)
        yield Path(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user runs every other test of this file")
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv (util-linux) changes the user")
def test_an_ordinary_user_runs_it_as_himself(home: Path) -> None:
    # The capability to read is for the interpreter alone, which may lie in root's own folder.
    become = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    read = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    done = subprocess.run(
        [*become, *read, sys.executable, "-c", ORDINARY_USER, str(home)],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.stdout.split(), done.stderr) == (["65534", "65534", "again"], "")


def _enter(folder: Path) -> None:
    with postgres(folder, folder.with_name("log")):
        raise AssertionError("started")
