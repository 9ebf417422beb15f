"""One process's hold on one GPU: its context, its memory, its streams, and their release.

PyCUDA stands behind :class:`Driver`, the part of it that is used. It is handed in, never imported here: the product
keeps it in one file, and may exchange it there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gistline.errors import EngineUnavailable

_GROWTH: Final = 1.5
_MIB: Final = 2**20


class Stream(Protocol):
    """A queue of work on the GPU."""

    @property
    def handle(self) -> int:
        """The driver's number for it."""
        ...

    def synchronize(self) -> object:
        """Wait until it is empty."""
        ...

    def wait_for_event(self, event: Any) -> object:
        """Let what is queued from now on wait for an event."""
        ...


class Driver(Protocol):
    """``pycuda.driver``, as far as it is used."""

    Context: Any
    Device: Any
    Error: type[BaseException]
    MemoryError: type[BaseException]
    Event: Any
    Stream: Any
    event_flags: Any

    def init(self) -> object:
        """Load the driver; must not be called before a fork."""
        ...

    def mem_alloc(self, size: int) -> Any:
        """Memory of the GPU, in bytes."""
        ...

    def mem_get_info(self) -> tuple[int, int]:
        """Free and total memory in bytes."""
        ...

    def pagelocked_empty(self, shape: int, dtype: DTypeLike) -> NDArray[Any]:
        """Memory of the host that the GPU reads itself."""
        ...

    def memcpy_htod_async(self, dest: int, src: NDArray[Any], stream: Stream) -> object:
        """Copy all of an array to the GPU."""
        ...

    def memcpy_dtoh_async(self, dest: NDArray[Any], src: int, stream: Stream) -> object:
        """Fill all of an array from the GPU."""
        ...

    def memset_d8_async(self, dest: int, data: int, count: int, stream: Stream) -> object:
        """Fill bytes of the GPU."""
        ...

    def module_from_buffer(self, buffer: bytes) -> Any:
        """Load PTX (ended by a zero byte) or machine code."""
        ...


