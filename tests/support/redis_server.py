"""A Redis of the test's own, which may be killed, frozen and emptied without harm to other tests."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from gistline.embedded.redis import HOST, find_binary, free_port
from tests.support.processes import wait_until


class RedisServer:
    """Keeps its port over restarts, and nothing else: no data is written to disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self.url = f"redis://{HOST}:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and wait until it answers."""
        argv = [str(find_binary()), "--bind", HOST, "--port", str(self.port), "--save", "", "--dir", str(self._folder)]
        self._process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
        wait_until(self._answers, "Redis answers")

    def kill(self) -> None:
        """SIGKILL: every message is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        """SIGSTOP: connections stay open, nothing answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def client(self) -> Redis:
        """A client; close it."""
        return Redis.from_url(self.url, socket_timeout=2)

    def flush(self) -> None:
        """FLUSHALL: every queue is lost."""
        with self.client() as client:
            client.flushall()

    def length(self, queue: str) -> int:
        """Messages that wait in a queue."""
        with self.client() as client:
            return int(client.llen(queue))

    def _answers(self) -> bool:
        with suppress(RedisError), self.client() as client:
            return bool(client.ping())
        return False


@contextmanager
def own_redis(folder: Path) -> Iterator[RedisServer]:
    """Run one for the length of the block."""
    server = RedisServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()
