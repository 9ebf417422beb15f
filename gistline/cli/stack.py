"""The whole system as child processes of one command: servers, API, workers, beat."""

from __future__ import annotations

import http.client
import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gistline.cli.addresses import reachable
from gistline.embedded.processes import Program, tail, termination_raises
from gistline.embedded.redis import free_port
from gistline.embedded.servers import child_environment, servers
from gistline.embedded.supervisor import Supervisor
from gistline.errors import EngineUnavailable, EngineUnproven, SettingsError, StorageUnavailable
from gistline.settings import Settings
from gistline.storage import health, migrate
from gistline.storage.drains import is_asked_to_leave
from gistline.storage.session import close_database, open_database, transaction

READY_WITHIN_S = 120.0
POLL_S = 0.2
HOPELESS = 2
"""A program that ended this often before the system was ready will not get ready."""

WORKERS = ("detect", "report", "verdicts")
"""Kinds of process that tell the database when they are ready."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Stack:
    """A running system: ``settings`` name both servers and the real port, ``url`` is the API's address."""

    settings: Settings
    supervisor: Supervisor
    url: str


@contextmanager
def running(settings: Settings, *, detect_workers: int = 1, say: Say, on_event: Say) -> Iterator[Stack]:
    """Start everything, wait until API and workers are ready, stop everything at the end.

    ``say`` gets what is being waited for, ``on_event`` restarts. SIGTERM and Ctrl-C raise ``KeyboardInterrupt`` inside.
    Call it in the main thread.

    Raises:
        SettingsError: the API's port is taken.
        StorageUnavailable: a server does not start, or the data folder has another owner.
        EngineUnavailable: a process keeps ending, or the system does not get ready in two minutes.
        EngineUnproven: no engine may serve in a detect worker.

    """
    with termination_raises():
        say("the servers")
        ended: list[str] = []
        with servers(_with_port(settings), on_end=ended.append) as complete:
            say("the tables")
            migrate.upgrade(complete.database.url.get_secret_value())
            with Supervisor(on_event=on_event, retired=_drained(complete), lost=lambda: _lost(ended)) as supervisor:
                for program in programs(complete, detect_workers):
                    supervisor.start(program)
                stack = Stack(complete, supervisor, f"http://{reachable(complete.api.host)}:{complete.api.port}")
                wait_until_ready(stack, say)
                yield stack


def _lost(ended: list[str]) -> str:
    """A server that comes back has another address, so it is for whoever started everything to do so again."""
    return f"the embedded {ended[0]} has ended, and everything with it" if ended else ""


def _drained(settings: Settings) -> Callable[[str, int], bool]:
    """Whether a worker ended because it was asked to; when the database cannot say, it is started again."""

    def drained(name: str, pid: int) -> bool:
        sessions = open_database(settings.database)
        try:
            with transaction(sessions) as session:
                return is_asked_to_leave(session, f"{name.split('-', maxsplit=1)[0]}-{pid}@{socket.gethostname()}")
        except StorageUnavailable:
            return False
        finally:
            close_database(sessions)

    return drained


def programs(settings: Settings, detect_workers: int) -> list[Program]:
    """The system's processes, in the order of their start; logs go to ``data_dir/logs``."""
    environment = child_environment(settings)
    modules: dict[str, tuple[str, ...]] = {
        f"detect-{number}": ("workers", "detect") for number in range(1, detect_workers + 1)
    }
    if settings.verdicts.enabled:
        modules["verdicts"] = ("workers", "verdicts")
    modules |= {"report": ("workers", "report"), "beat": ("workers", "beat"), "api": ("api",)}
    logs = settings.data_dir / "logs"
    commands = {name: ("-m", *module) for name, module in modules.items()}
    if settings.metrics.port:
        commands["metrics"] = ("-c", "from gistline.cli.main import main; main()", "metrics")
    return [
        Program(name, (sys.executable, "-P", *command), logs / f"{name}.log", env=environment)
        for name, command in commands.items()
    ]


def _with_port(settings: Settings) -> Settings:
    """Settings with a free port for 0; a taken one is refused here, or another program's answers would be ours."""
    host, port = settings.api.host, settings.api.port
    if port == 0:
        return settings.model_copy(update={"api": settings.api.model_copy(update={"port": free_port()})})
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SettingsError(
                f"api.host:api.port = {host}:{port} cannot be listened on: {error.strerror}.",
                cure="Set GISTLINE_API__PORT to another port; 0 takes a free one.",
            ) from error
    return settings


def wait_until_ready(stack: Stack, say: Say) -> None:
    """Return when the API and every worker of the stack are ready.

    Raises:
        EngineUnavailable: a process keeps ending, or two minutes were not enough.
        EngineUnproven: no engine may serve in a detect worker.

    """
    deadline = time.monotonic() + READY_WITHIN_S
    missing = "the API"
    while time.monotonic() < deadline:
        say(missing)
        hopeless = [name for name, failures in stack.supervisor.failures().items() if failures >= HOPELESS]
        if hopeless:
            log = stack.settings.data_dir / "logs" / f"{hopeless[0]}.log"
            raise EngineUnavailable(
                f"{hopeless[0]} ends as soon as it starts: {tail(log, 1)}", cure=f"The whole log is {log}."
            )
        missing = ask_readiness(stack.settings) or _unready_worker(stack) or ""
        if not missing:
            return
        time.sleep(POLL_S)
    raise EngineUnavailable(
        f"Not ready after {READY_WITHIN_S:.0f} s: {missing}.",
        cure=f"See the logs in {stack.settings.data_dir / 'logs'}.",
    )


def ask_readiness(settings: Settings) -> str | None:
    """None when ``GET /readyz`` answers 200, else what is still missing, in words."""
    host = reachable(settings.api.host).strip("[]")
    connection = http.client.HTTPConnection(host, settings.api.port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException):
        return "the API"
    finally:
        connection.close()
    return None if response.status == http.HTTPStatus.OK else _reason(body)


def _unready_worker(stack: Stack) -> str | None:
    """A worker of this system that takes no work yet; those that another system left in the database do not count.

    The API accepts frames without workers, but who starts a whole system wants to see them inspected.
    """
    sessions = open_database(stack.settings.database)
    try:
        with transaction(sessions) as session:
            names = health.ready_names(session)
            serving = health.serving_workers(session)
    finally:
        close_database(sessions)
    expected = {program: kind for program in stack.supervisor.restarts() if (kind := program.split("-")[0]) in WORKERS}
    pids = stack.supervisor.pids()
    for worker in serving:
        if worker.refused and worker.name.startswith(tuple(f"detect-{pid}@" for pid in pids.values())):
            raise EngineUnproven(f"The detect worker takes no work: {worker.refused}", cure="See docs/passport.md.")
    ready = {program for program, kind in expected.items() if _told(names, f"{kind}-{pids.get(program)}@")}
    return next((f"the process {program}" for program in expected if program not in ready), None)


def _told(names: set[str], beginning: str) -> bool:
    return any(name.startswith(beginning) for name in names)


def _reason(body: bytes) -> str:
    try:
        answer = json.loads(body)
    except ValueError:
        return "the API's readiness"
    return str(answer.get("detail") or answer) if isinstance(answer, dict) else str(answer)
