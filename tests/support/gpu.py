"""Networks that need no TensorRT, and arrays on the GPU, for tests and benchmarks of what surrounds the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gistline.detection.candidates import MOST_CANDIDATES, Selected, select
from gistline.detection.cuda_candidates import CANDIDATE, HEADER_ROWS, in_order, kept, refuse_nonsense
from gistline.detection.cuda_frames import describe, pack
from gistline.detection.cuda_kernels import Filter, Kernels
from gistline.detection.gpu_buffers import GpuSession, Stream
from gistline.detection.layouts import Layout, LayoutKind
from gistline.detection.preprocess import letterbox


def echo_layout(size: tuple[int, int]) -> Layout:
    """Two classes and just as many numbers as an input of that size has."""
    return Layout(LayoutKind.ANCHOR_FREE, 2, size[0] * size[1] // 2)


@dataclass
class EchoNetwork:
    """Answers its input, read as a prediction: every pixel of every frame shows in what comes out.

    ``work`` repeats the copy so often, to be slow. ``poison`` is written over the first number of the answer.
    """

    session: GpuSession
    input_size: tuple[int, int] = (64, 64)
    max_batch: int = 4
    float16: bool = False
    work: int = 1
    poison: float | None = None

    @property
    def layout(self) -> Layout:
        return echo_layout(self.input_size)

    @property
    def float16_in(self) -> bool:
        return self.float16

    @property
    def float16_out(self) -> bool:
        return self.float16

    def enqueue(self, batch: int, source: int, target: int, stream: Stream) -> None:
        driver: Any = self.session.driver
        kind = np.dtype(np.float16 if self.float16 else np.float32)
        size = batch * 3 * self.input_size[0] * self.input_size[1] * kind.itemsize
        for _ in range(self.work):
            driver.memcpy_dtod_async(target, source, size, stream)
        if self.poison is not None:
            driver.memcpy_htod_async(target, np.array([self.poison], kind), stream)


def echo_reference(
    image: NDArray[np.uint8], size: tuple[int, int], min_confidence: float, *, float16: bool = False
) -> Selected:
    """What an :class:`EchoNetwork` and the reference code in numpy make of an image."""
    planes = np.ascontiguousarray(letterbox(image, size)[0].transpose(2, 0, 1), dtype=np.float32) / np.float32(255)
    layout = echo_layout(size)
    raw = planes.astype(np.float16).astype(np.float32) if float16 else planes
    return select(raw.reshape(layout.values, -1), layout, min_confidence)


def letterbox_on_gpu(
    session: GpuSession, images: list[NDArray[np.uint8]], size: tuple[int, int], *, float16: bool = False
) -> NDArray[Any]:
    """``[n, 3, height, width]`` as the kernel writes it, poisoned before."""
    kind = np.dtype(np.float16 if float16 else np.float32)
    table = describe(images, size)
    pixels = np.zeros(table.size, np.uint8)
    pack(images, table, pixels)
    result = np.full((len(images), 3, *size), np.nan, kind)
    with session.current():
        kernels = Kernels(session, echo_layout(size), float16_in=float16, float16_out=False)
        places = [put(session, array) for array in (pixels, table.rows.view(np.uint8), result)]
        stream = session.stream()
        kernels.letterbox(*places, batch=len(images), size=size, stream=stream)
        stream.synchronize()
        return get(session, places[2], result.shape, kind)


def select_on_gpu(session: GpuSession, raw: NDArray[Any], layout: Layout, min_confidence: float) -> list[Selected]:
    """Candidates of ``raw`` ``[n, ...]``, float32 or float16, as the kernels find them."""
    batch, predictions = len(raw), layout.predictions or 0
    with session.current():
        kernels = Kernels(session, layout, float16_in=False, float16_out=raw.dtype == np.float16)
        places = Filter(
            put(session, raw),
            session.device_block(batch * predictions * CANDIDATE.itemsize).address,
            session.device_block(batch * HEADER_ROWS * 4).address,
            session.device_block(batch * MOST_CANDIDATES * CANDIDATE.itemsize).address,
        )
        stream = session.stream()
        kernels.select(places, batch=batch, min_confidence=min_confidence, stream=stream)
        stream.synchronize()
        header = get(session, places.header, (HEADER_ROWS, batch), np.int32)
        refuse_nonsense(header, layout)
        counts = kept(header)
        packed = get(session, places.packed, (int(counts.sum()),), CANDIDATE)
    return [in_order(part) for part in np.split(packed, np.cumsum(counts)[:-1])]


def put(session: GpuSession, array: NDArray[Any]) -> int:
    """Address of a copy on the GPU; within the session's context."""
    driver: Any = session.driver
    place = session.device_block(array.nbytes).address
    driver.memcpy_htod(place, np.ascontiguousarray(array).view(np.uint8))
    return place


def get(session: GpuSession, address: int, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """A copy from the GPU; within the session's context."""
    driver: Any = session.driver
    array = np.empty(shape, dtype)
    if array.size:
        driver.memcpy_dtoh(array, address)
    return array
