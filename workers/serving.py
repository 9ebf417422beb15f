"""The engine of a detect worker: the first one, without which it takes nothing, and every one promoted afterwards.

A promotion is followed beside the work: the new engine is opened, warmed up and proven in the same process while the
old one goes on looking at frames; then the next batch goes to the new one. One that cannot be opened or proven on this
machine changes nothing, and the heartbeat says why.
"""

from __future__ import annotations

import logging
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from gistline.errors import EngineUnproven, GistlineError, StorageUnavailable
from gistline.flows.measure_passport import MeasuringTools
from gistline.flows.serve_model import Serving, admit, prove, serve_model, wanted_model
from gistline.flows.station import Station
from gistline.storage import passports, serving
from gistline.storage.session import transaction

log = logging.getLogger(__name__)

News = tuple[int | None, int, str]
"""Changes when something is promoted or a passport is written."""
Say = Callable[[str], None]
LOOK_AGAIN_S: Final = 600.0
"""An engine that was refused is looked at again after this, news or none: another process that measured it, and stood
still or died over it, leaves no news."""


def first_serving(tools: MeasuringTools, say: Say) -> Serving:
    """The engine to start with; while it is unproven, waits for a promotion or a passport, and looks again in between.

    ``say`` gets the reason once a heartbeat. SIGTERM ends the process meanwhile.

    Raises:
        EngineUnavailable: the engine cannot run.
        ModelRejected: the file is missing or does not fit.
        StorageUnavailable: the database does not answer.

    """
    while True:
        seen = news(tools)
        try:
            return serve_model(wanted_model(tools.sessions, tools.settings), tools)
        except EngineUnproven as refusal:
            log.error("this worker takes no work: %s", refusal)
            _wait_for_news(tools, seen, lambda reason=str(refusal): say(reason))  # type: ignore[misc]


def news(tools: MeasuringTools) -> News:
    """What following looks at."""
    with transaction(tools.sessions) as session:
        promotion = serving.current(session)
        return (promotion.id if promotion else None, *passports.news(session))


def _wait_for_news(tools: MeasuringTools, seen: News, say: Callable[[], None]) -> None:
    until = time.monotonic() + LOOK_AGAIN_S
    kept = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        while True:
            say()
            time.sleep(tools.settings.fleet.heartbeat_s)
            if news(tools) != seen or time.monotonic() >= until:
                return
    finally:
        signal.signal(signal.SIGTERM, kept)


@dataclass(slots=True)
class Follower:
    """Follows promotions, one call of :meth:`follow` at a time. ``error`` says why the last one was not followed."""

    tools: MeasuringTools
    station: Station
    error: str = ""
    _seen: News | None = field(default=None)
    _again_at: float = 0.0

    def follow(self) -> None:
        """Serve what is to be served now, if that is another model or its passport is a newer one.

        Raises:
            StorageUnavailable: the database does not answer; tried again at the next call.

        """
        found = news(self.tools)
        if found != self._seen or (self.error and time.monotonic() >= self._again_at):
            self._try()
            self._seen, self._again_at = found, time.monotonic() + LOOK_AGAIN_S

    def close(self) -> None:
        """Free the engine that serves last; nothing may be running."""
        self.station.serving.detector.close()

    def _try(self) -> None:
        try:
            self._change_over()
            self.error = ""
        except StorageUnavailable:
            raise
        except GistlineError as error:
            self.error = str(error)
            log.error("the promoted model is not served here, the old one goes on: %s", error)
        except Exception as error:  # the door: whatever a new engine breaks on, the old one must go on
            self.error = f"{type(error).__name__}: {error}"
            log.exception("the promoted model is not served here, the old one goes on")

    def _change_over(self) -> None:
        wanted = wanted_model(self.tools.sessions, self.tools.settings)
        now = self.station.serving
        if now.wanted is not None and wanted.model.sha256 == now.wanted.model.sha256:
            passport = prove(wanted.model, now.detector, self.tools)
            self.station.serving = admit(self.tools, now.detector, passport, wanted)
            return
        successor = serve_model(wanted, self.tools)
        self.station.change_over(successor).detector.close()
        log.info("serving %s from now on (%s), passport %s", wanted.model.name, wanted.why, successor.passport.id)
