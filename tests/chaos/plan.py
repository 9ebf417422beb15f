"""What happens in one run, all of it decided by its seed: who sends what, which faults, when, on whom, how long.

Only the order and the times are the seed's; how far the processes have come at that moment is the machine's, so a seed
repeats the same assault and not the same interleaving.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from types import MappingProxyType
from typing import Final

from gistline.simulator.messages_api import Reply
from tests.support.twin_detector import Order

LOAD_S: Final = 4.5
"""Seconds over which frames are sent and faults begin."""
DETECT = ("detect-1", "detect-2")
PROCESSES = ("api", *DETECT, "report", "beat")
CUTS = tuple(f"{name}:postgres" for name in PROCESSES if name != "beat") + tuple(f"{name}:redis" for name in PROCESSES)
"""Connections with a proxy between them."""


class Kind(StrEnum):
    """What can be done to the system."""

    KILL_API = "kill-api"
    KILL_DETECT = "kill-detect"
    KILL_REPORT = "kill-report"
    KILL_REPORT_IN_CALL = "kill-report-in-call"
    KILL_BEAT = "kill-beat"
    KILL_REDIS = "kill-redis"
    KILL_POSTGRES = "kill-postgres"
    KILL_BACKEND = "kill-postgres-backend"
    TERM_DETECT = "term-detect"
    PAUSE_PROCESS = "pause-process"
    PAUSE_REDIS = "freeze-redis"
    PAUSE_POSTGRES = "pause-postgres"
    FLUSH = "flushall"
    WIPE_REDIS = "redis-restarts-empty"
    IMMEDIATE = "postgres-immediate-restart"
    FAST = "postgres-fast-restart"
    NET_STALL = "net-stall"
    NET_CUT = "net-half-open"
    NET_RESET = "net-reset"
    NET_DELAY = "net-delay"
    NET_MUTE = "net-replies-dropped"
    BELLS = "bells-doubled-reordered-wrong"
    CLOCK_PROCESS = "clock-step-process"
    CLOCK_POSTGRES = "clock-step-postgres"
    DISK_FRAMES = "disk-full-frames"
    DISK_POSTGRES = "disk-full-postgres"
    MEMORY = "memory-denied"
    OOM = "out-of-memory-kill"
    POISON = "poison-frames"


IN_THE_LOAD: Final = (Kind.OOM, Kind.POISON)
"""Faults that come as frames."""
AT_ONCE: Final = frozenset(
    {
        Kind.KILL_API,
        Kind.KILL_DETECT,
        Kind.KILL_REPORT,
        Kind.KILL_BEAT,
        Kind.KILL_BACKEND,
        Kind.TERM_DETECT,
        Kind.FLUSH,
    }
)
"""Faults that are over as soon as they are there."""
STEPS_S: Final = (-3600.0, -30.0, -2.0, 2.0, 30.0, 3600.0)
"""How far the clock of a process is set forward or back."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One blow: seconds after the start, what, on whom, for how long, and a number whose meaning is the kind's."""

    at_s: float
    kind: Kind
    target: str = ""
    for_s: float = 0.0
    size: float = 0.0

    def __str__(self) -> str:
        shown = f"{self.at_s:.2f}s {self.kind}"
        shown += f" {self.target}" if self.target else ""
        shown += f" for {self.for_s:.2f}s" if self.for_s else ""
        return shown + (f" size {self.size:.2f}" if self.size else "")


@dataclass(frozen=True, slots=True)
class Request:
    """One submission of a camera; ``again_s`` is when it is sent a second time, None for never."""

    camera: str
    at_s: float
    frames: tuple[tuple[Order, int], ...]
    again_s: float | None


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole run."""

    seed: int
    requests: tuple[Request, ...]
    faults: tuple[Fault, ...]
    replies: tuple[Reply, ...]
    closes_s: tuple[float, ...]
    """When somebody closes the report windows by hand."""
    frame_ms: float
    max_attempts: int
    deadline_s: int
    persistent_redis: bool

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Kinds of faults in the order of their times; those in the load first."""
        orders = {order for request in self.requests for order, _ in request.frames}
        loaded = [Kind.POISON] if orders & {Order.KILL, Order.RAISE} else []
        loaded += [Kind.OOM] if Order.HOG in orders else []
        return (*loaded, *(fault.kind for fault in self.faults))


CAMERAS: Final[Mapping[str, str]] = MappingProxyType({"cam-1": "line-a", "cam-2": "line-a", "cam-3": "line-b"})
"""Each camera's line."""


