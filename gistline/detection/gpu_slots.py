"""Buffers of one batch on its way through the GPU."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gistline.detection.candidates import MOST_CANDIDATES
from gistline.detection.cuda_candidates import CANDIDATE, HEADER_ROWS, kept
from gistline.detection.cuda_frames import FRAME, describe, pack
from gistline.detection.gpu_buffers import GpuSession, GrowingBuffer, Stream
from gistline.detection.preprocess import Geometry

FIRST: Final = 64
"""Candidates an image that come back at once; more need a second copy."""


class Slot:
    """What each of two batches has of its own; every method within :meth:`GpuSession.current`.

    A slot belongs to one batch from ``load`` until ``read``: nothing of it is touched before the events that were
    recorded for the last batch have passed.
    """

    def __init__(self, session: GpuSession, max_batch: int, helpers: Executor | None = None) -> None:
        """Allocate what does not depend on the frames; ``helpers`` copy them into pinned memory."""
        self._helpers = helpers
        self._session = session
        self._max_batch = max_batch
        self._host_frames = GrowingBuffer(session, pinned=True)
        self._frames = GrowingBuffer(session)
        self._host_table = session.pinned_block(max_batch * FRAME.itemsize)
        self._table = session.device_block(max_batch * FRAME.itemsize)
        self._header = session.device_block(max_batch * HEADER_ROWS * 4)
        self._packed = session.device_block(max_batch * MOST_CANDIDATES * CANDIDATE.itemsize)
        self._host_header = session.pinned_block(max_batch * HEADER_ROWS * 4)
        self._host_first = session.pinned_block(max_batch * FIRST * CANDIDATE.itemsize)
        self._host_rest = GrowingBuffer(session, pinned=True)
        self._download = session.stream()
        self._uploaded, self._computed, self._fetched = (session.event() for _ in range(3))

    @property
    def frames(self) -> int:
        """Address of the pixels on the GPU, after ``load``."""
        return self._frames.at_least(0).address

    @property
    def table(self) -> int:
        """Address of their table."""
        return self._table.address

    @property
    def header(self) -> int:
        """Address of the filter's header."""
        return self._header.address

    @property
    def packed(self) -> int:
        """Address of the filter's candidates."""
        return self._packed.address

    def load(self, images: Sequence[NDArray[np.uint8]], size: tuple[int, int], upload: Stream) -> tuple[Geometry, ...]:
        """Pack the frames into pinned memory and queue their upload.

        Raises:
            ValueError: an image has another shape or dtype.

        """
        described = describe(images, size)
        pixels = self._host_frames.at_least(described.size).view(np.uint8, described.size)
        pack(images, described, pixels, self._helpers)
        rows = self._host_table.view(FRAME, len(images))
        rows[...] = described.rows
        driver = self._session.driver
        driver.memcpy_htod_async(self._frames.at_least(described.size).address, pixels, upload)
        driver.memcpy_htod_async(self._table.address, rows.view(np.uint8), upload)
        self._uploaded.record(upload)
        return described.geometries

    def await_upload(self, compute: Stream) -> None:
        """Let what is queued on ``compute`` from now on wait for the frames."""
        compute.wait_for_event(self._uploaded)

    def fetch(self, count: int, compute: Stream) -> None:
        """Queue the copy back of what is being computed for ``count`` images, without holding up ``compute``."""
        self._computed.record(compute)
        self._download.wait_for_event(self._computed)
        driver = self._session.driver
        driver.memcpy_dtoh_async(self._header_of(count), self.header, self._download)
        first = self._host_first.view(CANDIDATE, count * FIRST)
        driver.memcpy_dtoh_async(first.view(np.uint8), self.packed, self._download)
        self._fetched.record(self._download)

    def read(self, count: int) -> tuple[NDArray[np.int32], NDArray[np.void]]:
        """Wait for the header ``[HEADER_ROWS, count]`` and the packed candidates; valid until the next ``load``."""
        self._fetched.synchronize()
        header = self._header_of(count).reshape(HEADER_ROWS, count)
        total = int(kept(header).sum())
        if total <= count * FIRST:
            return header, self._host_first.view(CANDIDATE, total)
        rest: NDArray[np.void] = self._host_rest.at_least(total * CANDIDATE.itemsize).view(CANDIDATE, total)
        self._session.driver.memcpy_dtoh_async(rest.view(np.uint8), self.packed, self._download)
        self._download.synchronize()
        return header, rest

    def fetch_raw(self, address: int, shape: tuple[int, ...], dtype: Any, compute: Stream) -> NDArray[np.float32]:
        """Wait for ``compute`` and copy a raw prediction out of the GPU, as float32."""
        count = int(np.prod(shape))
        raw = self._host_rest.at_least(count * np.dtype(dtype).itemsize).view(dtype, count)
        self._session.driver.memcpy_dtoh_async(raw, address, compute)
        compute.synchronize()
        return raw.reshape(shape).astype(np.float32)

    def settle(self) -> None:
        """Wait until nothing that was queued for the slot is left."""
        self._uploaded.synchronize()
        self._computed.synchronize()
        self._download.synchronize()

    def _header_of(self, count: int) -> NDArray[np.int32]:
        header: NDArray[np.int32] = self._host_header.view(np.int32, HEADER_ROWS * count)
        return header
