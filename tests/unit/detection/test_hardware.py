"""What INT8 means on hardware that no single machine has: recorded words of systems, expectations written by hand."""

from __future__ import annotations

import pytest

from gistline.detection import hardware
from gistline.detection.cpu_facts import CpuFacts, Int8Way, from_cpuinfo, from_sysctl
from gistline.detection.gpu_facts import Fp16Rate, GpuFacts, Int8Units, abilities, parse_cuda, parse_gpus
from gistline.detection.hardware import Advice, Gravity, Precision, advise_build, advise_weights, refuse_unless
from gistline.errors import HardwareUnfit

HASWELL = "processor\t: 0\nmodel name\t: Intel(R) Core(TM) i5-4460\ncpu MHz\t\t: 3200.0\nflags\t\t: fpu sse2 avx2\n"
SKYLAKE_X = "model name\t: Intel(R) Xeon(R) Gold 6148\nflags\t\t: avx2 avx512f avx512bw\n"
ICE_LAKE = "model name\t: Intel(R) Xeon(R) Platinum 8380\nflags\t\t: avx2 avx512f avx512_vnni\n"
ALDER_LAKE = "model name\t: 12th Gen Intel(R) Core(TM) i7-12700\nflags\t\t: avx2 avx_vnni\n"
SAPPHIRE = (
    "model name\t: Xeon\nflags\t: avx2 avx512_vnni avx_vnni amx_bf16 avx512_bf16 amx_tile amx_int8\n\nflags: fpu\n"
)
ZEN4 = "model name\t: AMD EPYC 9354\nflags\t\t: avx2 avx512f avx512_vnni avx512_bf16\n"
PI4 = "processor\t: 0\nFeatures\t: fp asimd evtstrm crc32\n"
GRAVITON2 = "processor\t: 0\nFeatures\t: fp asimd asimddp\n"
GRAVITON3 = "processor\t: 0\nFeatures\t: fp asimd asimddp i8mm bf16\n"
APPLE = "machdep.cpu.brand_string: Apple M2\nhw.optional.arm.FEAT_DotProd: 1\nhw.optional.arm.FEAT_I8MM: 1\n"


def cpu(text: str) -> CpuFacts:
    return from_cpuinfo(text, architecture="machine", cores=4)


@pytest.mark.parametrize(
    ("text", "way", "steps", "int8", "bf16"),
    [
        (HASWELL, Int8Way.PAIRS, 64, (), ()),
        (SKYLAKE_X, Int8Way.PAIRS, 64, (), ()),
        (ICE_LAKE, Int8Way.DOT, 127, ("avx512_vnni",), ()),
        (ALDER_LAKE, Int8Way.DOT, 127, ("avx_vnni",), ()),
        (SAPPHIRE, Int8Way.MATRIX, 127, ("amx_int8", "avx512_vnni", "avx_vnni"), ("amx_bf16", "avx512_bf16")),
        (ZEN4, Int8Way.DOT, 127, ("avx512_vnni",), ("avx512_bf16",)),
        (PI4, Int8Way.PAIRS, 64, (), ()),
        (GRAVITON2, Int8Way.DOT, 127, ("asimddp",), ()),
        (GRAVITON3, Int8Way.MATRIX, 127, ("i8mm", "asimddp"), ("bf16",)),
        ("processor\t: 0\n", Int8Way.UNKNOWN, 64, (), ()),
        ("", Int8Way.UNKNOWN, 64, (), ()),
    ],
)
def test_what_a_cpu_does_with_bytes(
    text: str, way: Int8Way, steps: int, int8: tuple[str, ...], bf16: tuple[str, ...]
) -> None:
    facts = cpu(text)
    assert (facts.int8, hardware.weight_steps(facts)) == (way, steps)
    assert (facts.int8_flags, facts.bf16_flags) == (int8, bf16)
    assert facts.known == (way is not Int8Way.UNKNOWN)


def test_the_first_processor_names_model_and_clock() -> None:
    assert (cpu(HASWELL).model, cpu(HASWELL).mhz) == ("Intel(R) Core(TM) i5-4460", 3200.0)
    assert cpu("cpu MHz\t: unknown\n").mhz == 0.0


def test_a_mac_tells_by_sysctl() -> None:
    facts = from_sysctl(APPLE, architecture="arm64", cores=8)
    assert (facts.model, facts.int8, facts.int8_flags) == ("Apple M2", Int8Way.MATRIX, ("i8mm", "asimddp"))
    old = from_sysctl("hw.optional.avx2_0: 1\nhw.optional.avx512vnni: 0\n", architecture="x86_64", cores=4)
    assert (old.int8, old.flags) == (Int8Way.PAIRS, ("avx2",))
    assert not from_sysctl("", architecture="x86_64", cores=4).known


