"""The Celery application of a worker, built from the settings; nothing happens at import."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from celery import Celery
from celery.worker import state

from gistline.dispatch import QueueName, message_settings, transport_options
from gistline.settings import Settings
from workers.transport import GUARDED


class Fleet(StrEnum):
    """Kinds of workers. They share a Redis database but neither queues nor lists of unacknowledged messages."""

    DETECT = "detect"
    REPORT = "report"


QUEUES: Final[Mapping[Fleet, tuple[QueueName, ...]]] = MappingProxyType(
    {Fleet.DETECT: (QueueName.DETECT,), Fleet.REPORT: (QueueName.REPORT, QueueName.UPKEEP)}
)


def create_celery(settings: Settings, fleet: Fleet) -> Celery:
    """Make the application of one fleet; tasks are added by :mod:`workers.tasks`.

    Raises:
        SettingsError: no Redis is named.

    """
    app = Celery(f"gistline-{fleet}", set_as_current=False)
    app.conf.update(message_settings(settings.redis), **_worker_settings(settings, fleet))
    return app


def _worker_settings(settings: Settings, fleet: Fleet) -> dict[str, Any]:
    return {
        "broker_transport": GUARDED,
        "broker_transport_options": _transport(settings, fleet),
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # Acknowledged after the commit. A dead worker's message is not put back at once: the lease retries its frames,
        # and a poisonous one would come back a hundred times a second.
        "task_acks_late": True,
        "task_reject_on_worker_lost": False,
        "worker_prefetch_multiplier": 1,
        "worker_disable_rate_limits": True,
        # Without remote control a worker with a full prefetch stays deaf after an outage.
        "worker_enable_remote_control": True,
        "worker_soft_shutdown_timeout": 0,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
    }


def _transport(settings: Settings, fleet: Fleet) -> dict[str, Any]:
    visibility = {Fleet.DETECT: settings.fleet.detect_visibility_s, Fleet.REPORT: settings.fleet.report_visibility_s}
    return transport_options(settings.redis, settings.redis.receive_timeout_s) | {
        "visibility_timeout": visibility[fleet],
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        # One set a fleet: each worker applies its own visibility timeout to every message that it finds there.
        "unacked_key": f"unacked.{fleet}",
        "unacked_index_key": f"unacked_index.{fleet}",
        "unacked_mutex_key": f"unacked_mutex.{fleet}",
    }


def worker_name(fleet: Fleet) -> str:
    """Name of this process, unique among live ones: as a Celery node, in ``worker_heartbeats`` and ``batches``."""
    return f"{fleet}-{os.getpid()}@{socket.gethostname()}"


def is_stopping() -> bool:
    """Whether the worker of this process was asked to leave."""
    # Celery keeps the exit code here, and 0 equals False: only identity tells them apart.
    return any(flag is not None and flag is not False for flag in (state.should_stop, state.should_terminate))


def leave(exit_code: int) -> None:
    """Make the worker of this process finish what it holds and end with ``exit_code``."""
    state.should_stop = exit_code
