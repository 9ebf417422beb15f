"""From the engine's answer to the gate: decided and numbered in a transaction of its own, then published at once.

It runs beside the batch that the frame belongs to and does not wait for its end, its findings or its commit. What the
gate is told is committed first, so that it cannot be told two things; what was told stands even if the batch is lost
and another worker finds something else (``late_kind``).
"""

from __future__ import annotations

import logging
import time
from collections import deque
from threading import Condition, Thread
from typing import Final

from gistline.domain import FrameState, VerdictKind
from gistline.domain_acting import GateDecision, VerdictSource
from gistline.errors import StorageUnavailable
from gistline.flows.verdict_out import VerdictOut
from gistline.settings_acting import VerdictChannelSettings
from gistline.storage.findings import Measure
from gistline.storage.frames import Outcome
from gistline.storage.gate_verdicts import decide, mark_published
from gistline.storage.session import Sessions, transaction

log = logging.getLogger(__name__)

AT_ONCE: Final = 64
"""Decisions in one transaction: while one commits, the next ones gather."""
QUIET_S: Final = 0.05
"""What the broker has taken is noted with the next decision, or after this long without one."""
DATABASE_PAUSE_S: Final = 0.2
LET_PASS_S: Final = 0.1
"""Longest that a batch's commit waits for its verdicts."""


def decision_of(outcome: Outcome, measure: Measure, settings: VerdictChannelSettings) -> GateDecision:
    """What a gate is told of a frame that ended so: never OK for one that nobody looked at."""
    if outcome.state is FrameState.INSPECTED:
        verdict, source = outcome.verdict, VerdictSource.INSPECTION
        return GateDecision(
            outcome.frame_id, verdict.kind, verdict.reason, source, measure.engine_id, measure.passport_id
        )
    return GateDecision(outcome.frame_id, VerdictKind(settings.failed), outcome.verdict.reason, VerdictSource.FAILURE)


class GateTeller:
    """A worker's way to the gates, with a thread of its own; :meth:`tell` never waits.

    While the database does not answer nothing is told: the deadlines are watched by another process, whose heartbeat
    stops being good, so that gates fail closed by themselves.
    """

    def __init__(self, sessions: Sessions, out: VerdictOut, settings: VerdictChannelSettings) -> None:
        self._sessions = sessions
        self._out = out
        self._settings = settings
        self._wake = Condition()
        self._waiting: deque[GateDecision] = deque()
        self._closed = False
        self._note_due = 0.0
        self._told = self._out_of_hand = 0
        self._thread = self._new_thread()

    def _new_thread(self) -> Thread:
        return Thread(target=self._run, name="gates", daemon=True)

    def open(self) -> None:
        """Begin."""
        self._out.open()
        self._thread.start()

    def tell(self, outcome: Outcome, measure: Measure) -> None:
        """A frame has ended this way."""
        decision = decision_of(outcome, measure, self._settings)
        with self._wake:
            self._waiting.append(decision)
            self._told += 1
            if not (self._closed or self._thread.is_alive()):
                # What ended it is in the log, and what it held is left to its deadline; the frames after that are not.
                self._out_of_hand = self._told - len(self._waiting)
                self._thread = self._new_thread()
                self._thread.start()
            self._wake.notify_all()

    def let_pass(self) -> None:
        """Return when all that was told so far is out, or soon: verdicts go before the commit of their batch.

        Both would otherwise share this process's one interpreter and the disk, and the gate would wait for the report.
        """
        with self._wake:
            told = self._told
            self._wake.wait_for(lambda: self._out_of_hand >= told or self._closed, LET_PASS_S)

    def close(self, flush_s: float = 2.0) -> None:
        """Tell what waits, for at most this long."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        self._thread.join(flush_s)
        self._out.close()

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: bool(self._waiting) or self._closed, QUIET_S)
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), AT_ONCE))]
                closed = self._closed and not batch
            self._decide(batch)
            if closed:
                return

    def _decide(self, batch: list[GateDecision]) -> None:
        if batch:
            try:
                with transaction(self._sessions) as session:
                    verdicts = decide(session, batch, self._settings)
            except StorageUnavailable as error:
                self._put_back(batch, error)
                return
            for verdict in verdicts:
                self._out.publish(verdict)
            with self._wake:
                self._out_of_hand += len(batch)
                self._wake.notify_all()
        # Noted when nothing is more urgent, but well before the watch would publish it again.
        if not batch or time.monotonic() >= self._note_due:
            self._note_taken()

    def _note_taken(self) -> None:
        self._note_due = time.monotonic() + self._settings.publish_again_ms / 4000
        taken = self._out.taken()
        try:
            if taken:
                with transaction(self._sessions) as session:
                    mark_published(session, taken)
        except StorageUnavailable:
            self._out.hand_back(taken)

    def _put_back(self, batch: list[GateDecision], error: StorageUnavailable) -> None:
        log.warning("%d verdicts wait for the database: %s", len(batch), error)
        with self._wake:
            if not self._closed:
                self._waiting.extendleft(reversed(batch))
                self._wake.wait_for(lambda: self._closed, DATABASE_PAUSE_S)
