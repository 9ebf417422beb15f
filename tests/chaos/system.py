"""The whole system of one run: servers on small disks, a network that can fail, processes under the supervisor."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil
from pydantic import SecretStr

from gistline.dispatch import CelerySender
from gistline.embedded.processes import Program
from gistline.embedded.servers import child_environment
from gistline.embedded.supervisor import Patience, Supervisor
from gistline.flows.add_camera import add_camera
from gistline.settings import (
    ApiSettings,
    DatabaseSettings,
    FleetSettings,
    PassportSettings,
    PressureSettings,
    RedisSettings,
    ReportSettings,
    Settings,
)
from gistline.settings_frames import FrameSettings, Keep
from gistline.simulator.messages_api import MessagesServer
from gistline.storage.session import Sessions, close_database, open_database
from tests.chaos.clock import Clock
from tests.chaos.disk import Disk, disk
from tests.chaos.memory import MemoryLimit
from tests.chaos.plan import CAMERAS, PROCESSES, Kind, Plan
from tests.chaos.proxy import HOST, Network, Proxy, network, to_port, to_socket
from tests.chaos.servers import Postgres, RedisProcess
from tests.support.processes import ROOT, wait_until
from tests.support.twin_detector import FRAME_MS

MODULES: Final = {
    "api": ("api",),
    "detect-1": ("tests.chaos.detector",),
    "detect-2": ("tests.chaos.detector",),
    "report": ("workers", "report"),
    "beat": ("workers", "beat"),
}
LEASE_S: Final = 2.0
PATIENCE: Final = Patience(grace_s=8.0, backoff_s=0.1, longest_backoff_s=1.0, settled_s=3.0)
PORTS: Final = 16
"""Ports that one run uses, below those that the system gives to outgoing connections."""
FIRST_PORT: Final = 20_000
SLOTS: Final = 700
TURNS: Final = 4
"""Groups of ports that a slot may choose from."""
READY_WITHIN_S: Final = 120.0


@dataclass(slots=True)
class System:
    """What a run holds; ``proxies`` by ``"process:server"``."""

    folder: Path
    plan: Plan
    postgres: Postgres
    redis: RedisProcess
    messages: MessagesServer
    supervisor: Supervisor
    proxies: dict[str, Proxy]
    clocks: dict[str, Clock]
    disks: dict[str, Disk]
    memory: MemoryLimit
    settings: Settings
    """Past every proxy, for the harness itself."""
    sessions: Sessions
    sender: CelerySender
    """Rings past every proxy, as an operator's command does."""
    events: list[str] = field(default_factory=list)
    """What the supervisor said."""

    @property
    def url(self) -> str:
        """Address of the API."""
        return f"http://{HOST}:{self.settings.api.port}"

    def process(self, name: str) -> psutil.Process | None:
        """A program's process, None while it waits for its restart."""
        pid = self.supervisor.pids().get(name)
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(pid) if pid is not None else None
        return None

    def start(self, names: tuple[str, ...] = PROCESSES) -> None:
        """Start these programs."""
        for name in names:
            self.supervisor.start(self._program(name))

    def wait_until_ready(self) -> None:
        """Until the API takes frames and every worker beats."""
        query = "SELECT count(*) FROM worker_heartbeats WHERE ready"
        with self.postgres.connect() as connection:
            wait_until(
                lambda: (connection.execute(query).fetchone() or (0,))[0] >= 3,
                "three workers are ready",
                within_s=READY_WITHIN_S,
            )
        self.wait_until_listening()

    def wait_until_listening(self) -> None:
        """Until the API takes connections."""
        wait_until(self._listens, "the API listens", within_s=READY_WITHIN_S)

    def add_cameras(self) -> dict[str, str]:
        """Make the cameras; returns their keys."""
        return {name: add_camera(self.sessions, name, line)[1] for name, line in CAMERAS.items()}

    def _listens(self) -> bool:
        with suppress(OSError), socket.create_connection((HOST, self.settings.api.port), 1.0):
            return True
        return False

    def _program(self, name: str) -> Program:
        logs = self.folder / "logs"
        environment = child_environment(self._settings_of(name)) | self.clocks[name].environment()
        environment |= {FRAME_MS: str(self.plan.frame_ms), "PYTHONPATH": str(ROOT)}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        argv: tuple[str, ...] = (sys.executable, "-m", *MODULES[name])
        if name.startswith("detect") and Kind.OOM in self.plan.kinds:
            argv = self.memory.wrap(argv)
        return Program(name, argv, logs / f"{name}.log", env=environment, cwd=ROOT)

    def _settings_of(self, name: str) -> Settings:
        changed: dict[str, object] = {}
        if f"{name}:postgres" in self.proxies:
            url = _postgres_url(self.proxies[f"{name}:postgres"].port)
            changed["database"] = self.settings.database.model_copy(update={"url": SecretStr(url)})
        url = f"redis://{HOST}:{self.proxies[f'{name}:redis'].port}/0"
        changed["redis"] = self.settings.redis.model_copy(update={"url": SecretStr(url)})
        return self.settings.model_copy(update=changed)


