"""``python -m workers verdicts``: the watch over the verdict channel, which needs neither an engine nor Redis."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from threading import Event
from typing import Final

from gistline.errors import SettingsError, StorageUnavailable
from gistline.flows.verdict_out import VerdictOut
from gistline.flows.watch_verdicts import VerdictWatch
from gistline.settings import Settings
from gistline.storage.drains import forget_drain, is_asked_to_leave
from gistline.storage.heartbeats import Beat, remove_beat, save_beat
from gistline.storage.session import Sessions, close_database, open_database, transaction
from gistline.telemetry import metrics
from gistline.telemetry.listener import Exposed, Health, listening
from gistline.telemetry.places import Place
from gistline.telemetry.promptness import be_prompt
from workers.upkeep import Duty, Watch

log = logging.getLogger(__name__)

KIND: Final = "verdicts"


def run_verdicts(settings: Settings) -> int:
    """Watch until SIGTERM or a drain; returns the exit code.

    Raises:
        SettingsError: the channel is off, or nothing says where verdicts go.

    """
    if not settings.verdicts.enabled:
        raise SettingsError(
            "verdicts.enabled is off, so there is nothing to watch.", cure="Set GISTLINE_VERDICTS__ENABLED=true."
        )
    name = f"{KIND}-{os.getpid()}@{socket.gethostname()}"
    stopping = Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    health = Health()
    with ExitStack() as stack:
        address = stack.enter_context(listening(settings.metrics, Place.WORKER, Exposed(metrics.REGISTRY, health)))
        sessions = open_database(settings.database)
        stack.callback(close_database, sessions)
        watch = VerdictWatch(sessions, VerdictOut(settings, name=name, beats=True), settings.verdicts)
        stack.callback(_say_goodbye, sessions, name)
        detail = {"missed": lambda: watch.missed, "metrics": lambda: address}
        life = Watch([Duty(settings.fleet.heartbeat_s, _alive(sessions, name, detail, stopping))], {})
        health.ready, health.alive = (lambda: not stopping.is_set()), life.turns
        life.start()
        stack.callback(life.leave)
        be_prompt()
        log.info("verdicts ready.")
        watch.run(stopping)
    return 0


def _alive(
    sessions: Sessions, name: str, detail: Mapping[str, Callable[[], object]], stopping: Event
) -> Callable[[], None]:
    started: list[bool] = []

    def beat() -> None:
        with transaction(sessions) as session:
            if not started:  # a process joins by starting, whatever was asked of an earlier one of its name
                forget_drain(session, name)
            save_beat(session, Beat(name, KIND, True, {fact: tell() for fact, tell in detail.items()}))
            asked = is_asked_to_leave(session, name)
        started[:] = [True]
        if asked:
            stopping.set()

    return beat


def _say_goodbye(sessions: Sessions, name: str) -> None:
    try:
        with transaction(sessions) as session:
            remove_beat(session, name)
    except StorageUnavailable:
        log.warning("the heartbeat of %s stays until it is forgotten", name)
