"""The watch over the verdict channel: no frame without a verdict in time, none decided and not published.

It runs in a process that neither inspects nor needs Redis, in any number of replicas. It never says OK about anything.
"""

from __future__ import annotations

import logging
import time
from threading import Event
from typing import Final
from uuid import UUID

from gistline.domain import VerdictKind
from gistline.domain_acting import GateDecision, GateVerdict, VerdictSource
from gistline.errors import StorageUnavailable
from gistline.flows.verdict_out import VerdictOut
from gistline.outputs.verdict_message import BLIND, WATCHING
from gistline.settings_acting import VerdictChannelSettings
from gistline.storage import gate_verdicts
from gistline.storage.session import Sessions, transaction

log = logging.getLogger(__name__)

SHORTEST_S: Final = 0.002
LONGEST_MS: Final = 100
PRUNE_S: Final = 3_600.0
MISSING: Final = "no verdict within the camera's deadline"


class VerdictWatch:
    """Decides what is overdue or failed unseen, publishes again what was not taken, and sends the gates' heartbeat."""

    def __init__(self, sessions: Sessions, out: VerdictOut, settings: VerdictChannelSettings) -> None:
        self._sessions = sessions
        self._out = out
        self._settings = settings
        self._beat_due = self._prune_due = 0.0
        self._news = Event()
        # A frame accepted during a pause is not due before the pause is over.
        shortest_ms = min(settings.deadline_ms, *settings.deadline_ms_by_camera.values(), LONGEST_MS)
        self._longest_s = shortest_ms / 1000
        self.missed = 0
        """Verdicts decided because a deadline passed."""

    def run(self, stopping: Event) -> None:
        """Watch until told to stop."""
        self._out.open(lambda _up: self._news.set())
        while not stopping.is_set():
            pause_s = self.look()
            if self._news.wait(pause_s):
                self._news.clear()
                self._beat_due = 0.0
        self._out.close()

    def look(self) -> float:
        """One round; returns the seconds until the next one. A database that does not answer is told to the gates."""
        began = time.monotonic()
        taken = self._out.taken()
        try:
            ended, again, next_due_s = self._read_and_decide(taken)
            last = self._numbers_if_due()
        except StorageUnavailable as error:
            self._out.hand_back(taken)
            log.warning("the watch is blind: %s", error)
            self._beat(BLIND, {})
            return self._longest_s
        for verdict in (*ended, *again):
            self._out.publish(verdict)
        overdue = [one for one in ended if one.source is VerdictSource.DEADLINE]
        if overdue:
            self.missed += len(overdue)
            log.warning("%d verdicts missed their deadline and are %s", len(overdue), self._settings.missing)
        if last is not None:
            self._beat(WATCHING, last)
        if len(overdue) == gate_verdicts.CHUNK:
            return SHORTEST_S
        self._prune_if_due()
        wait_s = self._longest_s if next_due_s is None else min(next_due_s, self._longest_s)
        return max(SHORTEST_S, wait_s - (time.monotonic() - began))

    def _read_and_decide(self, taken: list[UUID]) -> tuple[list[GateVerdict], list[GateVerdict], float | None]:
        with transaction(self._sessions) as session:
            gate_verdicts.mark_published(session, taken)
            missing, failed = (VerdictKind(one) for one in (self._settings.missing, self._settings.failed))
            ends = [
                GateDecision(one, failed, reason, VerdictSource.FAILURE)
                for one, reason in gate_verdicts.failed(session)
            ]
            known = {one.frame_id for one in ends}
            late = [one for one in gate_verdicts.overdue(session) if one not in known]
            ends += [GateDecision(one, missing, MISSING, VerdictSource.DEADLINE) for one in late]
            decided = gate_verdicts.decide(session, ends, self._settings) if ends else []
            again = []
            if self._out.is_up:
                again = gate_verdicts.take_unpublished(session, again_ms=self._settings.publish_again_ms)
            return decided, again, gate_verdicts.next_due_s(session)

    def _prune_if_due(self) -> None:
        """A few rows a round: while they go, no deadline is looked at."""
        if time.monotonic() < self._prune_due:
            return
        try:
            with transaction(self._sessions) as session:
                more = gate_verdicts.prune_verdicts(session, keep_days=self._settings.keep_days)
        except StorageUnavailable as error:
            log.warning("old verdicts stay for now: %s", error)
            more = False
        self._prune_due = 0.0 if more else time.monotonic() + PRUNE_S

    def _numbers_if_due(self) -> dict[str, int] | None:
        if time.monotonic() < self._beat_due:
            return None
        with transaction(self._sessions) as session:
            return gate_verdicts.last_numbers(session)

    def _beat(self, state: str, last: dict[str, int]) -> None:
        self._beat_due = time.monotonic() + self._settings.heartbeat_ms / 1000
        self._out.beat(state, last)
