"""A small plant whose engine is reviewed: real rows, real bytes, the bundled INT8 detector on rendered boards."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import SecretStr

from gistline.detection.detector import open_model
from gistline.detection.model_file import ModelFile
from gistline.dispatch import NullDispatcher
from gistline.domain import Detection, EngineInfo, Passport
from gistline.domain_accuracy import Reviewed, ReviewKind
from gistline.flows.add_camera import add_camera
from gistline.flows.inspect_frames import inspect_frames
from gistline.flows.measure_passport import MeasuringTools, TriedDetector
from gistline.flows.review_accuracy import review_accuracy
from gistline.flows.serve_model import serve_model, wanted_model
from gistline.flows.station import Station, open_station
from gistline.flows.submit_frames import Submitted, submit_frames
from gistline.frames.local import LocalFrames
from gistline.settings import DatabaseSettings, DetectionSettings, PassportSettings, Settings
from gistline.settings_accuracy import AccuracySettings
from gistline.settings_frames import FrameSettings, Keep
from gistline.simulator.boards import encode_jpeg, render_board
from gistline.storage.cameras import CameraIdentity
from gistline.storage.passports import save_passport
from gistline.storage.session import Sessions, close_database, open_database, transaction

BOARDS = 8
SMALL: dict[str, Any] = {
    "frames": 16,
    "least_frames": 24,
    "least_images": 20,
    "least_judged": 10,
    "camera_images": 24,
    "max_s": 60.0,
    "nice": 0,
}
"""Samples that a test can afford; limits of drift grow by themselves when they are small."""
SIZE = (320, 320)

_MEASURED: list[Passport] = []
"""The engine's passport, measured by the first plant of this process and good for the others."""

Spoil = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]


def plant_settings(database_url: str, folder: Path, **accuracy: Any) -> Settings:
    """Settings that measure quickly and keep every frame's bytes."""
    return Settings(
        data_dir=folder,
        database=DatabaseSettings(url=SecretStr(database_url)),
        detection=DetectionSettings(runtime="openvino"),
        frames=FrameSettings(store_url=(folder / "frames").as_uri(), keep=Keep.ALL, fsync=False),
        passport=PassportSettings(
            boards=BOARDS, least_boxes=10, resamples=200, max_loss=20, max_loss50=20, max_class_loss=60,
            max_class_loss50=60,
        ),
        accuracy=AccuracySettings(**(SMALL | accuracy)),
    )  # fmt: skip


_OPENED: dict[str, TriedDetector] = {}


@dataclass(frozen=True, slots=True)
class Lasting:
    """A real detector that outlives who closes it: compiling it anew for every review would take most of a test."""

    kept: TriedDetector

    @property
    def info(self) -> EngineInfo:
        return self.kept.info

    def detect(self, images: Iterable[NDArray[np.uint8]], min_confidence: float | None = None) -> list[list[Detection]]:
        return self.kept.detect(images, min_confidence)

    def detect_each(
        self, images: Iterable[NDArray[np.uint8]], min_confidence: float | None = None
    ) -> Generator[list[Detection], None, None]:
        return self.kept.detect_each(images, min_confidence)

    def warm_up(self) -> None: ...

    def close(self) -> None: ...


def open_lasting(model: ModelFile, settings: DetectionSettings) -> TriedDetector:
    """Compile a model once in this process."""
    if model.sha256 not in _OPENED:
        _OPENED[model.sha256] = open_model(model, settings)
    return Lasting(_OPENED[model.sha256])


@dataclass(slots=True)
class Plant:
    """One camera, one engine."""

    settings: Settings
    sessions: Sessions
    store: LocalFrames
    camera: CameraIdentity
    station: Station
    seed: int = 0

    @property
    def tools(self) -> MeasuringTools:
        return MeasuringTools(self.sessions, self.settings, open_lasting)

    def inspect(self, boards: int, spoil: Spoil = lambda image: image) -> None:
        """Submit so many new boards, spoilt on the way, and let the engine look at them."""
        images = [encode_jpeg(spoil(image)) for image in self.render(boards)]
        for start in range(0, len(images), 32):
            submit_frames(
                self.camera,
                [Submitted(data) for data in images[start : start + 32]],
                sessions=self.sessions,
                store=self.store,
                dispatcher=NullDispatcher(),
                settings=self.settings,
            )
        done = inspect_frames((), self.station)
        assert done.frames == boards

    def render(self, boards: int) -> Iterable[NDArray[np.uint8]]:
        for _ in range(boards):
            self.seed += 1
            yield render_board(np.random.default_rng(self.seed), size=SIZE).image

    def review(self) -> list[Reviewed]:
        return list(review_accuracy(self.tools, self.store, asked=True).found)


def of_kind(found: Sequence[Reviewed], kind: ReviewKind) -> Reviewed:
    """The only review of a kind."""
    (one,) = [review for review in found if review.kind is kind]
    return one


@contextmanager
def plant(settings: Settings) -> Iterator[Plant]:
    """A plant whose engine has its passport and has seen nothing yet."""
    sessions = open_database(settings.database)
    camera, _ = add_camera(sessions, "cam-1", "line-1")
    wanted = wanted_model(sessions, settings)
    with transaction(sessions) as session:
        for passport in _MEASURED:
            save_passport(session, passport)
    serving = serve_model(wanted, MeasuringTools(sessions, settings, open_lasting))
    _MEASURED[:] = [serving.passport]
    store = LocalFrames(settings.data_dir / "frames", fsync=False)
    station = open_station(sessions, store, serving, settings)
    try:
        yield Plant(settings, sessions, store, camera, station)
    finally:
        station.close()
        serving.detector.close()
        close_database(sessions)
