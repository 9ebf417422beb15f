"""A process of the product that notes when each frame passes a stage: ``python -m benchmarks.watched api|detect``.

Nothing of the product knows of it: functions on a frame's way are replaced by ones that call them and note the moment
(seconds of the wall clock) in ``WATCHED_FOLDER``, a file a process. A detect worker has the engine that
:mod:`benchmarks.simulated_worker` would have, where the environment asks for one.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs

FOLDER: Final = "WATCHED_FOLDER"
MODULE: Final = "benchmarks.watched"

Note = Callable[[str, Iterable[object]], None]


def read_notes(folder: Path) -> dict[str, dict[str, float]]:
    """When each frame first passed each stage: by the frame's key before its row is there, by its id after that."""
    found: dict[str, dict[str, float]] = {}
    for path in folder.glob("*.notes"):
        for line in path.read_text().splitlines():
            stage, frame, moment = line.split()
            found.setdefault(frame, {}).setdefault(stage, float(moment))
    return found


def open_notes(folder: Path) -> Note:
    """A function that notes a stage and the frames that passed it now; one write each, so that a kill loses nothing."""
    file = os.open(folder / f"{os.getpid()}.notes", os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def note(stage: str, frames: Iterable[object]) -> None:
        now = time.time()
        os.write(file, "".join(f"{stage} {frame} {now:.6f}\n" for frame in frames).encode())

    return note


def around(
    owner: Any,
    name: str,
    *,
    before: Callable[..., None] = lambda *_, **__: None,
    after: Callable[..., None] = lambda *_, **__: None,
) -> None:
    """Have ``before(*arguments)`` called at the start of a function and ``after(result, *arguments)`` at its end."""
    inner = getattr(owner, name)

    @functools.wraps(inner)
    def outer(*arguments: Any, **options: Any) -> Any:
        before(*arguments, **options)
        result = inner(*arguments, **options)
        after(result, *arguments, **options)
        return result

    setattr(owner, name, outer)


def watch_api(note: Note) -> int:
    """Serve HTTP; frames are known by the ``frame_key`` in the query string, one image a request."""
    import api.frames

    door: Any = importlib.import_module("api.__main__")
    from gistline.dispatch import CelerySender
    from gistline.frames.local import LocalFrames

    of_thread = threading.local()

    def begin(_camera: object, images: Any, **_: object) -> None:
        of_thread.keys = [one.frame_key for one in images]

    around(api.frames, "submit_frames", before=begin)
    around(
        LocalFrames,
        "put_many",
        before=lambda *_: note("checked", of_thread.keys),
        after=lambda *_: note("stored", of_thread.keys),
    )
    around(CelerySender, "ring_detect", before=lambda _, ids: note("committed", ids))
    around(CelerySender, "_send", after=lambda _none, _self, _task, ids: note("rung", ids))
    plain = door.create_app

    def create_app(settings: Any) -> Any:
        app = plain(settings)

        async def watched(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                note("received", parse_qs(scope["query_string"].decode()).get("frame_key", ()))
            await app(scope, receive, send)

        return watched

    door.create_app = create_app
    return int(door.main())


def watch_detect(note: Note) -> int:
    """Inspect."""
    from benchmarks.simulated_worker import FRAME_MS, open_simulated
    from gistline.detection.detector import open_model
    from gistline.flows import batch_end, claimed_batch, station
    from gistline.flows.frame_stream import FrameStream
    from gistline.flows.verdict_out import VerdictOut
    from gistline.settings import load_settings
    from workers.__main__ import run_detect, set_up_logging
    from workers.runtime import DetectRuntime

    def claimed(found: Any, *_: object, **__: object) -> None:
        note("claimed", found.ids if found else ())

    def drawn(image: object, stream: Any, _: object) -> None:
        note("drawn", () if image is None else [stream._awaiting[-1][1].id])

    around(DetectRuntime, "inspect", before=lambda _, ids: note("bell", ids))
    around(station, "claim", after=claimed)
    around(station, "fill_up", after=claimed)
    around(claimed_batch, "_load", after=lambda _, frame, *__: note("loaded", [frame.id]))
    around(FrameStream, "_draw", after=drawn)
    around(FrameStream, "_answer", before=lambda self, _: note("answered", [self._awaiting[0][1].id]))
    around(VerdictOut, "publish", before=lambda _, verdict: note("decided", [verdict.frame_id]))
    around(batch_end, "_finish", after=lambda _, batch, *__: note("written", batch.claim.ids))
    set_up_logging(os.environ.get("SIMULATED_LOG_LEVEL", "warning"))
    return run_detect(load_settings(), open_simulated if FRAME_MS in os.environ else open_model)


if __name__ == "__main__":
    kind = sys.argv.pop()  # the product's own entry points read what is left
    sys.exit({"api": watch_api, "detect": watch_detect}[kind](open_notes(Path(os.environ[FOLDER]))))