def test_this_machine_is_told() -> None:
    facts = hardware.cpu()
    assert facts.cores >= 1
    assert hardware.weight_steps(facts) in {64, 127}
    assert hardware.libraries()["openvino"]


@pytest.mark.parametrize(
    ("capability", "int8", "fp16", "bf16", "smaller"),
    [
        ((5, 2), Int8Units.NONE, Fp16Rate.NONE, False, ()),
        ((5, 3), Int8Units.NONE, Fp16Rate.DOUBLE, False, ()),
        ((6, 0), Int8Units.NONE, Fp16Rate.DOUBLE, False, ()),
        ((6, 1), Int8Units.DP4A, Fp16Rate.SIXTY_FOURTH, False, ()),
        ((6, 2), Int8Units.DP4A, Fp16Rate.DOUBLE, False, ()),
        ((7, 0), Int8Units.DP4A, Fp16Rate.TENSOR_CORES, False, ()),
        ((7, 2), Int8Units.TENSOR_CORES, Fp16Rate.TENSOR_CORES, False, ()),
        ((7, 5), Int8Units.TENSOR_CORES, Fp16Rate.TENSOR_CORES, False, ()),
        ((8, 0), Int8Units.TENSOR_CORES, Fp16Rate.TENSOR_CORES, True, ()),
        ((8, 6), Int8Units.TENSOR_CORES, Fp16Rate.TENSOR_CORES, True, ()),
        ((8, 7), Int8Units.TENSOR_CORES, Fp16Rate.TENSOR_CORES, True, ()),
        ((8, 9), Int8Units.TENSOR_CORES, Fp16Rate.TENSOR_CORES, True, ("FP8",)),
        ((9, 0), Int8Units.TENSOR_CORES, Fp16Rate.TENSOR_CORES, True, ("FP8",)),
        ((10, 0), Int8Units.TENSOR_CORES, Fp16Rate.TENSOR_CORES, True, ("FP8", "FP4")),
        ((10, 3), Int8Units.REDUCED, Fp16Rate.TENSOR_CORES, True, ("FP8", "FP4")),
        ((11, 0), Int8Units.TENSOR_CORES, Fp16Rate.TENSOR_CORES, True, ("FP8", "FP4")),
        ((12, 0), Int8Units.TENSOR_CORES, Fp16Rate.TENSOR_CORES, True, ("FP8", "FP4")),
        ((12, 1), Int8Units.TENSOR_CORES, Fp16Rate.TENSOR_CORES, True, ("FP8", "FP4")),
        ((42, 0), Int8Units.UNKNOWN, Fp16Rate.UNKNOWN, False, ()),
    ],
)
def test_what_a_compute_capability_has(
    capability: tuple[int, int], int8: Int8Units, fp16: Fp16Rate, *, bf16: bool, smaller: tuple[str, ...]
) -> None:
    has = abilities(capability)
    assert (has.int8, has.fp16, has.bf16, has.smaller) == (int8, fp16, bf16, smaller)


def test_nvidia_smi_is_understood() -> None:
    rows = "NVIDIA H100 80GB HBM3, 9.0, 81559, 81079, 580.95.05\nOrin, 8.7, [N/A], [N/A], 540.4.0\n"
    first, second = parse_gpus(rows, cuda="13.0")
    assert first == GpuFacts("NVIDIA H100 80GB HBM3", (9, 0), 81559 * 2**20, 81079 * 2**20, "580.95.05", "13.0")
    assert (second.capability, second.memory_total, second.memory_free) == ((8, 7), 0, 0)
    assert parse_gpus("", cuda="") == ()
    with pytest.raises(ValueError, match="not enough values"):
        parse_gpus("No devices were found\n", cuda="")


@pytest.mark.parametrize(
    ("banner", "version"),
    [
        ("| NVIDIA-SMI 580.95.05   Driver Version: 580.95.05   CUDA Version: 13.0     |", "13.0"),
        ("| NVIDIA-SMI 590.1  Driver Version: 590.1  CUDA UMD Version: 13.1 |", "13.1"),
        ("| NVIDIA-SMI 384.81  Driver Version: 384.81 |", ""),
    ],
)
def test_the_driver_names_its_cuda(banner: str, version: str) -> None:
    assert parse_cuda(banner) == version


def gpu(*capability: int, memory: int = 16, free: int = 16) -> GpuFacts:
    return GpuFacts("Card", (capability[0], capability[1]), memory * 2**30, free * 2**30, "580.95", "13.0")


