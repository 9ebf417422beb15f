"""PostgreSQL and Redis that may be killed, paused, emptied and started again, each on its own data."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import RLock
from typing import Any, Final

import psutil
import psycopg
from redis import Redis
from redis.exceptions import RedisError

from gistline.embedded.account import account_for
from gistline.embedded.postgres import NAME, find_binaries, postgres
from gistline.embedded.processes import Program, kill_group, spawn
from gistline.embedded.redis import HOST, find_binary
from gistline.storage import migrate
from tests.support.processes import wait_until

SOCKET: Final = ".s.PGSQL.5432"
SMALL: Final = {"max_wal_size": "96MB", "min_wal_size": "32MB", "shared_buffers": "32MB"}
"""Beside the defaults, which keep every commit safe."""
START_WITHIN_S: Final = 40.0


class Server:
    """One server program; whoever hits it holds ``lock``, so that two blows do not undo each other."""

    def __init__(self, program: Callable[[], Program], answers: Callable[[], bool]) -> None:
        self.lock = RLock()
        self._program = program
        self._answers = answers
        self._process: subprocess.Popen[bytes] | None = None
        # The kernel ends a child with the thread that started it: this one lives as long as the server does.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="starter")

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running program."""
        assert self._process is not None
        return self._process

    def start(self) -> None:
        """Start and wait until it answers; one that ends at once is started again, as by a supervisor."""
        deadline = time.monotonic() + START_WITHIN_S
        self._process = self._starter.submit(spawn, self._program()).result()
        while not self._answers():
            if time.monotonic() > deadline:
                raise AssertionError(f"{self._program().name} does not start: {self._program().log}")
            if self._process.poll() is not None:
                time.sleep(0.1)
                self._process = self._starter.submit(spawn, self._program()).result()
            time.sleep(0.02)

    def end(self, number: signal.Signals) -> None:
        """Send a signal that ends it, and wait."""
        with suppress(ProcessLookupError):
            self.process.send_signal(number)
        try:
            self.process.wait(15)
        finally:
            kill_group(self.process)

    def family(self) -> list[psutil.Process]:
        """The server and its children, the server first."""
        with suppress(psutil.NoSuchProcess):
            head = psutil.Process(self.process.pid)
            return [head, *head.children(recursive=True)]
        return []

    def pause(self) -> list[psutil.Process]:
        """SIGSTOP to all of them; returns those to wake."""
        stopped = self.family()
        for one in stopped:
            with suppress(psutil.NoSuchProcess):
                one.suspend()
        return stopped

    def kill(self) -> None:
        """SIGKILL, also when it is paused."""
        for one in self.family():
            with suppress(psutil.NoSuchProcess):
                one.kill()
        self.end(signal.SIGKILL)

    def close(self) -> None:
        """End it for good."""
        if self._process is not None:
            self.kill()
        self._starter.shutdown()


class Postgres(Server):
    """A server on a copy of the template; its database is ``gistline``, migrated."""

    def __init__(self, folder: Path, template: Path, environment: Mapping[str, str]) -> None:
        self.data = folder / "data"
        self.socket = self.data / SOCKET
        self._log = folder.parent / "logs" / "postgres.log"
        self._environment = environment
        subprocess.run(["cp", "-a", str(template), str(self.data)], check=True)
        self._account = account_for(self.data, find_binaries())
        super().__init__(self._make, self._accepts)

    def connect(self, **options: Any) -> psycopg.Connection[tuple[Any, ...]]:
        """A connection past every proxy, committing each statement."""
        options = {"autocommit": True, "connect_timeout": 3} | options
        return psycopg.connect(host=str(self.data), port=5432, user=NAME, dbname=NAME, **options)

    def kill_backend(self) -> bool:
        """SIGKILL one client's backend: the server takes all others down and recovers from its log."""
        for one in self.family()[1:]:
            with suppress(psutil.NoSuchProcess):
                if f"{NAME} {NAME}" in " ".join(one.cmdline()):
                    one.kill()
                    return True
        return False

    def _make(self) -> Program:
        # As the embedded server does it: the number in the note of a dead server may be another process's by now.
        argv = [str(find_binaries() / "postgres"), "-D", str(self.data), "-k", str(self.data)]
        options = {"listen_addresses": "", "unix_socket_permissions": "0700"} | SMALL
        argv += [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "GISTLINE_"))}
        environment = kept | {"LC_ALL": "C", "TZ": "UTC"} | dict(self._environment)
        return Program("postgres", tuple(argv), self._log, account=self._account, env=environment, death=signal.SIGQUIT)

    def _accepts(self) -> bool:
        with suppress(psycopg.OperationalError), self.connect():
            return True
        return False


class RedisProcess(Server):
    """A server that keeps its port; ``persistent`` keeps its data over a kill as the embedded one does."""

    def __init__(self, folder: Path, port: int, *, persistent: bool) -> None:
        self.port = port
        self._folder = folder
        self._persistent = persistent
        self._log = folder.parent / "logs" / "redis.log"
        folder.mkdir()
        super().__init__(self._make, self._pings)

    def client(self) -> Redis:
        """A client past every proxy; close it."""
        return Redis(host=HOST, port=self.port, socket_timeout=2, socket_connect_timeout=1)

    def wipe(self) -> None:
        """Remove what a dead server left on the disk."""
        shutil.rmtree(self._folder)
        self._folder.mkdir()

    def _make(self) -> Program:
        kept = "yes" if self._persistent else "no"
        options = {"bind": HOST, "port": str(self.port), "appendonly": kept, "appendfsync": "everysec", "save": ""}
        options |= {"maxmemory-policy": "noeviction", "dir": str(self._folder)}
        argv = [str(find_binary()), *(word for name, value in options.items() for word in (f"--{name}", value))]
        return Program("redis", tuple(argv), self._log, death=signal.SIGKILL)

    def _pings(self) -> bool:
        with suppress(RedisError), self.client() as client:
            return bool(client.ping())
        return False


def build_template(folder: Path) -> Path:
    """Make a database cluster with a migrated database once; runs copy it."""
    data = folder / "template"
    with postgres(data, folder / "template.log", options={"fsync": "off"} | SMALL) as url:
        migrate.upgrade(url)
    # Left behind by the server that is gone: a copy must not carry its socket.
    for name in (SOCKET, f"{SOCKET}.lock"):
        (data / name).unlink(missing_ok=True)
    return data


def wait_for(server: Server) -> None:
    """Until a server that restarts by itself answers again."""
    wait_until(server._answers, "the server answers again", within_s=START_WITHIN_S)