def make_plan(seed: int, *, kinds: tuple[Kind, ...] = (), frames: int = 200) -> Plan:
    """The run of a seed; ``kinds`` names its faults instead of letting the seed choose."""
    random = Random(seed)  # noqa: S311 - a schedule, not a secret
    # Every kind is the first choice of every so manieth seed, so that a series of seeds covers all of them.
    everything = tuple(Kind)
    chosen = kinds or (everything[seed % len(everything)], *random.choices(everything, k=random.randint(1, 4)))
    faults = [_fault(kind, random) for kind in chosen if kind not in IN_THE_LOAD]
    return Plan(
        seed=seed,
        requests=tuple(_requests(random, frames, chosen)),
        faults=tuple(sorted(faults, key=lambda fault: fault.at_s)),
        replies=tuple(_reply(random) for _ in range(20)),
        closes_s=tuple(sorted(random.uniform(1.0, LOAD_S) for _ in range(2))),
        frame_ms=random.choice((1.0, 4.0, 8.0, 15.0)),
        max_attempts=random.choice((2, 3, 5)),
        deadline_s=random.choice((0, 0, 0, 0, 5)),
        persistent_redis=random.random() < 0.7,
    )


def _fault(kind: Kind, random: Random) -> Fault:
    at_s = random.uniform(0.4, LOAD_S)
    for_s = random.uniform(0.2, 2.5)
    if kind in AT_ONCE:
        return Fault(at_s, kind, random.choice(DETECT) if kind in (Kind.KILL_DETECT, Kind.TERM_DETECT) else "")
    shapes: dict[Kind, tuple[str, float, float]] = {
        # Longer than a lease for a worker, so that somebody else takes its frames up meanwhile.
        Kind.PAUSE_PROCESS: (random.choice(PROCESSES), random.uniform(0.5, 4.0), 0.0),
        Kind.CLOCK_PROCESS: (random.choice(PROCESSES), for_s, random.choice(STEPS_S)),
        Kind.CLOCK_POSTGRES: ("postgres", for_s, random.choice((-8.0, -2.0, 2.0, 8.0))),
        Kind.KILL_REPORT_IN_CALL: ("", 0.0, random.uniform(0.0, 0.5)),
        Kind.NET_DELAY: (random.choice(CUTS), for_s, random.uniform(0.01, 0.15)),
        Kind.BELLS: ("", 0.0, float(random.randint(10, 40))),
        Kind.MEMORY: (random.choice(DETECT), for_s, 0.0),
    }
    wire = (random.choice(CUTS), for_s, 0.0) if kind.startswith("net") else ("", for_s, 0.0)
    return Fault(at_s, kind, *shapes.get(kind, wire))


def _requests(random: Random, frames: int, chosen: tuple[Kind, ...]) -> list[Request]:
    made: list[Request] = []
    left, number = frames, 0
    while left > 0:
        size = min(left, random.choice((1, 1, 2, 4, 8, 8, 16)))
        orders = random.choices((Order.CLEAN, Order.DEFECT), (2, 3), k=size)
        numbered = tuple((order, number + place) for place, order in enumerate(orders))
        at_s = random.uniform(0.0, LOAD_S)
        again_s = at_s + random.uniform(0.0, 2.0) if random.random() < 0.15 else None
        made.append(Request(random.choice(tuple(CAMERAS)), at_s, numbered, again_s))
        left, number = left - size, number + size
    return sorted(_with_bad_ones(made, random, chosen), key=lambda request: request.at_s)


def _with_bad_ones(requests: list[Request], random: Random, chosen: tuple[Kind, ...]) -> list[Request]:
    """Put frames that raise, kill or eat memory in the midst of good ones."""
    bad: list[Order] = []
    if Kind.POISON in chosen:
        bad += [Order.KILL] * random.randint(1, 2) + [Order.RAISE] * random.randint(0, 2)
    if Kind.OOM in chosen:
        bad += [Order.HOG]
    for order in bad:
        place = random.randrange(len(requests))
        hit = requests[place]
        within = random.randrange(len(hit.frames))
        frames = (*hit.frames[:within], (order, hit.frames[within][1]), *hit.frames[within + 1 :])
        requests[place] = Request(hit.camera, hit.at_s, frames, hit.again_s)
    return requests


def _reply(random: Random) -> Reply:
    hang_s = random.uniform(0.02, 0.4)
    status = random.choices((200, 500, 529), (8, 1, 1))[0]
    return Reply(status=status, hang_s=hang_s, drop=random.random() < 0.08)
