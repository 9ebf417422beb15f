"""Frames of video files and live streams, by PyAV; the only file that imports it, and only when a video is opened."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import cv2

from gistline.capture.triggers import Trigger
from gistline.client import Shot, step_s
from gistline.errors import ImageRejected, SettingsError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame

JPEG_QUALITY: Final = 95
SILENCE_S: Final = 10.0
"""A stream that opens or says nothing for so long is opened anew."""
LIVE: Final = re.compile(r"^(rtsp|rtsps|rtmp|http|https|udp|tcp|srt)://")


def is_live(source: str) -> bool:
    """Whether a source is a stream's address, not a path."""
    return LIVE.match(source) is not None


def shown(source: str) -> str:
    """An address without the user and password, and without the query, that it may hold."""
    return re.sub(r"\?.*", "", re.sub(r"//[^/]*@", "//", source))


@dataclass(slots=True)
class VideoFile:
    """A file's frames at ``fps`` a second of its own time (0: all), as fast as they are taken.

    The file's time is the end of the recording, from which each frame's moment follows. A frame's key comes from the
    file (name, size, time) and its place, so that a file that is read again makes no frame twice.
    """

    path: Path
    fps: float = 0.0
    keeps: bool = True

    def frames(self, stop: Event) -> Iterator[Shot]:
        """Frames in their order.

        Raises:
            ImageRejected: the file is no video that can be read, from the start or from some frame on.

        """
        av, facts = _pyav(), self.path.stat()
        name = hashlib.sha256(f"{self.path.name} {facts.st_size} {facts.st_mtime_ns}".encode()).hexdigest()[:24]
        ends = min(datetime.fromtimestamp(facts.st_mtime, UTC), datetime.now(UTC))
        pace = _Pace(self.fps)
        try:
            with closing(av.open(str(self.path), timeout=SILENCE_S)) as container:
                length_s = (container.duration or 0) / av.time_base
                for place, frame in enumerate(_decoded(container, "AUTO")):
                    if stop.is_set():
                        return
                    at_s = float(frame.time or 0.0)
                    if not pace.wants(at_s):
                        continue
                    captured = min(ends, ends + timedelta(seconds=at_s - length_s))
                    yield Shot(_jpeg(frame), f"{name}-{place:08}", captured)
        except (av.FFmpegError, OSError) as error:
            cure = "What came before is kept. Is it a whole video?"
            raise ImageRejected(f"{self.path} cannot be read: {error}.", cure=cure) from error


@dataclass(slots=True)
class LiveStream:
    """An RTSP camera or another stream: ``fps`` frames a second of the clock (0: all), or one at each trigger.

    A stream that ends or breaks off is opened again, for ever, after up to half a minute; ``say`` hears of it.
    A frame's moment is that of its arrival.
    """

    url: str
    fps: float
    trigger: Trigger | None
    say: Callable[[str], None]
    keeps: bool = False

    def frames(self, stop: Event) -> Iterator[Shot]:
        """Frames as they come."""
        av, failures = _pyav(), 0
        run, number = uuid4().hex, 0
        while not stop.is_set():
            try:
                for frame in self._chosen(av, stop):
                    failures = 0
                    number += 1
                    yield Shot(_jpeg(frame), f"{run}-{number:08}", datetime.now(UTC))
                why = "ended"
            except (av.FFmpegError, OSError) as error:
                # The text of an error may repeat the address, and with it a password.
                why = f"broke off ({type(error).__name__})"
            if stop.is_set():
                return
            failures += 1
            pause_s = step_s(failures)
            self.say(f"{shown(self.url)} {why}; opened again in {pause_s:.1f} s.")
            stop.wait(pause_s)

    def _chosen(self, av: Any, stop: Event) -> Iterator[VideoFrame]:
        options = {"rtsp_transport": "tcp"} if self.url.startswith("rtsp") else {}
        pace = _Pace(self.fps)
        with closing(av.open(self.url, options=options, timeout=SILENCE_S)) as container:
            # Threads that work on several frames hold as many back; a live picture is wanted now.
            for frame in _decoded(container, "SLICE"):
                if stop.is_set():
                    return
                if self.trigger is not None:
                    if self.trigger.pulled():
                        yield frame
                elif pace.wants(time.monotonic()):
                    yield frame


def _pyav() -> Any:
    try:
        import av
    except ImportError as error:
        raise SettingsError("Videos and streams need PyAV.", cure="pip install 'gistline[camera]'") from error
    return av


def _decoded(container: InputContainer, threads: str) -> Iterator[VideoFrame]:
    if not container.streams.video:
        raise OSError("it has no pictures")
    container.streams.video[0].thread_type = threads
    yield from container.decode(video=0)


class _Pace:
    """Picks ``fps`` pictures a second from a stream of moments, in seconds; 0 picks all.

    Moments are due on a grid, so that one late picture does not make all later ones late. A picture may come
    a tenth of a step early: a camera of just that rate would else lose every second one to its jitter.
    """

    def __init__(self, fps: float) -> None:
        self._step = 1.0 / fps if fps > 0 else 0.0
        self._due: float | None = None

    def wants(self, now: float) -> bool:
        if not self._step:
            return True
        if self._due is None:
            self._due = now
        if now < self._due - self._step / 10:
            return False
        self._due += self._step
        if self._due <= now:
            self._due = now + self._step
        return True


def _jpeg(frame: VideoFrame) -> bytes:
    written, data = cv2.imencode(".jpg", frame.to_ndarray(format="bgr24"), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not written:
        raise OSError("a frame cannot be written as JPEG")
    return data.tobytes()
