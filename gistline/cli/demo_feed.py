"""What the demo's cameras see, and how they hand it in: as real ones do, over HTTP with their keys."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import httpx2

from gistline.errors import RequestRejected
from gistline.simulator.cameras import SECONDS_BETWEEN_FRAMES, camera_frames

CAMERAS = ("camera-1", "camera-2", "camera-3")
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
FRAMES_A_REQUEST = 8
TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture that a camera is about to submit."""

    frame_key: str
    image: bytes
    captured_at: datetime


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the API said to one camera's frames; ``refusals`` holds one reason for each refused request."""

    submitted: int
    accepted: int
    refusals: tuple[str, ...]


def simulated(count: int, *, seed: int) -> dict[str, Iterable[Shot]]:
    """``count`` rendered boards, shared among the cameras; they are rendered while they are submitted."""
    now = datetime.now(UTC)
    return {camera: _rendered(camera, _share(count, place), seed=seed, now=now) for place, camera in enumerate(CAMERAS)}


def from_folder(folder: Path, limit: int) -> dict[str, Iterable[Shot]]:
    """At most ``limit`` images of a folder in the order of their names, dealt to the cameras in turn.

    Raises:
        RequestRejected: the folder holds no image.

    """
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)[:limit]
    if not files:
        raise RequestRejected(
            f"{folder} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}).", cure="Name a folder of images."
        )
    now = datetime.now(UTC)
    return {camera: _read(files[place :: len(CAMERAS)], now) for place, camera in enumerate(CAMERAS)}


def submit(
    url: str, keys: Mapping[str, str], shots: Mapping[str, Iterable[Shot]], *, on_sent: Callable[[int], None]
) -> Outcome:
    """Every camera in a thread of its own; ``on_sent`` gets the number of frames after each request.

    Raises:
        httpx2.HTTPError: the API went away.

    """

    def play(camera: str) -> Outcome:
        with httpx2.Client(base_url=url, timeout=TIMEOUT_S, headers={"Authorization": f"Bearer {keys[camera]}"}) as api:
            return _play(api, iter(shots[camera]), on_sent=on_sent)

    with ThreadPoolExecutor(len(shots), thread_name_prefix="camera") as pool:
        outcomes = list(pool.map(play, shots))
    return Outcome(
        submitted=sum(one.submitted for one in outcomes),
        accepted=sum(one.accepted for one in outcomes),
        refusals=tuple(reason for one in outcomes for reason in one.refusals),
    )


def _play(api: httpx2.Client, shots: Iterator[Shot], *, on_sent: Callable[[int], None]) -> Outcome:
    submitted = accepted = 0
    refusals: list[str] = []
    while batch := list(islice(shots, FRAMES_A_REQUEST)):
        meta = [{"frame_key": shot.frame_key, "captured_at": shot.captured_at.isoformat()} for shot in batch]
        answer = api.post(
            "/v1/frames",
            data={"meta": json.dumps(meta)},
            files=[("images", (shot.frame_key, shot.image, "application/octet-stream")) for shot in batch],
        )
        submitted += len(batch)
        if answer.status_code == httpx2.codes.ACCEPTED:
            accepted += len(answer.json()["frames"])
        else:
            refusals.append(f"{answer.status_code}: {answer.text}")
        on_sent(len(batch))
    return Outcome(submitted, accepted, tuple(refusals))


def _share(count: int, place: int) -> int:
    return len(range(place, count, len(CAMERAS)))


def _rendered(camera: str, count: int, *, seed: int, now: datetime) -> Iterator[Shot]:
    for frame in camera_frames(camera=camera, seed=seed, count=count):
        yield Shot(
            frame.frame_key, frame.jpeg, now + timedelta(seconds=frame.captured_at - count * SECONDS_BETWEEN_FRAMES)
        )


def _read(files: list[Path], now: datetime) -> Iterator[Shot]:
    for place, path in enumerate(files):
        yield Shot(path.name, path.read_bytes(), now + timedelta(seconds=place - len(files)))
