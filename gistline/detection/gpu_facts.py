"""NVIDIA GPUs as their driver tells of them, and what each compute capability means for small numbers.

Nothing of CUDA or TensorRT is loaded: nvidia-smi comes with the driver and answers in a process of its own. Rates are
those of NVIDIA's CUDA programming guide (throughput of arithmetic instructions); which tensor cores take what is from
TensorRT's support matrices.
"""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gistline.errors import EngineUnavailable

QUERY: Final = "name,compute_cap,memory.total,memory.free,driver_version"
_MIB: Final = 2**20
_CUDA: Final = re.compile(r"CUDA(?: \w+)? Version\s*:\s*(\d+(?:\.\d+)*)")


class Int8Units(StrEnum):
    """What computes INT8: ``REDUCED`` are tensor cores that do it so slowly that FP16 is faster."""

    NONE = "none"
    DP4A = "dp4a"
    TENSOR_CORES = "tensor cores"
    REDUCED = "reduced"
    UNKNOWN = "unknown"


class Fp16Rate(StrEnum):
    """Speed of FP16 beside FP32 on the same GPU."""

    NONE = "none"
    SIXTY_FOURTH = "1/64"
    DOUBLE = "double"
    TENSOR_CORES = "tensor cores"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a compute capability has: ``smaller`` names the floats below 16 bits that its tensor cores take."""

    architecture: str
    int8: Int8Units
    fp16: Fp16Rate
    bf16: bool = False
    smaller: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """One GPU: compute capability, memory in bytes (total, and free when asked), driver and the CUDA that it serves."""

    name: str
    capability: tuple[int, int]
    memory_total: int
    memory_free: int
    driver: str
    cuda: str

    @property
    def abilities(self) -> Abilities:
        """What its compute capability has."""
        return abilities(self.capability)


_NONE, _DP4A, _TENSOR = Int8Units.NONE, Int8Units.DP4A, Int8Units.TENSOR_CORES
_FAST: Final = Fp16Rate.TENSOR_CORES
_TABLE: Final[dict[tuple[int, int], Abilities]] = {
    (5, 0): Abilities("Maxwell", _NONE, Fp16Rate.NONE),
    (5, 2): Abilities("Maxwell", _NONE, Fp16Rate.NONE),
    (5, 3): Abilities("Maxwell (Jetson TX1)", _NONE, Fp16Rate.DOUBLE),
    (6, 0): Abilities("Pascal (P100)", _NONE, Fp16Rate.DOUBLE),
    (6, 1): Abilities("Pascal", _DP4A, Fp16Rate.SIXTY_FOURTH),
    (6, 2): Abilities("Pascal (Jetson TX2)", _DP4A, Fp16Rate.DOUBLE),
    (7, 0): Abilities("Volta", _DP4A, _FAST),
    (7, 2): Abilities("Volta (Jetson Xavier)", _TENSOR, _FAST),
    (7, 5): Abilities("Turing", _TENSOR, _FAST),
    (8, 0): Abilities("Ampere", _TENSOR, _FAST, bf16=True),
    (8, 6): Abilities("Ampere", _TENSOR, _FAST, bf16=True),
    (8, 7): Abilities("Ampere (Jetson Orin)", _TENSOR, _FAST, bf16=True),
    (8, 9): Abilities("Ada", _TENSOR, _FAST, bf16=True, smaller=("FP8",)),
    (9, 0): Abilities("Hopper", _TENSOR, _FAST, bf16=True, smaller=("FP8",)),
    (10, 0): Abilities("Blackwell (B200)", _TENSOR, _FAST, bf16=True, smaller=("FP8", "FP4")),
    (10, 1): Abilities("Blackwell (Thor before CUDA 13)", _TENSOR, _FAST, bf16=True, smaller=("FP8", "FP4")),
    (10, 3): Abilities("Blackwell Ultra (B300)", Int8Units.REDUCED, _FAST, bf16=True, smaller=("FP8", "FP4")),
    (11, 0): Abilities("Blackwell (Thor)", _TENSOR, _FAST, bf16=True, smaller=("FP8", "FP4")),
    (12, 0): Abilities("Blackwell (RTX)", _TENSOR, _FAST, bf16=True, smaller=("FP8", "FP4")),
    (12, 1): Abilities("Blackwell (GB10)", _TENSOR, _FAST, bf16=True, smaller=("FP8", "FP4")),
}
"""B300 and GB300 are sold with 0.15 INT8 POPS beside 2.25 FP16 PFLOPS, where B200 has 4.5 POPS."""


def abilities(capability: tuple[int, int]) -> Abilities:
    """What a compute capability has; one that is not in the table is said to be unknown, not guessed."""
    unknown = Abilities("unknown architecture", Int8Units.UNKNOWN, Fp16Rate.UNKNOWN)
    return _TABLE.get(capability, unknown)


def installed_gpus() -> tuple[GpuFacts, ...]:
    """GPUs that the NVIDIA driver shows; empty where there is no driver.

    Raises:
        EngineUnavailable: nvidia-smi is there and fails or answers what is not understood.

    """
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    try:
        rows = _output([program, f"--query-gpu={QUERY}", "--format=csv,noheader,nounits"])
        return parse_gpus(rows, cuda=parse_cuda(_output([program])))
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise EngineUnavailable(
            f"nvidia-smi fails: {error}.", cure="Mend the driver, or do without: the CPU needs none."
        ) from error


def parse_gpus(rows: str, *, cuda: str) -> tuple[GpuFacts, ...]:
    """Facts from nvidia-smi's answer to :data:`QUERY`, memory in MiB.

    Raises:
        ValueError: a row has another form.

    """
    cells = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(rows)) if row]
    return tuple(
        GpuFacts(name, _capability(capability), _bytes(total), _bytes(free), driver, cuda)
        for name, capability, total, free, driver in cells
    )


def parse_cuda(banner: str) -> str:
    """The CUDA version that the driver serves, from nvidia-smi's banner; "" where it tells none."""
    found = _CUDA.search(banner)
    return found.group(1) if found else ""


def _capability(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor or 0)


def _bytes(mebibytes: str) -> int:
    """0 where the driver tells none: GPUs that share the machine's memory answer [N/A]."""
    return int(mebibytes) * _MIB if mebibytes.isdigit() else 0


def _output(argv: list[str]) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout
