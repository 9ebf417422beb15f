"""What the processors of this machine are good for, in the doctor's words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from gistline.cli.checks import Check, State
from gistline.detection import hardware
from gistline.detection.cpu_facts import CpuFacts, Int8Way
from gistline.detection.gpu_facts import GpuFacts
from gistline.detection.hardware import Gravity
from gistline.errors import EngineUnavailable
from gistline.flows.compare_precisions import PrecisionSpeed, last_comparison
from gistline.settings import Settings

BUNDLED_BYTES = 5_000_000
"""Size of the bundled detector, to the megabyte: small beside any GPU's memory."""
_EXPECTED = {
    Int8Way.MATRIX: "INT8 runs on matrix units: faster than FP32",
    Int8Way.DOT: "INT8 runs on dot products: about 3 x FP32 where it was measured",
    Int8Way.PAIRS: "INT8 is put together from 16-bit sums: about 2 x FP32 where it was measured",
    Int8Way.UNKNOWN: "the system tells no instruction sets, so nothing is expected",
}


def examine(settings: Settings) -> Iterator[Check]:
    """CPU, GPUs, and whether INT8 is faster here."""
    facts = hardware.cpu()
    yield cpu(facts)
    try:
        found = hardware.gpus()
    except EngineUnavailable as error:
        yield Check("gpu", State.ABSENT, error.message, error.cure)
    else:
        yield from map(gpu, found)
        if not found:
            yield Check("gpu", State.ABSENT, "no nvidia-smi, so no NVIDIA GPU", "None is needed.")
    yield int8(facts, last_comparison(settings))


def cpu(facts: CpuFacts) -> Check:
    """Model, usable cores and the instructions that matter."""
    if not facts.known:
        found = f"{facts.model}, {facts.cores} cores, instruction sets unknown"
        return Check("cpu", State.ABSENT, found, "Needs no cure: INT8 models run with weights up to 64.")
    found = (
        f"{facts.model}, {facts.cores} cores, INT8 by {' '.join(facts.int8_flags) or 'none'}, "
        f"BF16 by {' '.join(facts.bf16_flags) or 'none'}"
    )
    if facts.int8_flags:
        return Check("cpu", State.OK, found)
    return Check("cpu", State.ABSENT, found, "Needs no cure: INT8 runs here too, but gains less over FP32.")


def gpu(facts: GpuFacts) -> Check:
    """Name, what its compute capability means for INT8 and FP16, memory, driver, CUDA."""
    has, (major, minor) = facts.abilities, facts.capability
    memory = f"{facts.memory_total / 2**30:.1f} GiB" if facts.memory_total else "memory shared with the CPU"
    found = (
        f"{facts.name}, compute capability {major}.{minor} ({has.architecture}), {memory}, driver {facts.driver}, "
        f"CUDA {facts.cuda or 'unknown'}, INT8: {has.int8}, FP16: {has.fp16}"
    )
    if has.smaller:
        found += f", also {' '.join(has.smaller)}"
    advice = hardware.advise_build(facts, "int8", model_bytes=BUNDLED_BYTES, batch=1)
    grave = [one for one in advice if one.gravity is not Gravity.NOTE]
    if not grave:
        return Check("gpu", State.OK, found)
    return Check("gpu", State.ABSENT, found, " ".join(f"{one.message} {one.cure}" for one in grave))


def int8(facts: CpuFacts, measured: PrecisionSpeed | None) -> Check:
    """Whether INT8 is faster on this CPU: by the figure kept, else what is expected; and the weights it may hold."""
    steps = f"weights up to {hardware.weight_steps(facts)}"
    if measured is None:
        return Check(
            "int8", State.ABSENT, f"not measured here; {_EXPECTED[facts.int8]}; {steps}", "gistline doctor --bench"
        )
    found = (
        f"{measured.ratio:.2f} x FP32 ({measured.low:.2f} to {measured.high:.2f}), {measured.int8_rate:.1f} against "
        f"{measured.fp32_rate:.1f} images/s, measured here {measured.measured_at}; {steps}"
    )
    if measured.low > 1:
        return Check("int8", State.OK, found)
    return Check("int8", State.ABSENT, found, "Measure again on an idle machine, or run detection.precision=fp32.")


def as_json(settings: Settings) -> dict[str, Any]:
    """The facts behind the checks, in fields."""
    facts = hardware.cpu()
    measured = last_comparison(settings)
    return {
        "cpu": {**asdict(facts), "int8": facts.int8, "weight_steps": hardware.weight_steps(facts)},
        "gpus": [{**asdict(gpu), "abilities": asdict(gpu.abilities)} for gpu in _gpus()],
        "libraries": hardware.libraries(),
        "int8_speed": asdict(measured) if measured else None,
    }


def _gpus() -> tuple[GpuFacts, ...]:
    """None where the driver fails: the check beside says why."""
    try:
        return hardware.gpus()
    except EngineUnavailable:
        return ()
