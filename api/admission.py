"""The door before the door: uploads are turned away while the fleet, the disk or this process's memory is full."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool

from api.deps import CameraOf, Services, ServicesOf
from gistline.errors import FleetBusy
from gistline.flows.admit_upload import admit, check_space
from gistline.storage.pressure import QueueLoad, read_load
from gistline.storage.session import transaction


class Gauge:
    """The queue's load, read at most every ``pressure.refresh_s`` seconds, and the bytes that are arriving.

    One for each application. Between two readings the queue grows by what is accepted meanwhile: the limits may be
    exceeded by that much.
    """

    def __init__(self) -> None:
        self._load = QueueLoad((), 0.0)
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()
        self.arriving = 0

    async def load(self, services: Services) -> QueueLoad:
        """Load of the queue; refuses by itself when the disk is nearly full.

        Raises:
            StorageFull: less than ``pressure.min_free_bytes`` are free.
            StorageUnavailable: the database or the store does not answer.

        """
        refresh_s = services.settings.pressure.refresh_s
        if time.monotonic() - self._read_at >= refresh_s:
            async with self._reading:
                if time.monotonic() - self._read_at >= refresh_s:
                    self._load = await run_in_threadpool(_read, services)
                    self._read_at = time.monotonic()
        return self._load


def _read(services: Services) -> QueueLoad:
    check_space(services.store, services.settings.pressure)
    with transaction(services.sessions) as session:
        return read_load(session)


async def hold_place(request: Request, camera: CameraOf, services: ServicesOf) -> AsyncGenerator[None, None]:
    """Let an upload in and count its bytes until it is answered. The body has not been read yet.

    Raises:
        FleetBusy: the queue is beyond its limits for this camera, or too many bytes are arriving at once.
        StorageFull: the disk is.

    """
    gauge: Gauge = request.app.state.gauge
    limits = services.settings.pressure
    admit(camera, await gauge.load(services), limits)
    announced = request.headers.get("content-length", "")
    # a body of unknown length may be as long as any
    size = int(announced) if announced.isdecimal() else services.settings.api.max_request_bytes
    if gauge.arriving and gauge.arriving + size > limits.max_arriving_bytes:
        raise FleetBusy(
            f"{gauge.arriving} bytes are arriving; with {size} more they would exceed {limits.max_arriving_bytes} "
            "(pressure.max_arriving_bytes).",
            cure="Send the same frames again after Retry-After seconds.",
            retry_after_s=1,
        )
    gauge.arriving += size
    try:
        yield
    finally:
        gauge.arriving -= size


PlaceHeld = Depends(hold_place)
