"""Frames in, candidates out, on one GPU: upload, letterbox, network, filter and download, two batches at once.

While one batch is computed the next is drawn, packed and uploaded, and the last one's few candidates come back. The
network itself is handed in; what runs it (TensorRT) is not known here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from gistline.detection.candidates import Candidates
from gistline.detection.cuda_candidates import CANDIDATE, unpack
from gistline.detection.cuda_frames import room_for
from gistline.detection.cuda_kernels import Filter, Kernels
from gistline.detection.engine import Image
from gistline.detection.gpu_buffers import GpuSession, Stream
from gistline.detection.gpu_slots import Slot
from gistline.detection.layouts import Layout
from gistline.detection.preprocess import Geometry
from gistline.errors import EngineUnavailable

SLOTS: Final = 2
STAGING_BYTES: Final = 256 * 2**20
"""Most bytes of frames in a batch of several; a single larger frame is a batch of its own."""


_PACKERS: Final = 4
"""Threads that copy frames into pinned memory: one alone is slower than the bus to the GPU."""


class Network(Protocol):
    """What runs between the kernels; ``layout`` has its number of predictions."""

    @property
    def layout(self) -> Layout:
        """How its predictions are read."""
        ...

    @property
    def input_size(self) -> tuple[int, int]:
        """``(height, width)`` in pixels."""
        ...

    @property
    def max_batch(self) -> int:
        """Most images at once."""
        ...

    @property
    def float16_in(self) -> bool:
        """It reads FP16 instead of FP32."""
        ...

    @property
    def float16_out(self) -> bool:
        """It writes FP16 instead of FP32."""
        ...

    def enqueue(self, batch: int, source: int, target: int, stream: Stream) -> None:
        """Queue ``[batch, 3, height, width]`` at ``source`` -> raw predictions at ``target``, addresses on the GPU.

        Raises:
            EngineUnavailable: the runtime refused.

        """
        ...


class _Running(NamedTuple):
    """A batch on its way."""

    slot: Slot
    geometries: tuple[Geometry, ...]


class Pipeline:
    """The buffers and streams of one network. May be used from several threads.

    ``close`` ends its threads; its memory is the session's and goes with that.
    """

    def __init__(self, session: GpuSession, network: Network) -> None:
        """Allocate everything whose size is known.

        Raises:
            EngineUnavailable: the GPU's memory does not suffice, or the driver does not take the kernels.

        """
        self._session = session
        self._network = network
        self._order = Lock()
        self._packers = ThreadPoolExecutor(_PACKERS, "pack")
        self._idle: SimpleQueue[Slot] = SimpleQueue()
        layout, (height, width) = network.layout, network.input_size
        floats = [2 if half else 4 for half in (network.float16_in, network.float16_out)]
        predictions = network.max_batch * (layout.predictions or 0)
        with session.current():
            self._kernels = Kernels(session, layout, float16_in=network.float16_in, float16_out=network.float16_out)
            self._upload, self._compute = session.stream(), session.stream()
            self._input = session.device_block(network.max_batch * 3 * height * width * floats[0])
            self._raw = session.device_block(predictions * layout.values * floats[1])
            self._found = session.device_block(predictions * CANDIDATE.itemsize)
            for _ in range(SLOTS):
                self._idle.put(Slot(session, network.max_batch, self._packers))

    @property
    def in_flight(self) -> int:
        """Images that are worked on at once."""
        return SLOTS * self._network.max_batch

    def stream(self, images: Iterable[Image], min_confidence: float) -> Iterator[Candidates]:
        """Candidates of each image, in order; batches are drawn while earlier ones are computed.

        Raises:
            EngineUnavailable: the GPU failed or the network answered nonsense.
            ValueError: an image has another shape or dtype.

        """
        running: deque[_Running] = deque()
        try:
            for batch in self._batches(images):
                slot, done = self._take(running)
                running.append(self._launch(slot, batch, min_confidence))
                yield from done
            while running:
                slot, done = self._finish(running)
                self._idle.put(slot)
                yield from done
        finally:
            for left in running:
                self._abandon(left.slot)

    def infer(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """``[n, height, width, 3]`` of the input's size -> raw predictions, without the filter.

        Raises:
            EngineUnavailable: the GPU failed.

        """
        most = self._network.max_batch
        return np.concatenate([self._infer(list(batch[at : at + most])) for at in range(0, len(batch), most)])

    def close(self) -> None:
        """End the threads; may be called twice. No call may be running."""
        self._packers.shutdown()

    def _batches(self, images: Iterable[Image]) -> Iterator[list[Image]]:
        batch: list[Image] = []
        size = 0
        for image in images:
            size += room_for(image)
            if batch and size > STAGING_BYTES:
                yield batch
                batch, size = [], room_for(image)
            batch.append(image)
            if len(batch) == self._network.max_batch:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _take(self, running: deque[_Running]) -> tuple[Slot, list[Candidates]]:
        """An idle slot or, when there is none, this call's oldest with its results.

        A call waits for other threads' slots only while it holds none itself, so two calls cannot block each other.
        """
        try:
            return self._idle.get(block=not running), []
        except Empty:
            return self._finish(running)

    def _launch(self, slot: Slot, images: Sequence[Image], min_confidence: float) -> _Running:
        with self._kept_whole(slot), self._session.current():
            geometries = slot.load(images, self._network.input_size, self._upload)
            places = Filter(self._raw.address, self._found.address, slot.header, slot.packed)
            with self._order:
                self._enqueue(slot, len(images))
                self._kernels.select(places, batch=len(images), min_confidence=min_confidence, stream=self._compute)
                slot.fetch(len(images), self._compute)
        return _Running(slot, geometries)

    def _enqueue(self, slot: Slot, count: int) -> None:
        """Queue letterbox and network; the buffers that all batches share are safe in the order of one stream."""
        slot.await_upload(self._compute)
        self._kernels.letterbox(
            slot.frames,
            slot.table,
            self._input.address,
            batch=count,
            size=self._network.input_size,
            stream=self._compute,
        )
        self._network.enqueue(count, self._input.address, self._raw.address, self._compute)

    def _finish(self, running: deque[_Running]) -> tuple[Slot, list[Candidates]]:
        """Wait for the oldest batch; its slot comes back unless something failed, its results are copies."""
        slot, geometries = running.popleft()
        with self._kept_whole(slot):
            with self._session.current():
                header, packed = slot.read(len(geometries))
            return slot, unpack(header, packed, geometries, self._network.layout)

    def _infer(self, images: list[Image]) -> NDArray[np.float32]:
        slot = self._idle.get()
        network = self._network
        shape = (len(images), *(int(side) for side in network.layout.shape))
        try:
            with self._session.current(), self._order:
                slot.load(images, network.input_size, self._upload)
                self._enqueue(slot, len(images))
                kind = np.float16 if network.float16_out else np.float32
                return slot.fetch_raw(self._raw.address, shape, kind, self._compute)
        finally:
            self._abandon(slot)

    @contextmanager
    def _kept_whole(self, slot: Slot) -> Iterator[None]:
        """Give the slot back if the block fails, whatever it was: a call that found none would wait for ever."""
        with ExitStack() as undo:
            undo.callback(self._abandon, slot)
            yield
            undo.pop_all()

    def _abandon(self, slot: Slot) -> None:
        """Put a slot back once nothing that was queued for it is left; on a GPU that failed, nothing is."""
        try:
            with suppress(EngineUnavailable), self._session.current():
                slot.settle()
        finally:
            self._idle.put(slot)
