"""A camera over a line of boards: the stream of JPEGs that demo, load tests and drills send in."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gistline.domain import Box
from gistline.simulator.boards import Board, encode_jpeg, render_board
from gistline.simulator.looks import BoardStyle, draw_style

SECONDS_BETWEEN_FRAMES = 0.5
_JITTER = 0.05


@dataclass(frozen=True, slots=True)
class SimulatedFrame:
    """One picture of a camera.

    ``frame_key`` is unique for camera, seed and place in the stream; ``jpeg`` the encoded grey picture; ``captured_at``
    the offset in seconds from the stream's start, rising; ``defects`` the truth as (class, box in pixels).
    """

    frame_key: str
    jpeg: bytes
    captured_at: float
    defects: tuple[tuple[str, Box], ...]


def camera_frames(*, camera: str, seed: int, count: int, defect_rate: float = 0.5) -> Iterator[SimulatedFrame]:
    """Yield ``count`` frames of ``camera``; a share of ``defect_rate`` (0 to 1) of the boards has defects.

    A camera keeps its appearance (light, blur, noise) for the whole stream, as a mounted one does, and each camera
    name has its own. Frames depend on ``camera``, ``seed`` and their place alone, so a longer stream starts with the
    shorter one.
    """
    root = np.random.SeedSequence([seed, zlib.crc32(camera.encode())])
    style = draw_style(np.random.default_rng(root))
    for index in range(count):
        rng = np.random.default_rng(np.random.SeedSequence([seed, zlib.crc32(camera.encode()), index]))
        board = _next_board(rng, style, defect_rate)
        offset = index * SECONDS_BETWEEN_FRAMES + float(rng.uniform(0.0, _JITTER))
        key = f"{camera}-{seed}-{index:06d}"
        yield SimulatedFrame(frame_key=key, jpeg=encode_jpeg(board.image), captured_at=offset, defects=board.defects)


def _next_board(rng: np.random.Generator, style: BoardStyle, defect_rate: float) -> Board:
    faulty = rng.random() < defect_rate
    return render_board(rng, defects=int(rng.integers(1, 7)) if faulty else 0, style=style)