@contextmanager
def running(plan: Plan, folder: Path, template: Path, library: Path | None, *, slot: int) -> Iterator[System]:
    """Servers and network of a run, its programs not yet started; everything is ended and unmounted at the end."""
    with ExitStack() as stack:
        disks = {
            "frames": stack.enter_context(disk(folder / "frames", 8)),
            "postgres": stack.enter_context(disk(folder / "postgres", 256)),
        }
        (folder / "logs").mkdir()
        clocks = {name: Clock(folder / f"{name}.clock", library) for name in (*PROCESSES, "postgres")}
        ports = free_ports(slot)
        postgres = Postgres(folder / "postgres", template, clocks["postgres"].environment())
        stack.callback(postgres.close)
        redis = RedisProcess(folder / "redis", ports.pop(), persistent=plan.persistent_redis)
        stack.callback(redis.close)
        postgres.start()
        redis.start()
        wires = stack.enter_context(network())
        proxies = _proxies(wires, postgres, redis, ports)
        messages = stack.enter_context(MessagesServer(plan.replies))
        memory = MemoryLimit()
        stack.callback(memory.close)
        settings = _settings(plan, folder, postgres, redis, api_port=ports.pop(), messages=messages.url)
        sessions = open_database(settings.database)
        stack.callback(close_database, sessions)
        sender = CelerySender(settings.redis, settings.fleet)
        stack.callback(sender.close)
        events: list[str] = []
        began = time.monotonic()
        supervisor = stack.enter_context(
            Supervisor(PATIENCE, on_event=lambda said: events.append(f"{time.monotonic() - began:.2f}s {said}"))
        )
        yield System(
            folder,
            plan,
            postgres,
            redis,
            messages,
            supervisor,
            proxies,
            clocks,
            disks,
            memory,
            settings,
            sessions,
            sender,
            events,
        )


def _proxies(wires: Network, postgres: Postgres, redis: RedisProcess, ports: list[int]) -> dict[str, Proxy]:
    to_postgres, to_redis = to_socket(str(postgres.socket)), to_port(redis.port)
    made = {f"{name}:postgres": wires.add(ports.pop(), to_postgres) for name in PROCESSES if name != "beat"}
    return made | {f"{name}:redis": wires.add(ports.pop(), to_redis) for name in PROCESSES}


def _settings(
    plan: Plan, folder: Path, postgres: Postgres, redis: RedisProcess, *, api_port: int, messages: str
) -> Settings:
    """As in production, but impatient: leases of two seconds, sweeps and time-outs to match."""
    return Settings(
        data_dir=folder,
        anthropic_api_key=SecretStr("sk-simulated"),
        database=DatabaseSettings(
            url=SecretStr(f"postgresql+psycopg://gistline@/gistline?host={postgres.data}&port=5432"),
            connect_timeout_s=2,
            statement_timeout_s=5,
            idle_timeout_s=3,
        ),
        redis=RedisSettings(
            url=SecretStr(f"redis://{HOST}:{redis.port}/0"),
            send_timeout_s=0.5,
            receive_timeout_s=2,
            connect_timeout_s=1,
        ),
        frames=FrameSettings(
            store_url=(folder / "frames").as_uri(), keep=Keep.ALL, min_side=16, deadline_s=plan.deadline_s
        ),
        passport=PassportSettings(required=False),  # a twin cannot be measured
        fleet=FleetSettings(
            batch_size=8,
            drain_s=0.5,
            lease_s=LEASE_S,
            max_attempts=plan.max_attempts,
            retry_backoff_s=0.1,
            sweep_interval_s=0.3,
            ring_again_s=0.6,
            detect_visibility_s=5,
            report_visibility_s=30,
            heartbeat_s=0.5,
        ),
        api=ApiSettings(host=HOST, port=api_port),
        pressure=PressureSettings(min_free_bytes=0),  # a disk of a few megabytes is filled to its last byte here
        reports=ReportSettings(
            base_url=messages,
            timeout_s=2,
            lease_s=10,
            max_attempts=30,
            retry_backoff_s=0.2,
            ring_again_s=1,
        ),
    )


def _postgres_url(port: int) -> str:
    return f"postgresql+psycopg://gistline@{HOST}:{port}/gistline?sslmode=disable"


def free_ports(slot: int) -> list[int]:
    """Free ports of a slot of its own; beside it run others, and their restarts must find their ports free."""
    for turn in range(TURNS):
        first = FIRST_PORT + (slot * TURNS + turn) % SLOTS * PORTS
        found = [port for port in range(first, first + PORTS) if _is_free(port)]
        if len(found) == PORTS:
            return found
    raise AssertionError("no sixteen ports are free")


def _is_free(port: int) -> bool:
    with socket.socket() as probe, suppress(OSError):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, port))
        return True
    return False


def default_slot() -> int:
    """A slot for a process that was given none."""
    return os.getpid() % SLOTS
