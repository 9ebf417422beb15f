"""Which port each kind of process serves its metrics and health on."""

from __future__ import annotations

from enum import IntEnum


class Place(IntEnum):
    """Which port after ``metrics.port`` a kind of process takes; workers try several from theirs."""

    API = 0
    EXPORTER = 1
    BEAT = 2
    WORKER = 3
