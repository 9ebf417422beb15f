"""The blows themselves: each does what its name says to the running system, and undoes it after its time."""

from __future__ import annotations

import resource
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from random import Random
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID, uuid4

import psutil
import psycopg
from redis.exceptions import RedisError

from gistline.dispatch import CelerySender
from gistline.errors import StorageUnavailable
from gistline.flows.close_windows import close_now
from tests.chaos.plan import CAMERAS, Fault, Kind
from tests.chaos.servers import wait_for
from tests.chaos.system import System

DENIED: Final = 24 * 1024 * 1024
"""Bytes that a worker may still grow by when memory is denied to it."""


class CannotStrikeError(Exception):
    """This machine cannot do it; the message says why."""


def strike(system: System, fault: Fault) -> None:
    """Carry a fault out; returns when it is over.

    Raises:
        CannotStrikeError: it cannot be done here.

    """
    BLOWS[fault.kind](system, fault)


def close_lines(system: System) -> None:
    """Close every line's report window by hand; an operator whose database is away tries again later."""
    with suppress(StorageUnavailable):
        for line in sorted(set(CAMERAS.values())):
            close_now(system.sessions, system.sender, system.settings.reports, line)


def _kill(name: str) -> Callable[[System, Fault], None]:
    def blow(system: System, fault: Fault) -> None:
        _signal(system, fault.target or name, signal.SIGKILL)

    return blow


def _term(system: System, fault: Fault) -> None:
    _signal(system, fault.target, signal.SIGTERM)


def _signal(system: System, name: str, number: signal.Signals) -> None:
    process = system.process(name)
    if process is not None:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _kill_in_call(system: System, fault: Fault) -> None:
    """Kill the report worker between the moment in which its request arrives and shortly after the answer."""
    before = len(system.messages.requests)
    close_lines(system)
    deadline = time.monotonic() + 4.0
    while len(system.messages.requests) == before and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(fault.size)
    _signal(system, "report", signal.SIGKILL)


def _pause_process(system: System, fault: Fault) -> None:
    process = system.process(fault.target)
    if process is None:
        return
    with suppress(psutil.NoSuchProcess):
        process.suspend()
        time.sleep(fault.for_s)
        process.resume()


def _restart_redis(*, wipe: bool) -> Callable[[System, Fault], None]:
    def blow(system: System, fault: Fault) -> None:
        with system.redis.lock:
            system.redis.end(signal.SIGKILL)
            if wipe:
                system.redis.wipe()
            time.sleep(fault.for_s)
            system.redis.start()

    return blow


def _freeze_redis(system: System, fault: Fault) -> None:
    with system.redis.lock:
        stopped = system.redis.pause()
        time.sleep(fault.for_s)
        _wake(stopped)


def _flush(system: System, _fault: Fault) -> None:
    with system.redis.lock, suppress(RedisError), system.redis.client() as client:
        client.flushall()


def _restart_postgres(number: signal.Signals) -> Callable[[System, Fault], None]:
    def blow(system: System, fault: Fault) -> None:
        with system.postgres.lock:
            system.postgres.end(number)
            time.sleep(fault.for_s)
            system.postgres.start()

    return blow


def _kill_backend(system: System, _fault: Fault) -> None:
    with system.postgres.lock:
        if not system.postgres.kill_backend():
            raise CannotStrikeError("no client was connected")
        wait_for(system.postgres)


def _pause_postgres(system: System, fault: Fault) -> None:
    with system.postgres.lock:
        stopped = system.postgres.pause()
        time.sleep(fault.for_s)
        _wake(stopped)


def _wake(stopped: list[psutil.Process]) -> None:
    for one in stopped:
        with suppress(psutil.NoSuchProcess):
            one.resume()


def _weather(system: System, fault: Fault) -> None:
    proxy = system.proxies[fault.target]
    change: Mapping[Kind, Callable[[], None]] = {
        Kind.NET_STALL: proxy.stall,
        Kind.NET_CUT: proxy.stall,
        Kind.NET_RESET: proxy.refuse,
        Kind.NET_DELAY: lambda: proxy.slow(fault.size),
        Kind.NET_MUTE: proxy.mute,
    }
    change[fault.kind]()
    time.sleep(fault.for_s)
    proxy.clear(reset=fault.kind in (Kind.NET_CUT, Kind.NET_RESET, Kind.NET_MUTE))


