"""Every task: ids in, one flow, done. Names are data (:class:`gistline.dispatch.TaskName`)."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from celery import Celery, current_task

from gistline.dispatch import TaskName
from gistline.flows.close_windows import close_windows
from gistline.flows.gather_statistics import gather_statistics
from gistline.flows.keep_partitions import retire_rows
from gistline.flows.observed_report import observed_report
from gistline.flows.prune_alarms import prune_alarms
from gistline.flows.prune_frames import prune_frames, prune_orphans
from gistline.flows.prune_reviews import prune_reviews
from gistline.flows.sweep import sweep
from gistline.telemetry.logs import log_fields
from workers.retries import Reactions, settled
from workers.runtime import DetectRuntime, ReportRuntime


def add_detect_tasks(app: Celery, runtime: DetectRuntime) -> None:
    """Register what a detect worker does."""

    def detect_frames(frame_ids: list[str]) -> None:
        runtime.inspect([UUID(one) for one in frame_ids])

    _add(app, TaskName.DETECT_FRAMES, detect_frames, runtime.reactions)


def add_report_tasks(app: Celery, runtime: ReportRuntime) -> None:
    """Register what a report worker does."""

    def write(window_ids: list[str]) -> None:
        for window_id in window_ids:
            observed_report(UUID(window_id), runtime.tools)

    _add(app, TaskName.WRITE_REPORT, write, runtime.reactions)


def add_upkeep_tasks(app: Celery, held: ReportRuntime) -> None:
    """Register the periodic duties, which a report worker does beside its reports."""
    sessions, store, dispatcher, settings = held.sessions, held.store, held.dispatcher, held.settings

    def prune() -> None:
        prune_alarms(sessions, settings.alarms)  # these first, since they need no frame store, which may be away
        prune_reviews(sessions, settings.accuracy)
        prune_frames(sessions, store, settings.frames)
        retire_rows(sessions, settings.frames)
        gather_statistics(sessions)

    _add(app, TaskName.SWEEP, lambda: sweep(sessions, dispatcher, settings), held.reactions)
    _add(app, TaskName.CLOSE_WINDOWS, lambda: close_windows(sessions, dispatcher, settings.reports), held.reactions)
    _add(app, TaskName.PRUNE_FRAMES, prune, held.reactions)
    _add(app, TaskName.PRUNE_ORPHANS, lambda: prune_orphans(sessions, store), held.reactions)


def _add(app: Celery, name: TaskName, work: Callable[..., object], reactions: Reactions) -> None:
    def task(*arguments: list[str]) -> None:
        with log_fields(task=name.value, task_id=current_task.request.id), settled(reactions):
            work(*arguments)

    app.task(task, name=name.value, shared=False)
