"""The services of docker-compose.yml as processes of this machine: their own commands, environments and health checks.

Only what a container engine would provide is replaced: the other services' addresses, mounted files, free ports.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from gistline.embedded.postgres import postgres
from gistline.embedded.redis import find_binary, free_port
from tests.support.observed import Started, free_ports, started
from tests.support.processes import ROOT, wait_until

COMPOSE = ROOT / "docker-compose.yml"
SECRETS = "/run/secrets/"
OURS = "gistline"
TMP = "/tmp/"  # noqa: S108 - the containers' own
SPAN = 8
"""Neighbouring ports that each service gets for its metrics."""


@cache
def services() -> dict[str, dict[str, Any]]:
    """Every service, anchors and merges resolved."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text())["services"]
    return found


def is_ours(service: Mapping[str, Any]) -> bool:
    """Whether it runs an image that is built here."""
    return str(service["image"]).startswith(OURS)


def secret_files(service: Mapping[str, Any]) -> list[str]:
    """Names of the secrets that it gets."""
    return list(service.get("secrets", ()))


def variables(service: Mapping[str, Any]) -> dict[str, str]:
    """Its environment."""
    return {name: str(value) for name, value in service.get("environment", {}).items()}


def tool(name: str) -> str:
    """A program of this environment or the system; skips on a laptop without it, fails where CI promises it."""
    folders = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin:/usr/bin"
    found = shutil.which(name, path=folders)
    if found is None:
        reason = f"no {name}: 'make tools' installs Prometheus, 'pip install -e .[dev]' the others"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@dataclass
