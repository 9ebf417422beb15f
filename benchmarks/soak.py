"""An hour under steady load: ``python -m benchmarks.soak [--minutes 60] [--load 0.8] [--to FOLDER]``.

The whole system runs: PostgreSQL (fsync on), Redis, API, two detect workers, a report worker and beat. The engines
sleep, so that the load is a share of what *they* can do and the machine may be small. Cameras post over HTTP at random
moments that do not wait for answers. Frames with findings are kept for a few minutes instead of days and pruned by the
product's own flow, so that what is kept must level off. Every sample is appended to ``soak.jsonl`` as it is taken: an
interrupted soak is drawn by ``--draw FILE``.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.rig import Crew, Pictures, Rig, crew, rig
from benchmarks.soak_report import summarise
from benchmarks.soak_samples import Sampler
from gistline.errors import GistlineError
from gistline.flows.prune_frames import prune_frames
from gistline.frames.store import open_store
from gistline.simulator.engine import Speed

BOUNDARY = "gistline-soak"
WORKERS = 2
CAMERAS = 16
SPEED = Speed(batch_s=0.010, frame_s=0.050)
KEEP_MINUTES = 8.0
SAMPLE_S = 5.0
THOROUGH_EVERY = 6
PRUNE_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Minutes, share of the engines' capacity, minutes that frames with findings are kept, where samples go."""

    minutes: float
    load: float
    keep_minutes: float
    folder: Path

    @property
    def rate(self) -> float:
        """Frames a second. Capacity is that of full batches of 16, the most that the engines can do."""
        return self.load * WORKERS * 16 / SPEED.of(16)


@dataclass
class Posts:
    """What the cameras saw."""

    accepted: int = 0
    refused: int = 0
    broken: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, status: int, frames: int) -> None:
        with self.lock:
            if status == http.HTTPStatus.ACCEPTED:
                self.accepted += frames
            elif status:
                self.refused += frames
            else:
                self.broken += frames


@dataclass
class CameraThread(threading.Thread):
    """Posts one or two frames at random moments (Poisson), late ones at once: an open loop."""

    port: int
    key: str
    rate: float
    pictures: Pictures
    posts: Posts
    stop: threading.Event

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        """Until ``stop``."""
        moments = random.Random(self.key)  # noqa: S311 - arrivals, no secrets
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        due = time.monotonic()
        while True:
            frames = moments.choice((1, 2))
            due += moments.expovariate(self.rate / 1.5)
            if self.stop.wait(max(0.0, due - time.monotonic())):
                return
            self.posts.count(self._post(connection, frames), frames)

    def _post(self, connection: http.client.HTTPConnection, frames: int) -> int:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="images"; filename="x"\r\n\r\n'.encode()
        parts = [part for _ in range(frames) for part in (head, self.pictures.next(), b"\r\n")]
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        try:
            connection.request("POST", "/v1/frames", b"".join(parts) + f"--{BOUNDARY}--\r\n".encode(), headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            return 0
        return answer.status


@contextmanager
def cameras_posting(rig: Rig, rate: float) -> Iterator[Posts]:
    """All cameras post while the body runs."""
    posts, stop, pictures = Posts(), threading.Event(), Pictures()
    share = rate / len(rig.cameras)
    threads = [CameraThread(rig.settings.api.port, key, share, pictures, posts, stop) for _, key in rig.cameras]
    for thread in threads:
        thread.start()
    try:
        yield posts
    finally:
        stop.set()
        for thread in threads:
            thread.join(35)


class Pruner(threading.Thread):
    """Runs the product's pruning every minute with a time to keep that fits into a soak."""

    def __init__(self, rig: Rig, keep_minutes: float) -> None:
        super().__init__(daemon=True)
        self._rig = rig
        # A setting counts whole days; the flow takes any number of them.
        self._frames = rig.settings.frames.model_copy(update={"keep_days": keep_minutes / 1_440})
        self.pruned = 0
        self.stop = threading.Event()

    def run(self) -> None:
        """Until ``stop``."""
        store = open_store(self._rig.settings)
        while not self.stop.wait(PRUNE_EVERY_S):
            try:
                self.pruned += prune_frames(self._rig.sessions, store, self._frames)
            except GistlineError as error:
                print(f"pruning: {error}", flush=True)


def soak(plan: Plan) -> Path:
    """Run it; returns the file of samples."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    out = plan.folder / "soak.jsonl"
    out.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="gistline-soak-", ignore_cleanup_errors=True) as folder:
        data = Path(folder) / "data"
        with rig(data, cameras=CAMERAS, reports={"window_minutes": 2, "writer": "offline"}) as made:
            kinds = ("detect", "api", "report", "beat")
            with crew(made, SPEED, detect=WORKERS, findings=0.6, kinds=kinds) as running:
                pruner = Pruner(made, plan.keep_minutes)
                pruner.start()
                with cameras_posting(made, plan.rate) as posts:
                    _sample(plan, out, Sampler(made, running), (running, posts, pruner))
                pruner.stop.set()
    return out


def _sample(plan: Plan, out: Path, sampler: Sampler, seen: tuple[Crew, Posts, Pruner]) -> None:
    running, posts, pruner = seen
    begun = time.monotonic()
    number = 0
    with out.open("a") as file:
        note = {"load": plan.load, "rate": plan.rate, "workers": WORKERS, "keep_minutes": plan.keep_minutes}
        file.write(
            json.dumps({"plan": note | {"batch_ms": SPEED.batch_s * 1e3, "frame_ms": SPEED.frame_s * 1e3}}) + "\n"
        )
        while time.monotonic() - begun < plan.minutes * 60:
            time.sleep(max(0.0, begun + number * SAMPLE_S - time.monotonic()))
            sample = sampler.take(thorough=number % THOROUGH_EVERY == 0)
            sample |= {"posts.accepted": posts.accepted, "posts.refused": posts.refused, "posts.broken": posts.broken}
            sample |= {"pruned": pruner.pruned, "restarts": sum(running.supervisor.restarts().values())}
            if number % THOROUGH_EVERY == 0:
                sample["ended_badly"] = sampler.ended_badly()
            file.write(json.dumps({name: round(value, 4) for name, value in sample.items()}) + "\n")
            file.flush()
            number += 1


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--load", type=float, default=0.8, help="share of the engines' capacity")
    parser.add_argument("--keep-minutes", type=float, default=KEEP_MINUTES, help="how long found frames are kept")
    parser.add_argument("--to", type=Path, default=Path("soak-output"), help="folder of the samples")
    parser.add_argument("--draw", type=Path, help="samples of an earlier soak: only sum up and draw")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="where img/soak.svg and data/soak.json go")
    given = parser.parse_args(arguments)
    samples = given.draw or soak(Plan(given.minutes, given.load, given.keep_minutes, given.to))
    summarise(samples, given.docs)


if __name__ == "__main__":
    main()
