"""What a CPU can do with bytes, read from the words of its operating system."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

CPUINFO: Final = Path("/proc/cpuinfo")
_SYSCTL: Final = {
    "hw.optional.arm.FEAT_DotProd": "asimddp",
    "hw.optional.arm.FEAT_I8MM": "i8mm",
    "hw.optional.arm.FEAT_BF16": "bf16",
    "hw.optional.avx2_0": "avx2",
    "hw.optional.avx512f": "avx512f",
    "hw.optional.avx512vnni": "avx512_vnni",
    "hw.optional.avx512bf16": "avx512_bf16",
}
"""macOS tells instructions by these names; here they go by Linux's."""
_TOLD: Final = (
    "amx_int8", "avx512_vnni", "avx_vnni", "avx_vnni_int8", "i8mm", "asimddp",
    "amx_bf16", "avx512_bf16", "bf16", "avx512f", "avx2", "asimd",
)  # fmt: skip


class Int8Way(StrEnum):
    """How bytes are multiplied and summed, fastest first; ``PAIRS`` sums two products in 16 bits and can saturate."""

    MATRIX = "matrix"
    DOT = "dot"
    PAIRS = "pairs"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class CpuFacts:
    """One CPU: ``flags`` are the instruction sets that matter here, in Linux's spelling; ``known`` is False where the
    operating system told none. ``cores`` are those that this process may use, ``mhz`` the clock told (0: none).
    """

    model: str
    architecture: str
    cores: int
    flags: tuple[str, ...]
    known: bool
    mhz: float = 0.0

    @property
    def int8(self) -> Int8Way:
        """The best way that this CPU has; every one with AVX2 or NEON has at least pairs."""
        if not self.known:
            return Int8Way.UNKNOWN
        if {"amx_int8", "i8mm"} & set(self.flags):
            return Int8Way.MATRIX
        if {"avx512_vnni", "avx_vnni", "asimddp"} & set(self.flags):
            return Int8Way.DOT
        return Int8Way.PAIRS

    @property
    def int8_flags(self) -> tuple[str, ...]:
        """Instruction sets made for bytes: AVX512-VNNI, AVX-VNNI, AMX-INT8, Arm's dot product and i8mm."""
        return tuple(flag for flag in self.flags if flag in _TOLD[:6])

    @property
    def bf16_flags(self) -> tuple[str, ...]:
        """Instruction sets for bfloat16."""
        return tuple(flag for flag in self.flags if flag in _TOLD[6:9])


def this_cpu() -> CpuFacts:
    """The CPU that runs this process."""
    if CPUINFO.is_file():
        return from_cpuinfo(CPUINFO.read_text(), architecture=platform.machine(), cores=usable_cores())
    if sys.platform == "darwin":
        return from_sysctl(_sysctl(), architecture=platform.machine(), cores=usable_cores())
    return CpuFacts(platform.processor() or "unknown CPU", platform.machine(), usable_cores(), (), known=False)


def from_cpuinfo(text: str, *, architecture: str, cores: int) -> CpuFacts:
    """Facts from the text of ``/proc/cpuinfo``, of its first processor; x86 writes ``flags``, Arm ``Features``."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip().lower(), value.strip())
    told = fields.get("flags", fields.get("features"))
    words = set((told or "").split())
    return CpuFacts(
        model=fields.get("model name") or platform.processor() or architecture,
        architecture=architecture,
        cores=cores,
        flags=tuple(flag for flag in _TOLD if flag in words),
        known=told is not None,
        mhz=_number(fields.get("cpu mhz", "")),
    )


def from_sysctl(text: str, *, architecture: str, cores: int) -> CpuFacts:
    """Facts from the lines ``name: value`` that macOS' sysctl prints; features are 0 or 1."""
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}
    words = {_SYSCTL[name] for name, value in fields.items() if name in _SYSCTL and value == "1"}
    return CpuFacts(
        model=fields.get("machdep.cpu.brand_string", "unknown CPU"),
        architecture=architecture,
        cores=cores,
        flags=tuple(flag for flag in _TOLD if flag in words),
        known=bool(_SYSCTL.keys() & fields.keys()),
    )


def usable_cores() -> int:
    """Cores that this process may run on, which a container may have narrowed."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _sysctl() -> str:
    """One name a call: sysctl ends with an error at the first that a machine does not know, and Intel knows no Arm."""
    names = ("machdep.cpu.brand_string", *_SYSCTL)
    runs = (subprocess.run(["sysctl", name], capture_output=True, text=True, check=False) for name in names)
    return "".join(run.stdout for run in runs if run.returncode == 0)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
