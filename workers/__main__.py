"""``python -m workers detect|report|beat|verdicts``: run one worker process until SIGTERM.

SIGTERM ends it after the batch or report that it holds. SIGQUIT and SIGKILL leave that to the leases.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import click
from celery import Celery

from gistline.detection.detector import open_model
from gistline.errors import GistlineError
from gistline.flows.measure_passport import OpenModel
from gistline.settings import Settings, load_settings
from gistline.settings_observability import LogSettings
from gistline.settings_report import secrets_of
from gistline.telemetry import logs, metrics
from gistline.telemetry.listener import Exposed, Health, listening
from gistline.telemetry.places import Place
from gistline.telemetry.promptness import be_prompt
from gistline.telemetry.tracing import tracing
from workers.app import QUEUES, Fleet, create_celery, worker_name
from workers.runtime import detect_runtime, report_runtime
from workers.tasks import add_detect_tasks, add_report_tasks, add_upkeep_tasks
from workers.upkeep import (
    Alive,
    Watch,
    alarm_duties,
    batch_duties,
    detect_duties,
    join_fleet,
    life_duties,
    report_duties,
    review_duties,
    run_beat,
    say_goodbye,
    say_refused,
    serving_duties,
    watch_over,
)
from workers.verdicts import run_verdicts

LEVELS = ("debug", "info", "warning", "error")


def run_detect(settings: Settings, open_with: OpenModel = open_model) -> int:
    """Serve the detect queue; returns the exit code.

    Raises:
        GistlineError: it cannot start; the message says what cures it.

    """
    health = Health()
    exposed = Exposed(metrics.REGISTRY, health)
    with (
        tracing(settings.tracing, service="worker-detect"),
        listening(settings.metrics, Place.WORKER, exposed) as address,
        detect_runtime(settings, open_with, say_refused=say_refused) as runtime,
    ):
        runtime.metrics_address = address
        app = create_celery(settings, Fleet.DETECT)
        add_detect_tasks(app, runtime)
        watches = [
            Watch(life_duties(runtime), {}),
            Watch(detect_duties(runtime), runtime.reactions),
            Watch(serving_duties(runtime), {}),
        ]
        # One message at a time in the main thread: the engine is the bottleneck, and it is in this process.
        watch_over(health, runtime, watches[0])
        return _serve(app, Fleet.DETECT, runtime, watches, pool="solo", concurrency=1)


def run_report(settings: Settings) -> int:
    """Serve the report and upkeep queues; returns the exit code.

    Raises:
        GistlineError: it cannot start; the message says what cures it.

    """
    health = Health()
    exposed = Exposed(metrics.REGISTRY, health)
    with (
        tracing(settings.tracing, service="worker-report"),
        listening(settings.metrics, Place.WORKER, exposed) as address,
        report_runtime(settings) as runtime,
    ):
        runtime.metrics_address = address
        app = create_celery(settings, Fleet.REPORT)
        add_report_tasks(app, runtime)
        add_upkeep_tasks(app, runtime)
        watches = [
            Watch(report_duties(runtime), runtime.reactions),
            Watch(alarm_duties(runtime), runtime.reactions),
            Watch(batch_duties(runtime), runtime.reactions),
            Watch(review_duties(runtime), {}),
        ]
        concurrency = settings.fleet.report_concurrency
        watch_over(health, runtime, watches[0])
        return _serve(app, Fleet.REPORT, runtime, watches, pool="threads", concurrency=concurrency)


def _serve(app: Celery, fleet: Fleet, runtime: Alive, watches: Sequence[Watch], **pool: Any) -> int:
    worker = app.Worker(
        hostname=worker_name(fleet),
        queues=[queue.value for queue in QUEUES[fleet]],
        loglevel=logging.getLogger().level,
        quiet=True,
        without_gossip=True,
        without_mingle=True,
        **pool,
    )
    join_fleet(runtime.sessions, fleet)
    be_prompt()
    for watch in watches:
        watch.start()
    try:
        worker.start()
    finally:
        for watch in watches:
            watch.leave()
        say_goodbye(runtime, fleet)
    return int(worker.exitcode or 0)


RUN: Final[Mapping[str, Callable[[Settings], int | None]]] = MappingProxyType(
    {"detect": run_detect, "report": run_report, "beat": run_beat, "verdicts": run_verdicts}
)


@click.command()
@click.argument("kind", type=click.Choice(list(RUN)))
@click.option("--log-level", type=click.Choice(LEVELS), help="What is logged, instead of log.level.")
def main(kind: str, log_level: str | None) -> None:
    """Run one worker process.

    detect looks at frames, report writes reports and does the upkeep, beat is the clock of the upkeep, verdicts watches
    over what gates are told.
    """
    try:
        settings = load_settings()
        set_up_logging(log_level or settings.log.level, settings, kind=kind)
        sys.exit(RUN[kind](settings))
    except GistlineError as error:
        click.echo(f"{error.title}: {error}", err=True)
        sys.exit(1)


def set_up_logging(level: str, settings: Settings | None = None, *, kind: str = "detect") -> None:
    """Log to stderr; Celery's two lines a message only when debugging, because a bell is rung many times a second."""
    form = settings.log if settings else LogSettings()
    service = "beat" if kind == "beat" else f"worker-{kind}"
    secrets = secrets_of(settings) if settings else ()
    logs.set_up_logging(form.model_copy(update={"level": level}), service=service, secrets=secrets)
    if level != "debug":
        for name in ("celery.app.trace", "celery.worker.strategy", "celery.beat"):
            logging.getLogger(name).setLevel(logging.WARNING)


if __name__ == "__main__":
    main()
