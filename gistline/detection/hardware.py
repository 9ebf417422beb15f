"""Is INT8 worth it on this machine, and which choices are silly here: asked by the doctor and before every build."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from typing import Final, Literal

from gistline.detection.cpu_facts import CpuFacts, Int8Way, this_cpu
from gistline.detection.gpu_facts import Fp16Rate, GpuFacts, Int8Units, installed_gpus
from gistline.errors import HardwareUnfit

Precision = Literal["fp32", "fp16", "bf16", "int8"]

SAFE_WEIGHT_STEPS: Final = 64
"""2 x 255 x 64 fits into 16 bits with a sign, 2 x 255 x 127 does not."""
FULL_WEIGHT_STEPS: Final = 127
_PACKAGES: Final = {
    "openvino": ("openvino",),
    "tensorrt": ("tensorrt", "tensorrt-cu13", "tensorrt-cu12", "tensorrt-lean", "tensorrt-lean-cu13"),
    "pycuda": ("pycuda",),
    "onnx": ("onnx",),
    "numpy": ("numpy",),
}
_BYTES_A_PIXEL: Final = 3 * (1 + 4)
"""One RGB pixel as it comes and as the float that the first layer reads."""


class Gravity(StrEnum):
    """``REFUSE`` stops a build unless it is forced, ``WARN`` and ``NOTE`` only speak."""

    REFUSE = "refuse"
    WARN = "warn"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to know about a choice on this hardware; ``cure`` names the better choice."""

    gravity: Gravity
    message: str
    cure: str = ""


def cpu() -> CpuFacts:
    """The CPU that runs this process."""
    return this_cpu()


def gpus() -> tuple[GpuFacts, ...]:
    """GPUs that the NVIDIA driver shows; empty without a driver.

    Raises:
        EngineUnavailable: nvidia-smi is there and fails.

    """
    return installed_gpus()


def libraries() -> dict[str, str | None]:
    """Versions of what detection builds upon, None where it is not installed; nothing of it is imported."""
    return {name: next(_versions(packages), None) for name, packages in _PACKAGES.items()}


def weight_steps(cpu: CpuFacts) -> int:
    """The largest weight that INT8 models for this CPU may hold: 127 where products are summed in 32 bits, else 64.

    An unknown CPU gets 64, which is right everywhere and costs one bit of the weights.
    """
    return FULL_WEIGHT_STEPS if cpu.int8 in {Int8Way.MATRIX, Int8Way.DOT} else SAFE_WEIGHT_STEPS


def advise_weights(cpu: CpuFacts, steps: int) -> list[Advice]:
    """What to know before a model whose largest weight is ``steps`` runs in INT8 on this CPU."""
    if steps <= SAFE_WEIGHT_STEPS or weight_steps(cpu) == FULL_WEIGHT_STEPS:
        return []
    cure = f"Quantise with weight_steps={SAFE_WEIGHT_STEPS}."
    if not cpu.known:
        return [Advice(Gravity.WARN, f"Whether {cpu.model} sums INT8 products without saturation is unknown.", cure)]
    return [
        Advice(
            Gravity.REFUSE,
            f"{cpu.model} has no VNNI, AMX or dot product: it sums two products in 16 bits, which saturates with "
            f"weights up to {steps}.",
            cure,
        )
    ]


def advise_build(
    gpu: GpuFacts,
    precision: Precision,
    *,
    model_bytes: int,
    batch: int,
    input_size: tuple[int, int] = (640, 640),
    tensorrt: str | None = None,
) -> list[Advice]:
    """What to know before an engine is built for a GPU, gravest first.

    Args:
        gpu: where it would run.
        precision: what most of its convolutions would run in.
        model_bytes: size of the ONNX file.
        batch: most images at once.
        input_size: (height, width) of the input in pixels.
        tensorrt: version of TensorRT; None takes the installed one's, and asks nothing of it where there is none.

    """
    found = [
        *_about_tensorrt(gpu, tensorrt or libraries()["tensorrt"]),
        *_about_memory(gpu, 2 * model_bytes + 2 * batch * input_size[0] * input_size[1] * _BYTES_A_PIXEL),
        *(_about_int8(gpu) if precision == "int8" else _about_floats(gpu, precision)),
    ]
    return sorted(found, key=lambda advice: list(Gravity).index(advice.gravity))


def refuse_unless(force: bool, advice: Iterable[Advice]) -> None:
    """Stop a silly choice that the user did not insist on.

    Raises:
        HardwareUnfit: there is advice to refuse, and ``force`` is False.

    """
    grave = [one for one in advice if one.gravity is Gravity.REFUSE]
    if grave and not force:
        cures = [one.cure for one in grave if one.cure]
        raise HardwareUnfit(" ".join(one.message for one in grave), cure=" ".join([*cures, "Or insist, with --force."]))


