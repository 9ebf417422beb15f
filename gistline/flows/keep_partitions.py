"""The tables that grow, cut by time: partitions are made before they are needed and dropped when their time is over."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from gistline.settings_frames import FrameSettings
from gistline.storage import partitions, retention
from gistline.storage.batches import forget_stray_batches
from gistline.storage.partitions import Period
from gistline.storage.session import Sessions, transaction

log = logging.getLogger(__name__)

CHUNK: Final = 5_000
"""Rows deleted in one transaction."""
WAIT_MS: Final = 500
"""Longest that the fleet waits behind somebody who reads while a partition is to come or go."""
TRIES: Final = 5
PAUSE_S: Final = 1.0


def make_partitions(sessions: Sessions, settings: FrameSettings) -> list[Period]:
    """Make what is missing for the time to come; returns it. Cheap when nothing is; safe in any number of processes.

    Raises:
        StorageUnavailable: the database does not answer.

    """
    with transaction(sessions) as session:
        now = partitions.database_time(session)
        missing = list(partitions.missing_periods(partitions.periods(session), now=now, days=settings.partition_days))
    return [period for period in missing if _patiently(partial(_make, sessions, period), f"make {period.name}")]


def retire_rows(sessions: Sessions, settings: FrameSettings) -> list[Period]:
    """Let go of keys, notes, frames and findings whose time is over; returns the periods whose frames were dropped.

    A period stays while somebody needs one of its frames: unfinished, unreported, with bytes, with an open dead letter.

    Raises:
        StorageUnavailable: the database does not answer; what went until then stays gone.

    """
    with transaction(sessions) as session:
        now = partitions.database_time(session)
    _forget_keys(sessions, now - timedelta(days=settings.keep_keys_days))
    _forget_batches(sessions, now - timedelta(days=settings.keep_days))
    if not settings.keep_rows_days:
        return []
    before = now - timedelta(days=settings.keep_rows_days)
    _delete_strays(sessions, before)
    with transaction(sessions) as session:
        over = [period for period in partitions.periods(session) if period.ends_at <= before]
    return [period for period in over if _retire(sessions, period)]


def _make(sessions: Sessions, period: Period) -> bool:
    with transaction(sessions) as session:
        if not partitions.alone(session):
            return False
        if period in partitions.periods(session):
            return True
        if partitions.has_strays(session, period):
            log.warning("rows of %s lie in the default partition, and so will the others of that time", period.name)
            return True
        return partitions.make_period(session, period, wait_ms=WAIT_MS)


def _retire(sessions: Sessions, period: Period) -> bool:
    with transaction(sessions) as session:
        reasons = retention.what_holds(session, period)
        counted = None if reasons else retention.count_period(session, period)
    if counted is None:
        log.warning(
            "the rows of %s are older than frames.keep_rows_days, and stay: %s", period.name, ", ".join(reasons)
        )
        return False

    return _patiently(partial(_drop, sessions, period, counted), f"drop {period.name}")


def _drop(sessions: Sessions, period: Period, counted: retention.Counted) -> bool:
    with transaction(sessions) as session:
        return partitions.alone(session) and retention.drop_period(session, period, counted, wait_ms=WAIT_MS)


def _forget_batches(sessions: Sessions, before: datetime) -> None:
    with transaction(sessions) as session:
        forget_stray_batches(session, before=before)
        over = [period for period in partitions.periods(session, "batches") if period.ends_at <= before]
    for period in over:
        _patiently(partial(_drop_batches, sessions, period), f"drop batches of {period.name}")


def _drop_batches(sessions: Sessions, period: Period) -> bool:
    with transaction(sessions) as session:
        return partitions.alone(session) and retention.drop_batches(session, period, wait_ms=WAIT_MS)


def _forget_keys(sessions: Sessions, before: datetime) -> None:
    gone = CHUNK
    while gone == CHUNK:
        with transaction(sessions) as session:
            gone = retention.forget_keys(session, before=before, chunk=CHUNK)


def _delete_strays(sessions: Sessions, before: datetime) -> None:
    gone = CHUNK
    while gone == CHUNK:
        with transaction(sessions) as session:
            gone = retention.delete_strays(session, before=before, chunk=CHUNK)
    with transaction(sessions) as session:
        retention.fold_stray_submissions(session, before=before)


def _patiently(act: Callable[[], bool], what: str) -> bool:
    """Try a few times; the next round of upkeep tries again."""
    for attempt in range(TRIES):
        if attempt:
            time.sleep(PAUSE_S)
        if act():
            return True
    log.warning("could not %s: the tables are busy; the next round tries again", what)
    return False
