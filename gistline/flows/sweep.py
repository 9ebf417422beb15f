"""What makes the fleet lossless: every frame that nobody works on any more is found and moved on.

Expired leases go back or fail, deadlines pass, and frames that wait without a bell are rung for again. Run it every
second from as many processes as you like; one at a time does the work.
"""

from __future__ import annotations

from dataclasses import dataclass

from gistline.dispatch import AfterCommit, Dispatcher
from gistline.domain import DeadLetterKind
from gistline.settings import Settings
from gistline.storage import frame_sweep
from gistline.storage.findings import Measure
from gistline.storage.frames import Trouble
from gistline.storage.session import Sessions, transaction
from gistline.telemetry import metrics

LOST_WORKER = "its worker died or outlived its lease"


@dataclass(frozen=True, slots=True)
class Swept:
    """Frames moved: leases returned, given up, expired, and rung for again; all 0 when another process sweeps."""

    returned: int = 0
    failed: int = 0
    expired: int = 0
    rung: int = 0


def sweep(sessions: Sessions, dispatcher: Dispatcher, settings: Settings) -> Swept:
    """Do one round; bells leave after its commit.

    Raises:
        StorageUnavailable: the database does not answer; nothing changed.

    """
    fleet = settings.fleet
    measure = Measure(None, settings.detection.min_confidence, settings.verdict.ng_confidence)
    trouble = Trouble(LOST_WORKER, fleet.max_attempts, backoff_s=0.0, letter=DeadLetterKind.QUARANTINED)
    with transaction(sessions) as session:
        if not frame_sweep.sweep_alone(session):
            return Swept()
        returned, failed = frame_sweep.return_expired_leases(session, trouble, measure)
        expired = frame_sweep.expire_overdue(session, measure)
        rung = frame_sweep.frames_to_ring(session, ring_again_s=fleet.ring_again_s, longest_s=fleet.ring_again_max_s)
        if rung:
            AfterCommit(session, dispatcher).ring_detect(rung)
    swept = Swept(returned, len(failed), len(expired), len(rung))
    metrics.count_sweep(returned=swept.returned, failed=swept.failed, expired=swept.expired, rung=swept.rung)
    return swept