def _versions(packages: tuple[str, ...]) -> Iterator[str]:
    for package in packages:
        try:
            yield version(package)
        except PackageNotFoundError:
            continue


def _about_int8(gpu: GpuFacts) -> Iterator[Advice]:
    has, where = gpu.abilities, _where(gpu)
    if has.int8 is Int8Units.NONE:
        yield Advice(Gravity.REFUSE, f"{where} has no INT8 arithmetic: FP32 code would stand in for it.", _instead(gpu))
    elif has.int8 is Int8Units.REDUCED:
        yield Advice(
            Gravity.REFUSE, f"{where} computes INT8 at a small part of its FP16 rate.", "Build with fp16 there."
        )
    elif has.int8 is Int8Units.DP4A and has.fp16 is Fp16Rate.SIXTY_FOURTH:
        yield Advice(
            Gravity.NOTE, f"{where} has DP4A dot products and no INT8 tensor cores: INT8 is its fastest, FP16 useless."
        )
    elif has.int8 is Int8Units.DP4A:
        yield Advice(
            Gravity.REFUSE,
            f"{where} has no INT8 tensor cores, only DP4A dot products, and fast FP16.",
            "Build with fp16 there.",
        )
    elif has.int8 is Int8Units.UNKNOWN:
        yield Advice(
            Gravity.WARN, f"{where} is newer than this table: measure INT8 against FP16.", "gistline bench A B"
        )
    elif has.smaller:
        yield Advice(Gravity.NOTE, f"{where} takes {' and '.join(has.smaller)} too.")


def _about_floats(gpu: GpuFacts, precision: Precision) -> Iterator[Advice]:
    has, where = gpu.abilities, _where(gpu)
    if precision == "fp16" and has.fp16 in {Fp16Rate.SIXTY_FOURTH, Fp16Rate.NONE}:
        rate = "at 1/64 of FP32's rate" if has.fp16 is Fp16Rate.SIXTY_FOURTH else "not at all"
        better = "int8 or fp32" if has.int8 is Int8Units.DP4A else "fp32"
        yield Advice(Gravity.REFUSE, f"{where} computes FP16 {rate}.", f"Build with {better} there.")
    if precision == "bf16" and has.int8 is not Int8Units.UNKNOWN and not has.bf16:
        yield Advice(Gravity.REFUSE, f"{where} has no BF16.", _instead(gpu))
    if precision == "fp32" and has.fp16 is Fp16Rate.TENSOR_CORES:
        yield Advice(Gravity.NOTE, f"{where} has tensor cores that FP32 leaves idle.", "Build with fp16 or int8.")


def _about_tensorrt(gpu: GpuFacts, installed: str | None) -> Iterator[Advice]:
    if installed is None:
        return
    release = _release(installed)
    least = (7, 5) if release >= (10, 5) else (7, 0) if release >= (10, 0) else (5, 0)
    if gpu.capability < least:
        needed = ".".join(map(str, least))
        yield Advice(
            Gravity.REFUSE,
            f"TensorRT {installed} starts at compute capability {needed}; {_where(gpu)} is below.",
            "Install TensorRT 8.6 for it, or use the CPU.",
        )
    if release < (10, 0) and gpu.capability >= (10, 0):
        yield Advice(
            Gravity.REFUSE, f"TensorRT {installed} is older than {_where(gpu)}.", "pip install 'gistline[gpu]'."
        )


def _about_memory(gpu: GpuFacts, needed: int) -> Iterator[Advice]:
    """Weights in the builder and in the engine, and the images in and out, are the least that a build takes."""
    megabytes = f"at least {needed / 1e6:,.0f} MB are needed"
    if gpu.memory_total and needed > gpu.memory_total:
        yield Advice(
            Gravity.REFUSE, f"{gpu.name} has {gpu.memory_total / 1e6:,.0f} MB; {megabytes}.", "Lower the batch."
        )
    elif gpu.memory_free and needed > gpu.memory_free:
        yield Advice(
            Gravity.WARN,
            f"{gpu.name} has {gpu.memory_free / 1e6:,.0f} MB free; {megabytes}.",
            "End what else runs on it, or lower the batch.",
        )


def _where(gpu: GpuFacts) -> str:
    major, minor = gpu.capability
    return f"{gpu.name} (compute capability {major}.{minor}, {gpu.abilities.architecture})"


def _instead(gpu: GpuFacts) -> str:
    fast = gpu.abilities.fp16 in {Fp16Rate.DOUBLE, Fp16Rate.TENSOR_CORES}
    return f"Build with {'fp16' if fast else 'fp32'} there."


def _release(text: str) -> tuple[int, int]:
    numbers = [int(part) if part.isdigit() else 0 for part in text.split(".")[:2]]
    return numbers[0], numbers[1] if len(numbers) > 1 else 0
