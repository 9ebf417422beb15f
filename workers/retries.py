"""One table: what becomes of a message whose work failed. The rows were settled before; this is about the bell."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from typing import Final

from gistline.errors import EngineUnavailable, GistlineError, StorageUnavailable
from gistline.telemetry import metrics

log = logging.getLogger(__name__)


class Fate(StrEnum):
    """What happens next; the message is acknowledged in every case."""

    WAIT = "wait"
    """Planned: the row keeps the time of its next attempt and the sweep rings again."""
    RING = "ring"
    """The work went back with a back-off; others are waiting, so ring at once."""
    LEAVE = "leave"
    """This process cannot work any more: it ends with an error, and its supervisor starts another with a back-off."""
    DROP = "drop"
    """Doing it again would fail again: a dead letter, which the log keeps."""


FATES: Final[tuple[tuple[type[Exception], Fate], ...]] = (
    (StorageUnavailable, Fate.WAIT),
    (EngineUnavailable, Fate.LEAVE),
    (GistlineError, Fate.DROP),
    (Exception, Fate.RING),
)
"""The first line whose class fits decides."""


def fate_of(error: Exception) -> Fate:
    """Look an error up in the table."""
    return next(fate for kind, fate in FATES if isinstance(error, kind))


Reactions = Mapping[Fate, Callable[[], None]]
"""What a worker does about a fate; nothing for one that is not named."""


@contextmanager
def settled(reactions: Reactions) -> Iterator[None]:
    """Run a task's work; an error is logged and answered by its fate's reaction, where there is one."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - the door: Celery would log it and forget the fate
        fate = fate_of(error)
        _log(fate, error)
        metrics.TASK_FAILURES.labels(fate.value).inc()
        reactions.get(fate, lambda: None)()


def _log(fate: Fate, error: Exception) -> None:
    """What was planned is no error."""
    if fate is Fate.WAIT:
        log.warning("later: %s", error)
    else:
        log.error("%s: %s", fate, error, exc_info=error)
