"""Processes of a system that serves metrics, and what a scrape of one of them gives."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.support.processes import ROOT, wait_until

Scrape = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def free_ports(count: int) -> int:
    """First of ``count`` neighbouring ports that are free at this moment."""
    while True:
        with ExitStack() as stack:
            first = _bind(stack, 0)
            if first and all(_bind(stack, first + more) for more in range(1, count)):
                return first


def _bind(stack: ExitStack, port: int) -> int:
    found = stack.enter_context(socket.socket())
    try:
        found.bind(("127.0.0.1", port))
    except (OSError, OverflowError):
        return 0
    return int(found.getsockname()[1])


def get(address: str, path: str, token: str = "") -> tuple[int, str]:
    """Status and body of a GET; status 0 while nobody listens."""
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except (OSError, http.client.HTTPException):  # on a port of the dynamic range even an answer of its own
        return 0, ""
    finally:
        connection.close()


def scrape(address: str, token: str = "") -> Scrape:
    """Every sample by name and labels."""
    status, text = get(address, "/metrics", token)
    assert status == 200, text
    return parsed(text)


def parsed(text: str) -> Scrape:
    """Samples of Prometheus's text form."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found: Scrape, name: str, **labels: str) -> float:
    """One sample."""
    return found[name, frozenset(labels.items())]


@dataclass
class Started:
    """A process and the file that its output goes to."""

    process: subprocess.Popen[bytes]
    log: Path

    def said(self) -> str:
        """Its output so far."""
        return self.log.read_text(errors="replace")

    def terminate(self) -> int:
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@contextmanager
def started(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> Iterator[Started]:
    """Run a command with these variables of ours and no others; kills it at the end if it still runs."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("GISTLINE_", "ANTHROPIC_"))}
    scripts = f"{Path(sys.executable).parent}{os.pathsep}{inherited.get('PATH', '')}"
    whole = {**inherited, "PATH": scripts, **environment}
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=whole, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield Started(process, log)
    finally:
        process.kill()
        process.wait()


def wait_for(one: Started, address: str, path: str, what: str, *, within_s: float = 60.0) -> None:
    """Wait until a process answers 200; fails with its output when it ends instead."""

    def answers() -> bool:
        assert one.process.poll() is None, f"{what} ended:\n{one.said()}"
        return get(address, path)[0] == 200

    wait_until(answers, f"{what} answers on {address}{path}", within_s=within_s)
