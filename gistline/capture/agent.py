"""The camera agent: one thread takes pictures into the spool, another sends them off in the same order."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from gistline.capture.sameness import Sameness
from gistline.capture.sources import Source
from gistline.capture.spool import Spool, SpoolFull, Waiting
from gistline.client import FRAMES_A_REQUEST, CameraClient, Shot, Unanswered, put_off_s, step_s
from gistline.errors import (
    Conflict,
    FleetBusy,
    FrameDamaged,
    GistlineError,
    ImageTooLarge,
    NotFound,
    RequestRejected,
)

BYTES_A_REQUEST: Final = 32_000_000
REPEAT_S: Final = 60.0
"""A trouble that lasts is said again after so long, and a wrong key or address is tried again."""
LOOK_EVERY_S: Final = 0.2
LEAVE_S: Final = 5.0
"""How long a request that is under way may still take once the agent stops; the spool has its frames anyway."""

Say = Callable[[str], None]


@dataclass(slots=True)
class Counts:
    """What one run did, in frames. ``lost``: pictures of a stream that a full spool did not take."""

    spooled: int = 0
    skipped: int = 0
    lost: int = 0
    sent: int = 0
    refused: int = 0


@dataclass(slots=True)
class _Troubles:
    """Says each trouble at once, and again only after a while."""

    say: Say
    _said: dict[str, float] = field(default_factory=dict)

    def tell(self, kind: str, text: str) -> None:
        now = time.monotonic()
        if now - self._said.get(kind, -REPEAT_S) >= REPEAT_S:
            self._said[kind] = now
            self.say(text)

    def over(self, kind: str, text: str) -> None:
        if self._said.pop(kind, None) is not None:
            self.say(text)


class Agent:
    """Runs until ``stop`` is set, or until its source has ended and everything is sent.

    ``connect`` opens a connection, reading the key again; it is called anew after a key was refused.
    """

    def __init__(self, spool: Spool, connect: Callable[[], CameraClient], *, say: Say) -> None:
        self.spool = spool
        self.counts = Counts()
        self._connect = connect
        self._say = say
        self._stop = threading.Event()
        self._ended = threading.Event()
        self._failure: Exception | None = None
        self._sender_left = False

    def stop(self) -> None:
        """Take no more pictures and leave; safe in a signal handler."""
        self._stop.set()

    def run(self, source: Source, sameness: Sameness) -> Counts:
        """Take and send pictures.

        Raises:
            GistlineError: the source or the spool's disk failed; what was spooled before stays.

        """
        sender = threading.Thread(target=self._send_all, name="sender", daemon=True)
        sender.start()
        try:
            self._capture(source, sameness)
        except GistlineError as error:
            self._say(f"No more pictures: {error}")
            raise
        finally:
            self._ended.set()
            while sender.is_alive() and not self._stop.is_set():
                sender.join(LOOK_EVERY_S)
            sender.join(LEAVE_S)
        if self._failure is not None:
            raise self._failure
        if not (self._sender_left or sender.is_alive()):
            raise RuntimeError("the sender broke off; its traceback is above")
        return self.counts

    def _capture(self, source: Source, sameness: Sameness) -> None:
        troubles = _Troubles(self._say)
        for shot in source.frames(self._stop):
            if sameness.is_same(shot.data):
                self.counts.skipped += 1
            elif self._keep(shot, troubles, keeps=source.keeps):
                sameness.taken()
                self.counts.spooled += 1
            elif source.keeps:
                return

    def _keep(self, shot: Shot, troubles: _Troubles, *, keeps: bool) -> bool:
        """Whether the frame is in the spool; waits for room where the source can wait, until the agent stops."""
        while True:
            try:
                self.spool.put(shot)
            except SpoolFull as error:
                if not keeps:
                    self.counts.lost += 1
                    troubles.tell("full", f"FRAMES ARE LOST ({self.counts.lost} so far): {error}")
                    return False
                troubles.tell("full", f"Nothing more is taken, the source keeps it: {error}")
                if self._stop.is_set():
                    return False
                self.spool.wait(LOOK_EVERY_S)
                continue
            troubles.over("full", "The spool has room again.")
            return True

    def _send_all(self) -> None:
        try:
            self._send_until_done()
            self._sender_left = True
        except (GistlineError, OSError) as error:
            self._failure = error
        finally:
            # Whatever ended it, nobody takes pictures that nobody sends.
            self._stop.set()

    def _send_until_done(self) -> None:
        troubles, unanswered = _Troubles(self._say), 0
        connections = _Connections(self._connect)
        with connections:
            while not self._stop.is_set():
                batch = self._batch()
                if not batch:
                    if self._ended.is_set() and not len(self.spool):
                        return
                    self.spool.wait(LOOK_EVERY_S)
                    continue
                try:
                    self._send(connections.current(), batch)
                except FleetBusy as error:
                    troubles.tell("busy", f"Put off for {error.retry_after_s} s: {error.message}")
                    self._stop.wait(put_off_s(error))
                except Unanswered as error:
                    unanswered += 1
                    troubles.tell("away", f"{error} Frames are kept in {self.spool.folder} meanwhile.")
                    self._stop.wait(step_s(unanswered, error.retry_after_s))
                except GistlineError as error:
                    # Not the frames' fault: a wrong key or address. Whoever mends it need not start the agent again.
                    connections.drop()
                    troubles.tell(error.title, f"{error.title}: {error} Frames are kept; tried again each minute.")
                    self._stop.wait(REPEAT_S)
                else:
                    unanswered = 0
                    troubles.over("away", f"The API answers again; {len(self.spool)} frames are left to send.")

    def _batch(self) -> list[Waiting]:
        return list(_up_to(self.spool.oldest(FRAMES_A_REQUEST), BYTES_A_REQUEST))

    def _send(self, client: CameraClient, batch: Sequence[Waiting]) -> None:
        """Send the oldest frames in one request; where that is refused, one by one, to find out which one it is.

        A proxy that refuses the size of a batch looks like a wrong address (NotFound), so that is tried alone, too.
        """
        try:
            client.submit([self.spool.load(one) for one in batch])
        except (FrameDamaged, Conflict, ImageTooLarge, RequestRejected, NotFound) as error:
            if len(batch) > 1:
                for one in batch:
                    if self._stop.is_set():
                        return
                    self._send(client, [one])
                return
            if isinstance(error, NotFound):
                raise
            aside = self.spool.set_aside(batch[0], str(error))
            self.counts.refused += 1
            self._say(f"REFUSED, kept as {aside}: {error}")
        else:
            for one in batch:
                self.spool.sent(one)
            self.counts.sent += len(batch)


class _Connections:
    """One open connection, made anew after it was dropped."""

    def __init__(self, connect: Callable[[], CameraClient]) -> None:
        self._connect = connect
        self._open: CameraClient | None = None

    def __enter__(self) -> _Connections:
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()

    def current(self) -> CameraClient:
        if self._open is None:
            self._open = self._connect()
        return self._open

    def drop(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None


def _up_to(frames: Sequence[Waiting], most: int) -> Iterator[Waiting]:
    """The first frames with so many bytes together, and at least one."""
    total = 0
    for place, one in enumerate(frames):
        total += one.size
        if place and total > most:
            return
        yield one