@pytest.mark.parametrize(
    ("capability", "precision", "message"),
    [
        ((6, 0), "int8", "no INT8 arithmetic"),
        ((7, 0), "int8", "no INT8 tensor cores"),
        ((6, 2), "int8", "no INT8 tensor cores"),
        ((10, 3), "int8", "small part of its FP16 rate"),
        ((6, 1), "fp16", "1/64 of FP32's rate"),
        ((5, 2), "fp16", "not at all"),
        ((7, 5), "bf16", "no BF16"),
    ],
)
def test_silly_builds_are_refused_unless_forced(
    capability: tuple[int, int], precision: Precision, message: str
) -> None:
    advice = advise_build(gpu(*capability), precision, model_bytes=5_000_000, batch=8, tensorrt="8.6.1")
    refused = [one for one in advice if one.gravity is Gravity.REFUSE]
    assert any(message in one.message for one in refused)
    assert any("Build with" in one.cure for one in refused)
    refuse_unless(True, advice)
    with pytest.raises(HardwareUnfit, match=message) as caught:
        refuse_unless(False, advice)
    assert "--force" in caught.value.cure


@pytest.mark.parametrize(
    ("capability", "precision"),
    [((6, 1), "int8"), ((7, 2), "int8"), ((7, 5), "int8"), ((8, 9), "int8"), ((9, 0), "int8"), ((7, 0), "fp16")],
)
def test_sensible_builds_are_not_refused(capability: tuple[int, int], precision: Precision) -> None:
    refuse_unless(False, advise_build(gpu(*capability), precision, model_bytes=5_000_000, batch=8, tensorrt="8.6.1"))


@pytest.mark.parametrize(
    ("release", "capability", "refused"),
    [
        ("11.4.0", (7, 5), False),
        ("11.4.0", (7, 0), True),
        ("10.5.0", (7, 0), True),
        ("10.1.0", (7, 0), False),
        ("10.1.0", (6, 1), True),
        ("8.6.1", (6, 1), False),
        ("8.6.1", (9, 0), False),
        ("8.6.1", (12, 0), True),
    ],
)
def test_a_release_of_tensorrt_serves_certain_gpus(release: str, capability: tuple[int, int], *, refused: bool) -> None:
    advice = advise_build(gpu(*capability), "fp32", model_bytes=1, batch=1, tensorrt=release)
    about = [one for one in advice if f"TensorRT {release}" in one.message and one.gravity is Gravity.REFUSE]
    assert bool(about) == refused


def test_what_does_not_fit_into_the_memory_is_refused() -> None:
    # 2 x 600 MB of weights, and 2 x 1,000 images of 640 x 640 x 3 bytes and floats: 1.2 + 12.3 GB.
    heavy = advise_build(gpu(8, 6, memory=8), "int8", model_bytes=600_000_000, batch=1_000)
    assert heavy[0].gravity is Gravity.REFUSE
    assert "Card has 8,590 MB; at least 13,488 MB are needed" in heavy[0].message
    busy = advise_build(gpu(8, 6, memory=24, free=1), "int8", model_bytes=600_000_000, batch=1_000)
    assert [one.gravity for one in busy] == [Gravity.WARN]
    assert advise_build(gpu(8, 7, memory=0, free=0), "int8", model_bytes=10**12, batch=1) == []


def test_an_unknown_gpu_is_warned_of_not_refused() -> None:
    [advice] = advise_build(gpu(42, 0), "int8", model_bytes=1, batch=1)
    assert (advice.gravity, "newer than this table" in advice.message) == (Gravity.WARN, True)


def test_weights_that_would_saturate_are_refused() -> None:
    [advice] = advise_weights(cpu(HASWELL), 127)
    assert (advice.gravity, advice.cure) == (Gravity.REFUSE, "Quantise with weight_steps=64.")
    assert advise_weights(cpu(HASWELL), 64) == advise_weights(cpu(ZEN4), 127) == []
    assert [one.gravity for one in advise_weights(cpu(""), 127)] == [Gravity.WARN]


def test_every_refusal_is_told_at_once() -> None:
    advice = [
        Advice(Gravity.REFUSE, "One.", "Cure one."),
        Advice(Gravity.WARN, "Two."),
        Advice(Gravity.REFUSE, "Three."),
    ]
    with pytest.raises(HardwareUnfit) as caught:
        refuse_unless(False, advice)
    assert (caught.value.message, caught.value.cure) == ("One. Three.", "Cure one. Or insist, with --force.")
    refuse_unless(False, advice[1:2])
