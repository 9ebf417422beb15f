"""Notices out of the outbox: taken by one process each, sent, and noted; what fails comes back later and later."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from uuid import UUID

from gistline.alarms.notice import from_json
from gistline.domain_acting import DeliveryState
from gistline.flows.alarm_outputs import Outputs
from gistline.outputs.delivery import NotDelivered
from gistline.settings_acting import AlarmSettings
from gistline.storage import alarms
from gistline.storage.session import Sessions, transaction
from gistline.storage.tables import AlarmDeliveryRow

log = logging.getLogger(__name__)

AT_ONCE: Final = 4
ROUNDS: Final = 2 * alarms.AT_ONCE / AT_ONCE
"""A lease outlives this many time-outs one after the other, twice what one call can take."""


def deliver_alarms(
    sessions: Sessions, outputs: Outputs, settings: AlarmSettings, *, stopping: Callable[[], bool] = lambda: False
) -> int:
    """Send what is due; returns how many were tried. One slow receiver keeps three others from being slow.

    Raises:
        StorageUnavailable: the database does not answer; what was sent and could not be noted is sent again.

    """
    with transaction(sessions) as session:
        lease_s = ROUNDS * settings.timeout_s
        due = alarms.take_due(session, lease_s=lease_s, max_per_minute=settings.max_per_minute)
    with ThreadPoolExecutor(AT_ONCE, "deliver") as pool:
        sent = [pool.submit(_deliver, one, sessions, outputs, settings) for one in due if not stopping()]
        for one in sent:
            one.result()
    return len(due)


def _deliver(row: AlarmDeliveryRow, sessions: Sessions, outputs: Outputs, settings: AlarmSettings) -> None:
    problem: NotDelivered | None = None
    try:
        outputs.send(row.output, row.target, from_json(row.notice))
    except NotDelivered as error:
        problem = error
    except (ValueError, KeyError, TypeError) as error:
        # A notice of another version, or a target that no header can hold: it must not come round for ever.
        log.exception("notice %s cannot be sent", row.id)
        problem = NotDelivered(f"it cannot be sent: {type(error).__name__}: {error}", final=True)
    with transaction(sessions) as session:
        if problem is None:
            alarms.end_delivery(session, row.id, DeliveryState.DELIVERED)
        elif problem.final or row.attempts >= settings.max_attempts:
            alarms.end_delivery(session, row.id, DeliveryState.DEAD, str(problem))
            _say_dead(row.id, row.output, problem)
        else:
            alarms.put_off(session, row.id, str(problem), _wait_s(row.attempts, problem, settings))


def _wait_s(attempts: int, problem: NotDelivered, settings: AlarmSettings) -> float:
    backoff_s = min(settings.retry_backoff_max_s, settings.retry_backoff_s * 2.0 ** min(attempts - 1, 30))
    return max(backoff_s, problem.wait_s or 0.0)


def _say_dead(delivery_id: UUID, output: str, problem: NotDelivered) -> None:
    log.error("notice %s did not reach %s and is given up: %s", delivery_id, output, problem)
