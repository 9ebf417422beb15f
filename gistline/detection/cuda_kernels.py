"""The product's own kernels, loaded and launched.

They travel as PTX for compute capability 6.1, which the driver of every later GPU translates when it loads them: no
machine that detects needs a compiler (docs/decisions). ``tests/support/ptx.py`` writes the PTX from the sources.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from gistline.detection.candidates import MOST_CANDIDATES
from gistline.detection.cuda_candidates import HEADER_ROWS, KERNELS, least_objectness
from gistline.detection.gpu_buffers import GpuSession, Stream
from gistline.detection.layouts import Layout, LayoutKind
from gistline.errors import EngineUnavailable

_TILE: Final = 32
_TILE_ROWS: Final = 8
_THREADS: Final = 256
_GATHER_THREADS: Final = 1024
_LANES: Final = 32


@dataclass(frozen=True, slots=True)
class Filter:
    """Where the filter reads and writes, as addresses on the GPU.

    ``raw``: predictions of a batch. ``found``: room for every prediction. ``header``: int32 ``[4, batch]``.
    ``packed``: room for ``MOST_CANDIDATES`` an image.
    """

    raw: int
    found: int
    header: int
    packed: int


class Kernels:
    """Kernels of one context, for one network; launched within :meth:`GpuSession.current`."""

    def __init__(self, session: GpuSession, layout: Layout, *, float16_in: bool, float16_out: bool) -> None:
        """Load them; within :meth:`GpuSession.current`.

        Args:
            session: whose context they live in.
            layout: of the network's predictions, with their number known.
            float16_in: the network reads FP16 instead of FP32.
            float16_out: the network writes FP16 instead of FP32.

        Raises:
            EngineUnavailable: the driver does not take them.

        """
        if layout.predictions is None:
            raise ValueError(f"the number of predictions of {layout} is open")
        self._session = session
        self._layout = layout
        self._predictions = layout.predictions
        kinds = "f16" if float16_in else "f32", "f16" if float16_out else "f32"
        pictures, boxes = _load(session, "letterbox"), _load(session, "candidates")
        self._letterbox = pictures.get_function(f"letterbox_{kinds[0]}").prepare("PPPii")
        self._select = boxes.get_function(f"{KERNELS[layout.kind]}_{kinds[1]}").prepare("PiiiffPP")
        self._gather = boxes.get_function("gather").prepare("PPPii")

    def letterbox(
        self, pixels: int, table: int, target: int, *, batch: int, size: tuple[int, int], stream: Stream
    ) -> None:
        """Frames at ``pixels``, described at ``table`` -> ``[batch, 3, height, width]`` in 0..1 at ``target``."""
        height, width = size
        grid = -(-width // _TILE), -(-height // _TILE), batch
        self._letterbox.prepared_async_call(grid, (_TILE, _TILE_ROWS, 1), stream, pixels, table, target, width, height)

    def select(self, places: Filter, *, batch: int, min_confidence: float, stream: Stream) -> None:
        """Predictions -> their candidates, packed; as :func:`gistline.detection.candidates.select` finds them."""
        self._session.driver.memset_d8_async(places.header, 0, HEADER_ROWS * batch * 4, stream)
        threads = self._predictions * (_LANES if self._layout.kind is LayoutKind.OBJECTNESS else 1)
        grid = -(-threads // _THREADS), batch, 1
        wanted = batch, self._predictions, self._layout.classes, min_confidence, float(least_objectness(min_confidence))
        self._select.prepared_async_call(
            grid, (_THREADS, 1, 1), stream, places.raw, *wanted, places.found, places.header
        )
        rooms = self._predictions, MOST_CANDIDATES
        self._gather.prepared_async_call(
            (batch, 1), (_GATHER_THREADS, 1, 1), stream, places.found, places.header, places.packed, *rooms
        )


def ptx(name: str) -> bytes:
    """The PTX of ``cuda/<name>.cu``.

    Raises:
        EngineUnavailable: the installation lacks it.

    """
    path = files("gistline.detection") / "cuda" / f"{name}.ptx"
    if not path.is_file():
        raise EngineUnavailable(f"{name}.ptx is missing from the installation.", cure="Install Gistline again.")
    return path.read_bytes()


def _load(session: GpuSession, name: str) -> Any:
    try:
        return session.driver.module_from_buffer(ptx(name) + b"\0")
    except session.driver.Error as error:
        raise EngineUnavailable(
            f"The driver of {session.name} does not take the kernels of {name}.cu: {error}.",
            cure="Install a newer driver (520 or later).",
        ) from error
