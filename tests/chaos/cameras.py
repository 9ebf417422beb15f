"""Cameras that do not give up: every request is repeated until its answer is definite, and the answers are kept."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import Any, Final
from uuid import UUID

import httpx2

from tests.chaos.plan import CAMERAS, Request
from tests.support.api import NO_TLS
from tests.support.fleet import picture
from tests.support.twin_detector import Order

READ_WITHIN_S: Final = 4.0
CAMERA_THREADS: Final = 8
PAUSES_S: Final = (0.05, 0.1, 0.2, 0.4)
PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504, 507})
"""Answers after which a camera tries again; 202 and every other one are definite."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A frame as its camera knows it."""

    key: str
    camera: str
    order: Order
    number: int


@dataclass(slots=True)
class Journal:
    """What was acknowledged, by key, and everything that no camera should ever see."""

    acknowledged: dict[str, UUID] = field(default_factory=dict)
    sent: dict[str, Sent] = field(default_factory=dict)
    oddities: list[str] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    """Statuses, and names of transport errors."""
    new: set[str] = field(default_factory=set)
    """Keys whose frame was answered as new; the answer may come after one that calls it known."""
    lock: Lock = field(default_factory=Lock)

    def note(self, frames: Sequence[Sent], answer: Mapping[str, Any]) -> None:
        """Take down an answer 202."""
        with self.lock:
            got = [(one["frame_key"], UUID(one["id"])) for one in answer["frames"]]
            if [key for key, _ in got] != [frame.key for frame in frames]:
                self.oddities.append(f"answered {got}, sent {[frame.key for frame in frames]}")
                return
            for (key, frame_id), again in zip(got, answer["frames"], strict=True):
                known = self.acknowledged.setdefault(key, frame_id)
                if known != frame_id:
                    self.oddities.append(f"{key} was frame {known} and is now {frame_id}")
                elif not again["duplicate"]:
                    if key in self.new:
                        self.oddities.append(f"{key} was accepted as new twice")
                    self.new.add(key)


class Cameras:
    """Three cameras on two lines; they send what a plan says."""

    def __init__(self, url: str, keys: Mapping[str, str], journal: Journal) -> None:
        self._journal = journal
        self._stop = Event()
        self._clients = {
            name: httpx2.Client(
                base_url=url,
                headers={"Authorization": f"Bearer {keys[name]}"},
                timeout=httpx2.Timeout(READ_WITHIN_S, connect=1.0),
                verify=NO_TLS,
                trust_env=False,
            )
            for name in CAMERAS
        }
        self._pool = ThreadPoolExecutor(CAMERA_THREADS, thread_name_prefix="camera")
        self._all: list[Future[None]] = []

    def play(self, requests: Sequence[Request], began: float) -> None:
        """Send each request at its time after ``began`` (monotonic seconds), from threads of their own."""
        timed = [(request.at_s, request) for request in requests]
        timed += [(request.again_s, request) for request in requests if request.again_s is not None]
        for at_s, request in sorted(timed, key=lambda pair: pair[0]):
            self._all.append(self._pool.submit(self._send, request, began + at_s))

    def send(self, request: Request) -> None:
        """Send one now, in this thread."""
        self._send(request, 0.0)

    def wait(self, within_s: float) -> bool:
        """Whether every request got its definite answer in time."""
        deadline = time.monotonic() + within_s
        for future in self._all:
            while not future.done() and time.monotonic() < deadline:
                time.sleep(0.02)
        return all(future.done() for future in self._all)

    def close(self) -> None:
        """Give up what has no answer yet."""
        self._stop.set()
        self._pool.shutdown(cancel_futures=True)
        for client in self._clients.values():
            client.close()
        for future in self._all:
            if future.done() and not future.cancelled():
                future.result()

    def _send(self, request: Request, at: float) -> None:
        self._stop.wait(max(0.0, at - time.monotonic()))
        frames = [Sent(key_of(request, number), request.camera, order, number) for order, number in request.frames]
        with self._journal.lock:
            self._journal.sent.update({frame.key: frame for frame in frames})
        tries = 0
        while not self._stop.is_set() and not self._try(request.camera, frames):
            self._stop.wait(PAUSES_S[min(tries, len(PAUSES_S) - 1)])
            tries += 1

    def _try(self, camera: str, frames: Sequence[Sent]) -> bool:
        """Whether the answer was definite."""
        try:
            answer = self._post(camera, frames)
        except httpx2.TransportError as error:
            with self._journal.lock:
                self._journal.answers[type(error).__name__] += 1
            return False
        with self._journal.lock:
            self._journal.answers[str(answer.status_code)] += 1
        if answer.status_code == 202:
            self._journal.note(frames, answer.json())
            return True
        if answer.status_code in PASSING:
            self._stop.wait(min(1.0, float(answer.headers.get("retry-after", "0"))))
            return False
        with self._journal.lock:
            self._journal.oddities.append(f"{answer.status_code} for {frames[0].key}: {answer.text[:300]}")
        return True

    def _post(self, camera: str, frames: Sequence[Sent]) -> httpx2.Response:
        images = [(frame.key, picture(frame.order, frame.number)) for frame in frames]
        meta = json.dumps([{"frame_key": key} for key, _ in images])
        files = [("images", (key, image, "application/octet-stream")) for key, image in images]
        return self._clients[camera].post("/v1/frames", data={"meta": meta}, files=files)


def key_of(request: Request, number: int) -> str:
    """The camera's name of a frame."""
    return f"{request.camera}-{number:05d}"