class Composed:
    """Running services and what stands in for the engine: a folder of mounts, replaced words, ports."""

    folder: Path
    replaced: dict[str, str]
    metrics: dict[str, int]
    api_port: int
    stack: ExitStack
    running: dict[str, Started] = field(default_factory=dict)

    @property
    def api(self) -> str:
        """Address of the API."""
        return f"127.0.0.1:{self.api_port}"

    def secret(self, name: str) -> str:
        """Content of a secret."""
        return (self.folder / "secrets" / name).read_text()

    def words(self, text: str) -> str:
        """A word of a command or a variable, as it is on this machine; compose writes a dollar twice."""
        known = re.compile("|".join(re.escape(there) for there in sorted(self.replaced, key=len, reverse=True)))
        return known.sub(lambda found: self.replaced[found[0]], text).replace("$$", "$")

    def environment(self, name: str) -> dict[str, str]:
        """The service's own variables, on this machine's addresses."""
        found = {variable: self.words(value) for variable, value in variables(services()[name]).items()}
        if is_ours(services()[name]):
            ports = {"GISTLINE_METRICS__PORT": str(self.metrics[name]), "GISTLINE_METRICS__HOST": "127.0.0.1"}
            found |= ports | {"GISTLINE_API__PORT": str(self.api_port)}
        return found

    def command(self, name: str) -> list[str]:
        """The service's own command, of this machine's Python where it names one."""
        words = [self.words(word) for word in services()[name]["command"]]
        return [sys.executable, *words[1:]] if words[0] == "python" else words

    def start(self, name: str, command: Sequence[str] | None = None) -> Started:
        """Start a service; it is killed at the end if it still runs."""
        log = self.folder / f"{name}.log"
        run = started(command or self.command(name), log, self.environment(name) | {"PATH": self.path()})
        self.running[name] = self.stack.enter_context(run)
        return self.running[name]

    def run_once(self, name: str) -> str:
        """Run a service that ends by itself; returns what it said."""
        process = self.start(name)
        assert process.process.wait(120) == 0, process.said()
        return process.said()

    def execute(self, name: str, command: Sequence[str]) -> str:
        """Run another command with a service's environment, as ``docker compose exec`` does; returns its output."""
        argv = [sys.executable, *command[1:]] if command[0] == "python" else list(command)
        environment = os.environ | self.environment(name) | {"PATH": self.path()}
        done = subprocess.run(argv, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def is_healthy(self, name: str) -> bool:
        """What the service's own health check says."""
        assert self.running[name].process.poll() is None, f"{name} ended:\n{self.running[name].said()}"
        kind, *words = (self.words(word) for word in services()[name]["healthcheck"]["test"])
        argv = ["sh", "-c", *words] if kind == "CMD-SHELL" else words
        environment = os.environ | self.environment(name) | {"PATH": self.path()}
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert not done.stderr.startswith("Usage"), done.stderr
        return done.returncode == 0

    def wait_until_healthy(self, *names: str, within_s: float = 240.0) -> None:
        """Wait for each health check in turn."""
        for name in names:
            wait_until(lambda name=name: self.is_healthy(name), f"{name} is healthy", within_s=within_s)  # type: ignore[misc]

    def path(self) -> str:
        """PATH on which the images' programs are found."""
        scripts = Path(sys.executable).parent
        return f"{self.folder / 'bin'}:{scripts}:{os.environ.get('PATH', '')}:/usr/sbin"


@contextmanager
def composed(folder: Path) -> Iterator[Composed]:
    """Secrets, mounts, and a PostgreSQL that asks for the secret's password; services are started by the test."""
    secrets = folder / "secrets"
    (folder / "deploy").mkdir()
    script = shutil.copy(ROOT / "deploy" / "make-secrets", folder / "deploy")
    subprocess.run(["sh", script], check=True, capture_output=True)
    (folder / "deploy" / "secrets").rename(secrets)
    for name in ("bin", "frames", "tmp"):
        (folder / name).mkdir()
    (folder / "bin" / "redis-server").symlink_to(find_binary())
    with ExitStack() as stack:
        sockets = stack.enter_context(_postgres(folder, (secrets / "postgres_password").read_text()))
        redis_port, mqtt_port = free_port(), free_port()
        scratch = folder / "tmp"
        replaced = {
            "@postgres:5432/gistline": f"@/gistline?host={sockets}",
            "redis:6379": f"127.0.0.1:{redis_port}",
            "mosquitto:1883": f"127.0.0.1:{mqtt_port}",
            "-p 1883": f"-p {mqtt_port}",
            "/etc/redis/gistline.conf": str(_redis_conf(folder, redis_port)),
            "/mosquitto/config/mosquitto.conf": str(_mosquitto_conf(folder, mqtt_port)),
            SECRETS: f"{secrets}/",
            "file:///frames": f"file://{folder}/frames",
            f" {TMP}": f" {scratch}/",
            f"{TMP}gistline": f"{scratch}/gistline",
        }
        ours = [name for name, service in services().items() if is_ours(service)]
        first = free_ports(SPAN * (len(ours) + 1))
        metrics = {name: first + SPAN * place for place, name in enumerate([*ours, "prometheus-itself"])}
        yield Composed(folder, replaced, metrics, first + SPAN * (len(ours) + 1) - 1, stack)


@contextmanager
def _postgres(folder: Path, password: str) -> Iterator[str]:
    """The embedded server; yields the folder of its socket, on which it asks everybody for a password."""
    with postgres(folder / "postgres", folder / "postgres.log", options={"fsync": "off"}) as url:
        sockets = url.partition("host=")[2].partition("&")[0].replace("%2F", "/")
        with psycopg.connect(host=sockets, user="gistline", dbname="gistline", autocommit=True) as connection:
            connection.execute(psycopg.sql.SQL("ALTER ROLE gistline PASSWORD {}").format(password))
            (folder / "postgres" / "pg_hba.conf").write_text("local all all scram-sha-256\n")
            connection.execute("SELECT pg_reload_conf()")
        wait_until(lambda: not _is_let_in(sockets), "PostgreSQL asks for a password")
        yield sockets


def _is_let_in(sockets: str) -> bool:
    with suppress(psycopg.OperationalError), psycopg.connect(host=sockets, user="gistline", dbname="gistline"):
        return True
    return False


def _redis_conf(folder: Path, port: int) -> Path:
    """The mounted file, with this machine's folder and port."""
    (folder / "redis").mkdir()
    text = (ROOT / "deploy" / "redis" / "gistline.conf").read_text().replace("dir /data", f"dir {folder}/redis")
    made = folder / "redis.conf"
    made.write_text(f"{text}port {port}\nbind 127.0.0.1\n")
    return made


def _mosquitto_conf(folder: Path, port: int) -> Path:
    """The mounted file, with this machine's folders and port; as root it would drop to a user who cannot read them."""
    (folder / "mosquitto").mkdir()
    text = (ROOT / "deploy" / "mosquitto" / "mosquitto.conf").read_text()
    text = text.replace("listener 1883", f"listener {port} 127.0.0.1").replace(
        "/mosquitto/data/", f"{folder}/mosquitto/"
    )
    made = folder / "mosquitto.conf"
    made.write_text(text.replace(f" {TMP}", f" {folder / 'tmp'}/") + ("user root\n" if os.geteuid() == 0 else ""))
    return made
