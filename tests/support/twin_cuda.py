"""A driver whose GPU is this machine's memory: for the bookkeeping of buffers and contexts, never for kernels."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class TwinError(Exception):
    """``pycuda.driver.Error``."""


class TwinMemoryError(TwinError):
    """``pycuda.driver.MemoryError``."""


class _Allocation:
    """Device memory; freeing it twice is an error, as it is with the real one."""

    def __init__(self, owner: TwinDriver, size: int) -> None:
        self.owner, self.size = owner, size
        self.memory = np.zeros(size, np.uint8)
        owner.used += size

    def __int__(self) -> int:
        return int(self.memory.ctypes.data)

    def free(self) -> None:
        if self.size < 0:
            raise TwinError("freed twice")
        self.owner.used -= self.size
        self.size = -1


class _Context:
    def __init__(self, owner: TwinDriver) -> None:
        self.owner = owner

    def push(self) -> None:
        self.owner.stack.append(self)

    def detach(self) -> None:
        assert self.owner.stack, "PyCUDA detaches only a current context from any thread"
        self.owner.contexts -= 1
        self.owner.stack.pop()


class _Device:
    owner: TwinDriver

    def __init__(self, index: int) -> None:
        self.index = index

    @classmethod
    def count(cls) -> int:
        return 1

    def name(self) -> str:
        return self.owner.gpu

    def compute_capability(self) -> tuple[int, int]:
        return self.owner.capability

    def retain_primary_context(self) -> _Context:
        self.owner.contexts += 1
        return _Context(self.owner)


class _Queue:
    handle = 7

    def __init__(self, *_: object) -> None:
        self.recorded = 0

    def synchronize(self) -> None:
        return None

    def wait_for_event(self, event: object) -> None:
        return None

    def record(self, stream: object) -> None:
        self.recorded += 1


class _Flags:
    DISABLE_TIMING, BLOCKING_SYNC = 2, 1


class TwinDriver:
    """Has ``total`` bytes; ``used``, ``pinned``, ``contexts`` and ``stack`` say what is held."""

    Error: type[BaseException] = TwinError
    MemoryError: type[BaseException] = TwinMemoryError
    Event: Any = _Queue
    Stream: Any = _Queue
    event_flags: Any = _Flags
    Context: Any
    Device: Any

    def __init__(self, gpu: str = "NVIDIA H100 80GB HBM3", capability: tuple[int, int] = (9, 0)) -> None:
        self.gpu, self.capability = gpu, capability
        self.total, self.used, self.pinned, self.contexts = 80 * 2**30, 0, 0, 0
        self.stack: list[_Context] = []
        owner = self

        class Context:
            @staticmethod
            def pop() -> None:
                owner.stack.pop()

        self.Context = Context
        self.Device = type("Device", (_Device,), {"owner": self})

    def init(self) -> None:
        return None

    def mem_alloc(self, size: int) -> _Allocation:
        if size > self.total - self.used:
            raise TwinMemoryError("out of memory")
        return _Allocation(self, size)

    def mem_get_info(self) -> tuple[int, int]:
        return self.total - self.used, self.total

    def pagelocked_empty(self, shape: int, dtype: DTypeLike) -> NDArray[Any]:
        return np.asarray(_PinnedBase(self, shape))

    def memcpy_htod(self, dest: int, src: NDArray[Any]) -> None:
        _place(dest, src.nbytes)[...] = np.ascontiguousarray(src).view(np.uint8).reshape(-1)

    def memcpy_htod_async(self, dest: int, src: NDArray[Any], stream: object) -> None:
        self.memcpy_htod(dest, src)

    def memcpy_dtoh_async(self, dest: NDArray[Any], src: int, stream: object) -> None:
        dest.view(np.uint8).reshape(-1)[...] = _place(src, dest.nbytes)

    def memset_d8_async(self, dest: int, data: int, count: int, stream: object) -> None:
        _place(dest, count)[...] = data

    def module_from_buffer(self, buffer: bytes) -> Any:
        raise TwinError("no kernels here")


class _PinnedBase:
    """What ``pagelocked_empty`` has as its base."""

    def __init__(self, owner: TwinDriver, size: int) -> None:
        self.owner, self.memory = owner, np.zeros(size, np.uint8)
        owner.pinned += size

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return self.memory.__array_interface__

    def free(self) -> None:
        self.owner.pinned -= self.memory.nbytes


def _place(address: int, size: int) -> NDArray[np.uint8]:
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))