def _bells(system: System, fault: Fault) -> None:
    """Ring for what is done, what is running, what never was, twice and backwards; double and turn what waits."""
    random = Random(fault.size)  # noqa: S311 - a schedule, not a secret
    with suppress(RedisError, StorageUnavailable), system.redis.client() as client:
        raw: Any = client.lrange("detect", 0, -1)
        for message in reversed(raw):
            client.lpush("detect", message)
        ids = _some_ids(system, "frames", int(fault.size), random)
        windows = _some_ids(system, "report_windows", 4, random)
        sender = CelerySender(system.settings.redis, system.settings.fleet)
        for one in (ids, ids[::-1], [uuid4() for _ in ids], [*windows], ()):
            sender.ring_detect(one)
        sender.ring_report([*windows, *windows[::-1], uuid4(), *ids[:2]])
        sender.close(flush_s=2.0)


def _some_ids(system: System, table: str, most: int, random: Random) -> list[UUID]:
    with suppress(psycopg.Error), system.postgres.connect() as connection:
        found = [row[0] for row in connection.execute(f"SELECT id FROM {table}")]  # noqa: S608 - two fixed names
        return random.sample(found, min(most, len(found)))
    return []


def _step(system: System, fault: Fault) -> None:
    clock = system.clocks[fault.target]
    if not clock.works:
        raise CannotStrikeError("no C compiler, so no clock to step")
    clock.step(fault.size)
    time.sleep(fault.for_s)
    clock.step(0.0)


def _fill_frames(system: System, fault: Fault) -> None:
    if not system.disks["frames"].real:
        _limit_files(system, fault)
        return
    with _filled(system, "frames"):
        time.sleep(fault.for_s)


def _limit_files(system: System, fault: Fault) -> None:
    """Where no small disk can be mounted, no file of the API may grow."""
    process = system.process("api")
    if process is None or not hasattr(process, "rlimit"):
        raise CannotStrikeError("no disk of its own, and no limit for a process")
    with suppress(psutil.NoSuchProcess):
        kept = process.rlimit(resource.RLIMIT_FSIZE)
        process.rlimit(resource.RLIMIT_FSIZE, (0, kept[1]))
        time.sleep(fault.for_s)
        process.rlimit(resource.RLIMIT_FSIZE, kept)


def _fill_postgres(system: System, fault: Fault) -> None:
    if not system.disks["postgres"].real:
        raise CannotStrikeError("PostgreSQL has no disk of its own here, and nobody else's is filled")
    with system.postgres.lock:
        with _filled(system, "postgres"):
            time.sleep(fault.for_s)
        if system.postgres.process.poll() is not None:  # it could not write its log, and ended to be safe
            system.postgres.start()
        wait_for(system.postgres)


@contextmanager
def _filled(system: System, name: str) -> Iterator[None]:
    system.disks[name].fill()
    try:
        yield
    finally:
        system.disks[name].free()


def _deny_memory(system: System, fault: Fault) -> None:
    process = system.process(fault.target)
    if process is None or not hasattr(process, "rlimit"):
        raise CannotStrikeError("no such process at the moment, or no limits on this system")
    with suppress(psutil.NoSuchProcess):
        kept = process.rlimit(resource.RLIMIT_AS)
        process.rlimit(resource.RLIMIT_AS, (process.memory_info().vms + DENIED, kept[1]))
        time.sleep(fault.for_s)
        process.rlimit(resource.RLIMIT_AS, kept)


BLOWS: Final[Mapping[Kind, Callable[[System, Fault], None]]] = MappingProxyType(
    {
        Kind.KILL_API: _kill("api"),
        Kind.KILL_DETECT: _kill("detect-1"),
        Kind.KILL_REPORT: _kill("report"),
        Kind.KILL_REPORT_IN_CALL: _kill_in_call,
        Kind.KILL_BEAT: _kill("beat"),
        Kind.KILL_REDIS: _restart_redis(wipe=False),
        Kind.KILL_POSTGRES: _restart_postgres(signal.SIGKILL),
        Kind.KILL_BACKEND: _kill_backend,
        Kind.TERM_DETECT: _term,
        Kind.PAUSE_PROCESS: _pause_process,
        Kind.PAUSE_REDIS: _freeze_redis,
        Kind.PAUSE_POSTGRES: _pause_postgres,
        Kind.FLUSH: _flush,
        Kind.WIPE_REDIS: _restart_redis(wipe=True),
        Kind.IMMEDIATE: _restart_postgres(signal.SIGQUIT),
        Kind.FAST: _restart_postgres(signal.SIGINT),
        Kind.NET_STALL: _weather,
        Kind.NET_CUT: _weather,
        Kind.NET_RESET: _weather,
        Kind.NET_DELAY: _weather,
        Kind.NET_MUTE: _weather,
        Kind.BELLS: _bells,
        Kind.CLOCK_PROCESS: _step,
        Kind.CLOCK_POSTGRES: _step,
        Kind.DISK_FRAMES: _fill_frames,
        Kind.DISK_POSTGRES: _fill_postgres,
        Kind.MEMORY: _deny_memory,
    }
)
"""Poison and hungry frames are in the load, not here."""
