"""Run several actors against one database, one statement at a time, in an order that a seed decides.

Every statement, every commit and every named point of an actor is a gate. A scheduler lets one actor through at a
time; one that the server says to be waiting for a lock is left there while others go on, and is waited for as soon as
it has the lock. So a seed makes the same schedule on a fast machine and on a slow one. An actor may be killed at any
gate: its transaction is rolled back, as the server does when a connection breaks off.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

import psycopg
from sqlalchemy import Engine, event

LOOK_S = 0.002
"""An actor that is not back after this is asked about: does it wait for a lock, or is it only slow?"""
STUCK_S = 20.0
MOST_LOOKS = round(STUCK_S / LOOK_S)

_current = threading.local()


class Killed(BaseException):
    """Thrown into an actor at a gate; nothing of its own may catch it."""


@dataclass(eq=False)
class Actor:
    """A thread that stops at every gate; ``mortal`` ones may be killed there. ``waits`` says if it is locked out."""

    name: str
    run: Callable[[], None]
    waits: Callable[[], bool]
    mortal: bool = True
    doomed: bool = False
    turn: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0), repr=False)


class Schedule:
    """One order of all gates, decided by ``seed``; ``death`` is the chance of being killed at a gate."""

    def __init__(self, seed: int, *, death: float) -> None:
        self._random = random.Random(seed)  # noqa: S311 (a schedule, not a secret)
        self._death = death
        self._arrived: SimpleQueue[tuple[Actor, bool]] = SimpleQueue()
        self._ready: list[Actor] = []
        self._waiting: list[Actor] = []
        self._under_way: set[Actor] = set()
        self._living = 0
        self.gates = 0
        self.kills = 0
        self.locked = 0

    def run(self, actors: Sequence[Actor]) -> None:
        """Until all are done; raises what one of them raised, and TimeoutError where all wait for each other."""
        self._living = len(actors)
        with ThreadPoolExecutor(len(actors)) as threads:
            lives = [threads.submit(self._live, actor) for actor in actors]
            try:
                while len(self._ready) < len(actors):
                    self._welcome(STUCK_S)
                while self._living:
                    self._let_one_through()
            finally:  # an error must not leave threads at their gates
                for actor in actors:
                    actor.doomed = True
                    actor.turn.release()
        for life in lives:
            life.result()

    def gate(self) -> None:
        """Wait for this actor's turn."""
        actor: Actor = _current.actor
        if actor.doomed:  # what runs now is the rollback
            return
        self._arrived.put((actor, False))
        actor.turn.acquire()
        if actor.doomed:
            raise Killed

    def _live(self, actor: Actor) -> None:
        _current.actor, _current.schedule = actor, self
        try:
            self.gate()
            actor.run()
        except Killed:
            pass
        finally:
            _current.actor = _current.schedule = None
            self._arrived.put((actor, True))

    def _let_one_through(self) -> None:
        if not self._ready:
            self._welcome(STUCK_S)
            return
        self._ready.sort(key=lambda actor: actor.name)
        actor = self._ready.pop(self._random.randrange(len(self._ready)))
        self.gates += 1
        if actor.mortal and self._random.random() < self._death:
            actor.doomed = True
            self.kills += 1
        self._under_way.add(actor)
        actor.turn.release()
        if not self._comes_on(actor):
            self.locked += 1
            self._waiting.append(actor)
        for other in list(self._waiting):
            if other is not actor and self._comes_on(other, ask=True):
                self._waiting.remove(other)

    def _comes_on(self, actor: Actor, *, ask: bool = False) -> bool:
        """Wait until an actor has come to its next gate or its end; False where it waits for a lock."""
        for _ in range(MOST_LOOKS):
            if actor not in self._under_way:
                return True
            if ask and actor.waits():
                return False
            ask = not self._hears()
        raise TimeoutError(f"{actor.name} neither comes on nor waits for a lock")

    def _hears(self) -> bool:
        try:
            self._welcome(LOOK_S)
        except TimeoutError:
            return False
        return True

    def _welcome(self, timeout_s: float) -> Actor:
        """Wait for the next actor to reach a gate or its end."""
        try:
            actor, done = self._arrived.get(timeout=timeout_s)
        except Empty:
            raise TimeoutError("no actor comes on: all wait for each other") from None
        self._under_way.discard(actor)
        if done:
            self._living -= 1
        else:
            self._ready.append(actor)
        return actor


class Watch:
    """Asks the server, over a connection of its own, which of an engine's connections wait for a lock."""

    def __init__(self, dsn: str) -> None:
        self._connection = psycopg.connect(dsn, autocommit=True)

    def of(self, engine: Engine) -> Callable[[], bool]:
        """Whether the one connection that an actor has waits for a lock."""
        pids: list[int] = []
        event.listen(engine, "connect", lambda connection, _: pids.append(connection.info.backend_pid))

        def waits() -> bool:
            query = "SELECT count(*) FROM unnest(%s::int[]) AS pid WHERE cardinality(pg_blocking_pids(pid)) > 0"
            row = self._connection.execute(query, (pids,)).fetchone()
            return bool(row and row[0])

        return waits

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()


def gate() -> None:
    """A point of its own between two statements; outside a schedule it is none."""
    schedule: Schedule | None = getattr(_current, "schedule", None)
    if schedule is not None:
        schedule.gate()


def put_gates(engine: Engine) -> None:
    """Make every statement and every commit of this engine's connections a gate."""
    event.listen(engine, "before_cursor_execute", lambda *_: gate())
    event.listen(engine, "commit", lambda *_: gate())
