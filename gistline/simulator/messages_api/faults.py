"""When the twin misbehaves: by script, by chance, or with every fault in turn.

A file of faults is TOML::

    seed = 7
    every = 0.5              # this share of requests meets a fault: each kind in turn, in an order that the seed draws

    [chance.messages]        # or: each request at this place meets the fault with this probability
    rate_limit = 0.05

    [[script]]               # played first, in this order, one request each
    on = "messages"          # messages, count_tokens, batches, batch_items, batch_reads
    fault = "rate_limit"
    retry_after_s = 2        # fields of the reply can be changed
    times = 3
"""

from __future__ import annotations

import random
import threading
import tomllib
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gistline.errors import RequestRejected
from gistline.simulator.messages_api.replies import FAULTS, Place, Reply, fault, faults_at

EVERY = 0.5
"""Share of requests that meet a fault when every fault is switched on without saying how often."""


class _Step(BaseModel):
    """One line of a script; further keys change the reply."""

    model_config = ConfigDict(extra="allow")

    fault: str
    on: Place = Place.MESSAGES
    times: int = Field(default=1, ge=1)


class FaultFile(BaseModel):
    """A file of faults."""

    model_config = ConfigDict(extra="forbid")

    seed: int | None = None
    every: float = Field(default=0.0, ge=0, le=1)
    chance: dict[Place, dict[str, float]] = Field(default_factory=dict)
    script: list[_Step] = Field(default_factory=list)


class FaultPlan:
    """Says how each request is answered; safe to ask from several threads.

    Scripts are played first. Then a request meets a fault of ``chance`` with its probability, or, with the probability
    ``every``, the next of all faults that its place knows. The draws of a place depend on ``seed`` and their number
    there alone.
    """

    def __init__(
        self,
        replies: Iterable[Reply] = (),
        *,
        seed: int = 0,
        every: float = 0.0,
        chance: Mapping[Place, Mapping[str, float]] | None = None,
    ) -> None:
        self._scripts: dict[Place, deque[Reply]] = {place: deque() for place in Place}
        self._scripts[Place.MESSAGES].extend(replies)
        self._every, self._chance = every, chance or {}
        self._random = {place: random.Random(f"{seed}:{place}") for place in Place}  # noqa: S311 - repeatable, no secret
        self._deck: dict[Place, list[str]] = {place: [] for place in Place}
        self._lock = threading.Lock()
        for place, given in self._chance.items():
            _check(place, given)

    def script(self, *replies: Reply, on: Place = Place.MESSAGES) -> None:
        """Add replies to the end of a place's script."""
        with self._lock:
            self._scripts[on].extend(replies)

    def next(self, place: Place) -> Reply:
        """The reply for the next request at a place; ``Reply()`` where nothing goes wrong."""
        with self._lock:
            if self._scripts[place]:
                return self._scripts[place].popleft()
            drawn = self._draw(place)
        return Reply() if drawn is None else fault(drawn)

    def _draw(self, place: Place) -> str | None:
        left = self._random[place].random()
        for name, probability in self._chance.get(place, {}).items():
            if left < probability:
                return name
            left -= probability
        return self._deal(place) if self._random[place].random() < self._every else None

    def _deal(self, place: Place) -> str:
        """Every fault of the place once, then all of them again in another order."""
        if not self._deck[place]:
            self._deck[place] = faults_at(place)
            self._random[place].shuffle(self._deck[place])
        return self._deck[place].pop()


def read_faults(source: str | Path, *, seed: int | None = None) -> FaultPlan:
    """The plan of a file, or of the word ``every``; ``seed`` outranks that of the file.

    Raises:
        RequestRejected: the file is missing, no TOML, or names what there is not.

    """
    if str(source) == "every":
        return FaultPlan(seed=seed or 0, every=EVERY)
    try:
        found = FaultFile.model_validate(tomllib.loads(Path(source).read_text("utf-8")))
    except OSError as error:
        raise RequestRejected(
            f"The file of faults {source} cannot be read: {error.strerror}.", cure="Name a file, or the word every."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValidationError) as error:
        raise RequestRejected(
            f"The file of faults {source} is not understood: {_first(error)}.", cure="docs/twin.md shows one."
        ) from error
    plan = FaultPlan(seed=(found.seed or 0) if seed is None else seed, every=found.every, chance=found.chance)
    for step in found.script:
        plan.script(*[read_step(step)] * step.times, on=step.on)
    return plan


def read_steps(steps: Any) -> list[tuple[Place, Reply]]:
    """Steps of a script as they come over HTTP; raises RequestRejected like :func:`read_faults`."""
    try:
        found = [_Step.model_validate(step) for step in steps]
    except (TypeError, ValidationError) as error:
        raise RequestRejected(
            f"The script is not understood: {_first(error)}.", cure="docs/twin.md shows one."
        ) from error
    return [(step.on, read_step(step)) for step in found for _ in range(step.times)]


def read_step(step: _Step) -> Reply:
    """The reply of one step."""
    if step.fault == "none":
        return Reply(**(step.model_extra or {}))
    _check(step.on, {step.fault: 0.0})
    return fault(step.fault, **(step.model_extra or {}))


def _check(place: Place, chances: Mapping[str, float]) -> None:
    for name, probability in chances.items():
        if name in FAULTS and place not in FAULTS[name].places:
            raise RequestRejected(
                f"The fault {name!r} cannot happen at {place.value!r}.", cure=f"There: {', '.join(faults_at(place))}."
            )
        fault(name)
        if not 0 <= probability <= 1:
            raise RequestRejected(f"The chance of {name!r} is {probability}.", cure="Give a probability from 0 to 1.")


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        found = error.errors()[0]
        return f"{'.'.join(map(str, found['loc']))}: {found['msg']}"
    return str(error).rstrip(".")