class GpuSession:
    """The GPU's primary context (the one that TensorRT uses) and everything allocated in it.

    Made in the process that uses it: a context does not survive a fork. ``close`` frees everything that is left, from
    any thread, once; every other call after it, or in a forked child, raises :class:`EngineUnavailable`.
    """

    def __init__(self, driver: Driver, index: int = 0) -> None:
        """Open the GPU of that index.

        Raises:
            EngineUnavailable: there is no such GPU, or the driver does not work.

        """
        self.driver = driver
        self._pid = os.getpid()
        self._held: dict[int, _Block] = {}
        try:
            driver.init()
            count = int(driver.Device.count())
            if index >= count:
                raise EngineUnavailable(
                    f"GPU {index} was asked for and the driver shows {count}.",
                    cure="Choose another (detection.tensorrt.device).",
                )
            self.device = driver.Device(index)
            self._context: Any = self.device.retain_primary_context()
        except driver.Error as error:
            raise EngineUnavailable(f"The GPU cannot be opened: {error}.", cure="See what nvidia-smi says.") from error

    @property
    def name(self) -> str:
        """As the driver calls it, such as NVIDIA H100 80GB HBM3."""
        return str(self.device.name())

    @property
    def capability(self) -> tuple[int, int]:
        """Compute capability, such as (9, 0)."""
        major, minor = self.device.compute_capability()
        return int(major), int(minor)

    @property
    def is_open(self) -> bool:
        """It was not closed, and this is the process that opened it."""
        return self._context is not None and os.getpid() == self._pid

    @property
    def held_bytes(self) -> int:
        """Memory of the GPU that the session holds."""
        return sum(block.size for block in self._held.values() if not block.pinned)

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the context this thread's for the block. Must not span a ``yield`` of a generator.

        Raises:
            EngineUnavailable: it was closed or belongs to the parent process, or the driver failed inside the block.

        """
        self._check()
        try:
            self._context.push()
            try:
                yield
            finally:
                self.driver.Context.pop()
        except self.driver.MemoryError as error:
            raise EngineUnavailable(
                f"The memory of {self.name} is used up (held here: {self.held_bytes / _MIB:,.0f} MiB): {error}.",
                cure="Lower detection.tensorrt.max_batch, or end what else runs on it.",
            ) from error
        except self.driver.Error as error:
            raise EngineUnavailable(
                f"The GPU failed: {error}.", cure="Start the worker again; if it recurs, see what nvidia-smi says."
            ) from error

    def device_block(self, size: int) -> _Block:
        """Memory of the GPU, in bytes; within :meth:`current`."""
        return self._keep(_Block(self.driver.mem_alloc(max(1, size)), max(1, size)))

    def pinned_block(self, size: int) -> _Block:
        """Memory of the host that the GPU reads and writes itself, in bytes; within :meth:`current`."""
        return self._keep(_Block(self.driver.pagelocked_empty(max(1, size), np.uint8), max(1, size), pinned=True))

    def release(self, block: _Block) -> None:
        """Free one block, once; within :meth:`current`."""
        if self._held.pop(id(block), None) is not None:
            block.free()

    def stream(self) -> Stream:
        """A new stream; within :meth:`current`."""
        made: Stream = self.driver.Stream()
        return made

    def event(self) -> Any:
        """A new event whose waiters sleep instead of spinning; within :meth:`current`."""
        flags = self.driver.event_flags
        return self.driver.Event(flags.DISABLE_TIMING | flags.BLOCKING_SYNC)

    def close(self) -> None:
        """Free all blocks, then the context. Nothing may be running on the GPU."""
        context, self._context = self._context, None
        if context is None or os.getpid() != self._pid:
            return
        # A GPU that was lost frees nothing, and says so; there is nothing left to free then.
        with suppress(self.driver.Error):
            context.push()
            for block in list(self._held.values()):
                self.release(block)
            # PyCUDA lets go of a context from any thread only while it is current there.
            context.detach()
        self._held.clear()

    def _check(self) -> None:
        if os.getpid() != self._pid:
            raise EngineUnavailable(
                "The GPU was opened before this process was forked, and CUDA does not survive a fork.",
                cure="Open the detector in the process that uses it (a worker's pool opens one in each child).",
            )
        if self._context is None:
            raise EngineUnavailable("The detector was closed.", cure="Open it again.")

    def _keep(self, block: _Block) -> _Block:
        self._held[id(block)] = block
        return block


class _Block:
    """Memory of the GPU or of the host, in bytes."""

    def __init__(self, memory: Any, size: int, *, pinned: bool = False) -> None:
        self._memory = memory
        self.size = size
        self.pinned = pinned

    @property
    def address(self) -> int:
        """Where it begins, on the GPU."""
        return int(self._memory)

    def view(self, dtype: DTypeLike, count: int) -> NDArray[Any]:
        """The first elements of pinned memory."""
        kind = np.dtype(dtype)
        array: NDArray[Any] = self._memory[: count * kind.itemsize].view(kind)
        return array

    def free(self) -> None:
        """Give it back. PyCUDA keeps pinned memory as the base of its array."""
        memory, self._memory = self._memory, None
        (memory.base if self.pinned else memory).free()


class GrowingBuffer:
    """A block that is exchanged for a larger one when more is needed; its content is lost then."""

    def __init__(self, session: GpuSession, *, pinned: bool = False) -> None:
        self._session = session
        self._make = session.pinned_block if pinned else session.device_block
        self._block: _Block | None = None

    def at_least(self, size: int) -> _Block:
        """A block of that many bytes or more; within :meth:`GpuSession.current`, with nothing queued on the old one."""
        if self._block is None or self._block.size < size:
            # First the old one goes: both at once may not fit.
            grown = size if self._block is None else max(size, int(self._block.size * _GROWTH))
            if self._block is not None:
                self._session.release(self._block)
                self._block = None
            self._block = self._make(grown)
        return self._block
