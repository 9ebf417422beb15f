"""What a worker's Celery application is told, and that every task has a body."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from gistline.dispatch import QUEUE_OF, TaskName, sender_app
from gistline.settings import RedisSettings, Settings
from workers.app import QUEUES, Fleet, create_celery
from workers.tasks import add_detect_tasks, add_report_tasks, add_upkeep_tasks
from workers.upkeep import BoundedScheduler, schedule

SETTINGS = Settings(redis=RedisSettings(url=SecretStr("redis://127.0.0.1:1/0")))


class Nothing:
    """Stands for a runtime whose parts are never used: tasks are registered, not run."""

    reactions: dict[Any, Any]

    def __init__(self) -> None:
        self.reactions = {}

    def __getattr__(self, name: str) -> None:
        return None


def registered(fleet: Fleet) -> set[str]:
    app = create_celery(SETTINGS, fleet)
    if fleet is Fleet.DETECT:
        add_detect_tasks(app, Nothing())  # type: ignore[arg-type]
    else:
        add_report_tasks(app, Nothing())  # type: ignore[arg-type]
        add_upkeep_tasks(app, Nothing())  # type: ignore[arg-type]
    return {name for name in app.tasks if not name.startswith("celery.")}


def test_every_task_name_is_registered_where_its_queue_is_served() -> None:
    for fleet, queues in QUEUES.items():
        assert registered(fleet) == {task.value for task in TaskName if QUEUE_OF[task] in queues}
    assert {queue for queues in QUEUES.values() for queue in queues} == set(QUEUE_OF.values())


def test_fleets_share_no_list_of_unacknowledged_messages() -> None:
    options = [create_celery(SETTINGS, fleet).conf.broker_transport_options for fleet in Fleet]
    for key in ("unacked_key", "unacked_index_key", "unacked_mutex_key"):
        assert len({one[key] for one in options}) == len(Fleet)
    assert [one["visibility_timeout"] for one in options] == [
        SETTINGS.fleet.detect_visibility_s,
        SETTINGS.fleet.report_visibility_s,
    ]


@pytest.mark.parametrize("fleet", Fleet)
def test_messages_are_acknowledged_late_and_taken_one_by_one(fleet: Fleet) -> None:
    conf = create_celery(SETTINGS, fleet).conf
    assert conf.task_acks_late is True
    assert conf.task_reject_on_worker_lost is False
    assert conf.worker_prefetch_multiplier == 1
    assert conf.worker_enable_remote_control is True
    assert conf.task_ignore_result is True
    assert conf.broker_connection_max_retries is None
    assert conf.broker_transport_options["unacked_restore_throttle"] == 1


def test_beat_rings_every_duty_and_each_message_expires() -> None:
    duties = schedule(SETTINGS)
    carry_ids = {TaskName.DETECT_FRAMES, TaskName.WRITE_REPORT}
    assert set(duties) == {task.value for task in TaskName if task not in carry_ids}
    assert all(duty["options"]["expires"] >= duty["schedule"] for duty in duties.values())


def test_rare_duties_are_rung_soon_after_the_start_and_not_at_once() -> None:
    app = sender_app(SETTINGS.redis)
    app.conf.update(beat_schedule=schedule(SETTINGS))
    scheduler = BoundedScheduler(app, lazy=True)
    scheduler.setup_schedule()
    due = {name: entry.is_due() for name, entry in scheduler.schedule.items()}
    for task in (TaskName.PRUNE_FRAMES, TaskName.PRUNE_ORPHANS):
        now, in_s = due[task.value]
        assert not now
        assert 590 < in_s <= 600
