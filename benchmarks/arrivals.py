"""Frames into a rig: all at once before the clock starts, or at random moments that wait for nobody."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text

from benchmarks.rig import Crew, Pictures, Rig
from gistline.dispatch import CelerySender
from gistline.flows.submit_frames import Submitted, submit_frames
from gistline.frames.store import open_store
from gistline.storage.session import transaction

BATCH = 16
GIVE_UP_S = 180.0

_ENDED = text("SELECT count(*) FROM frames WHERE state = 'inspected' AND id = ANY(:ids)")
_ROWS = text("""
    SELECT camera_id, extract(epoch FROM accepted_at)::float8, extract(epoch FROM finished_at)::float8, token::text
    FROM frames WHERE id = ANY(:ids) AND state = 'inspected' ORDER BY finished_at
""")
_NOW = text("SELECT clock_timestamp()")


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of frames, in the order in which they ended; times in seconds of the database's clock."""

    cameras: NDArray[np.int64]
    accepted: NDArray[np.float64]
    finished: NDArray[np.float64]
    batches: NDArray[np.str_]
    """Name of the batch that each was in."""

    @property
    def response_s(self) -> NDArray[np.float64]:
        """From acceptance to the committed result."""
        return self.finished - self.accepted

    def batch_sizes(self) -> NDArray[np.int64]:
        """Frames of each batch."""
        return np.unique(self.batches, return_counts=True)[1]


class Feeder:
    """Submits as the API does, from this process."""

    def __init__(self, rig: Rig, pictures: Pictures) -> None:
        self._rig = rig
        self._pictures = pictures
        self._store = open_store(rig.settings)
        self._sender = CelerySender(rig.settings.redis, rig.settings.fleet)

    def close(self) -> None:
        """Send what waits."""
        self._sender.close()

    def submit(self, camera: int, frames: int) -> list[UUID]:
        """Accept that many frames of a camera in one call."""
        accepted = submit_frames(
            self._rig.cameras[camera][0],
            [Submitted(self._pictures.next()) for _ in range(frames)],
            sessions=self._rig.sessions,
            store=self._store,
            dispatcher=self._sender,
            settings=self._rig.settings,
        )
        return [one.id for one in accepted]


def drain(rig: Rig, crew: Crew, pictures: Pictures, queue: Sequence[tuple[int, int]]) -> tuple[float, Ended]:
    """Queue (camera, frames) in this order while the workers stand still, let them go, wait for the last one.

    Returns:
        The moment at which they were let go (database's clock), and the frames.

    """
    ids: list[UUID] = []
    with closing(Feeder(rig, pictures)) as feeder, crew.stopped():
        for camera, frames in queue:
            ids += feeder.submit(camera, frames)
        begun = _now(rig).timestamp()
    return begun, wait_for(rig, ids)


def arrive(rig: Rig, pictures: Pictures, *, rate: float, seconds: float, seed: int = 1) -> Ended:
    """Poisson arrivals of single frames at ``rate`` a second, of a random camera each; returns when all have ended.

    Late ones are sent at once and do not move those after them.
    """
    random = np.random.default_rng(seed)
    moments = np.cumsum(random.exponential(1 / rate, int(rate * seconds * 1.5) + 10))
    moments = moments[moments < seconds]
    cameras = random.integers(0, len(rig.cameras), len(moments))
    begun = time.monotonic()
    with closing(Feeder(rig, pictures)) as feeder, ThreadPoolExecutor(4) as pool:
        waiting = []
        for moment, camera in zip(moments, cameras, strict=True):
            time.sleep(max(0.0, begun + moment - time.monotonic()))
            waiting.append(pool.submit(feeder.submit, int(camera), 1))
        ids = [one for call in waiting for one in call.result()]
    return wait_for(rig, ids)


def wait_for(rig: Rig, ids: Sequence[UUID]) -> Ended:
    """Wait until all of these frames were inspected.

    Raises:
        SystemExit: some were not, after three minutes.

    """
    deadline = time.monotonic() + GIVE_UP_S
    bound = {"ids": list(ids)}
    while True:
        with transaction(rig.sessions) as session:
            ended = int(session.execute(_ENDED, bound).scalar_one())
            if ended == len(ids):
                rows = session.execute(_ROWS, bound).all()
                break
        if time.monotonic() > deadline:
            raise SystemExit(f"{ended} of {len(ids)} frames were inspected; see {rig.settings.data_dir / 'logs'}")
        time.sleep(0.25)
    columns = list(zip(*rows, strict=True))
    return Ended(np.array(columns[0]), np.array(columns[1]), np.array(columns[2]), np.array(columns[3]))


def _now(rig: Rig) -> datetime:
    with transaction(rig.sessions) as session:
        now: datetime = session.execute(_NOW).scalar_one()
    return now
