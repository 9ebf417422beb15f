"""How near the engine comes to what this CPU can do at most, and what holds the rest back, layer by layer.

    python -m benchmarks.cpu_peak [--model FILE] [--layers 20]

Three things take turns of a second on the same cores: loops of nothing but multiply-adds in registers (the peak of the
instructions, from ``cpu_peak.c``, built with the C compiler at hand), one large INT8 convolution in OpenVINO (what it
reaches with the best of shapes), and the engine with every stream busy. Then one stream is profiled layer by layer.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino
from onnx import helper, numpy_helper
from rich.console import Console
from rich.table import Table

from gistline.detection import hardware
from gistline.detection.cpu_facts import CpuFacts
from gistline.detection.model_file import ModelFile, bundled_path, read_model
from gistline.detection.openvino_engine import OpenVinoEngine, compile_model
from gistline.flows.bench_engines import rendered_images
from gistline.frames.decode import decode
from gistline.settings_frames import FrameSettings

SOURCE = Path(__file__).with_suffix(".c")
TURN_S = 1.0
CONVOLUTION = (256, 80)
"""Channels in and out, and side, of the large convolution: 3.8 GMAC, 1.6 MB in."""


@dataclass(frozen=True)
class Layer:
    """One node of the compiled graph: milliseconds at best, multiply-adds, how it was executed, its shapes."""

    name: str
    kind: str
    executed: str
    milliseconds: float
    macs: int
    shapes: str


def build_peak(folder: Path) -> Path | None:
    """The loops as a program; None without a C compiler or on another architecture than x86."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or hardware.cpu().architecture not in {"x86_64", "AMD64"}:
        return None
    program = folder / "cpu_peak"
    subprocess.run([compiler, "-O2", "-pthread", str(SOURCE), "-o", str(program)], check=True)
    return program


def peak(program: Path, cpu: CpuFacts, *, threads: int, seconds: float) -> dict[str, float]:
    """Clock in GHz and billions of multiply-adds a second, of all threads; so many seconds for each loop."""
    dots = {"avx512_vnni": ["vnni512"], "avx_vnni": ["vnni256"]}
    extra = next((word for flag, word in dots.items() if flag in cpu.flags), [])
    extra = [*extra, *(["amx"] if "amx_int8" in cpu.flags else [])]
    answer = subprocess.run(
        [str(program), str(threads), str(seconds), *extra], check=True, capture_output=True, text=True
    )
    return {name: float(value) for name, value in json.loads(answer.stdout).items()}


def large_convolution() -> bytes:
    """An ONNX file of one quantised 3x3 convolution."""
    channels, side = CONVOLUTION
    rng = np.random.default_rng(0)
    weights = rng.integers(-64, 65, (channels, channels, 3, 3)).astype(np.int8)
    values: dict[str, Any] = {
        "scale": np.array(1 / 255, np.float32),
        "zero": np.array(0, np.uint8),
        "weights": weights,
        "steps": np.full(channels, 1e-3, np.float32),
        "zeros": np.zeros(channels, np.int8),
    }
    quantised = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "scale", "zero"], ["xd"]),
        helper.make_node("DequantizeLinear", ["weights", "steps", "zeros"], ["wd"], axis=0),
        helper.make_node("Conv", ["xd", "wd"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("QuantizeLinear", ["r", "scale", "zero"], ["rq"]),
        helper.make_node("DequantizeLinear", ["rq", "scale", "zero"], ["rd"]),
        helper.make_node("MaxPool", ["rd"], ["y"], kernel_shape=[side, side]),
    ]
    shape = [1, channels, side, side]
    graph = helper.make_graph(
        quantised,
        "peak",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, channels, 1, 1])],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def open_convolution() -> Callable[[float], float]:
    """Billions of multiply-adds a second of the large convolution, one a core."""
    core = openvino.Core()
    processor = openvino.preprocess.PrePostProcessor(core.read_model(large_convolution(), b""))
    processor.input().tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    processor.input().model().set_layout(openvino.Layout("NCHW"))
    processor.input().preprocess().convert_element_type(openvino.Type.f32).scale(255.0)
    options = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"}
    queue = openvino.AsyncInferQueue(core.compile_model(processor.build(), "CPU", options))
    channels, side = CONVOLUTION
    pixels = np.random.default_rng(1).integers(0, 256, (1, side, side, channels), np.uint8)

    def run(seconds: float) -> float:
        done, begun = 0, time.perf_counter()
        while time.perf_counter() - begun < seconds:
            queue.start_async({0: pixels})
            done += 1
        queue.wait_all()
        return done * channels * channels * 9 * side * side / (time.perf_counter() - begun) / 1e9

    return run


def engine_rate(engine: OpenVinoEngine, images: list[Any], seconds: float) -> float:
    """Images a second, every stream busy, at a threshold as in service."""
    deadline = time.perf_counter() + seconds

    def feed() -> Any:
        for image in cycle(images):
            if time.perf_counter() >= deadline:
                return
            yield image

    begun = time.perf_counter()
    return sum(1 for _ in engine.stream(feed(), 0.25)) / (time.perf_counter() - begun)


def profile(model: ModelFile, image: Any, *, rounds: int = 40) -> list[Layer]:
    """Each node's best of the rounds, on one thread."""
    options = {"NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": 1, "PERF_COUNT": True, "INFERENCE_PRECISION_HINT": "f32"}
    compiled, pruned = compile_model(model, options)
    request = compiled.create_infer_request()
    request.set_input_tensor(0, openvino.Tensor(np.ascontiguousarray(image[None])))
    if pruned:
        request.set_input_tensor(1, openvino.Tensor(np.array([0.25], np.float32)))
    best: dict[str, tuple[float, str, str]] = {}
    for _ in range(rounds):
        request.infer()
        for node in request.profiling_info:
            spent = 1000 * node.real_time.total_seconds()
            before = best.get(node.node_name, (spent, "", ""))[0]
            best[node.node_name] = (min(before, spent), node.node_type, node.exec_type)
    work = {node.get_friendly_name(): macs(node) for node in compiled.get_runtime_model().get_ops()}
    return [
        Layer(name, kind, executed, spent, *work.get(name, (0, ""))) for name, (spent, kind, executed) in best.items()
    ]


def macs(node: Any) -> tuple[int, str]:
    """Multiply-adds of a convolution of the executed graph and its shapes; nothing of other nodes."""
    if node.get_rt_info()["layerType"].astype(str) != "Convolution" or node.get_input_size() < 2:
        return 0, ""
    given, weights, made = (list(tensor.get_shape()) for tensor in (node.input(0), node.input(1), node.output(0)))
    done = int(np.prod(made) * np.prod(weights[1:]))
    return (
        done,
        f"{given[1]} x {given[2]} x {given[3]} -> {made[1]} x {made[2]} x {made[3]}, {weights[2]} x {weights[3]}",
    )


def layer_table(layers: list[Layer], most_of_one: float, *, most: int) -> Table:
    whole, work = sum(layer.milliseconds for layer in layers), sum(layer.macs for layer in layers)
    reached = f"{work / whole / 1e6:.1f} of {most_of_one:.1f} GMAC/s ({work / whole / 1e6 / most_of_one:.0%})"
    table = Table("layer", "executed as", title=f"One stream, one thread: {whole:.2f} ms an image, {reached}")
    for heading in ("ms", "share", "GMAC/s", "of peak", "lost ms"):
        table.add_column(heading, justify="right")
    for layer in sorted(layers, key=lambda layer: -lost(layer, most_of_one))[:most]:
        rate = layer.macs / layer.milliseconds / 1e6 if layer.milliseconds else 0.0
        table.add_row(
            layer.shapes or f"{layer.kind} {layer.name}"[-60:],
            layer.executed,
            f"{layer.milliseconds:.3f}",
            f"{layer.milliseconds / whole:.1%}",
            f"{rate:.0f}" if layer.macs else "",
            f"{rate / most_of_one:.0%}" if layer.macs else "",
            f"{lost(layer, most_of_one):.3f}",
        )
    return table


def lost(layer: Layer, most_of_one: float) -> float:
    """Milliseconds beyond what its multiply-adds would take at the peak."""
    return layer.milliseconds - layer.macs / most_of_one / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=None, help="another INT8 detector than the bundled one")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--layers", type=int, default=20, help="how many layers are listed, by time lost")
    given = parser.parse_args()
    model = read_model(given.model or bundled_path("int8"))
    with tempfile.TemporaryDirectory() as folder:
        report(model, build_peak(Path(folder)), rounds=given.rounds, most=given.layers)


def report(model: ModelFile, program: Path | None, *, rounds: int, most: int) -> None:
    cpu, console = hardware.cpu(), Console(width=140)
    images = [decode(data, FrameSettings()) for data in rendered_images(16)]
    engine, convolution = OpenVinoEngine(model), open_convolution()
    turns: dict[str, list[float]] = {"convolution": [], "engine": []}
    for _ in range(rounds):
        found = peak(program, cpu, threads=cpu.cores, seconds=TURN_S / 4) if program else {}
        for name, value in found.items():
            turns.setdefault(name, []).append(value)
        turns["convolution"].append(convolution(TURN_S))
        turns["engine"].append(engine_rate(engine, images, TURN_S))
    size = engine.info.input_size
    layers = profile(model, np.full((*size, 3), 114, np.uint8))
    work = sum(layer.macs for layer in layers) / 1e9
    console.print(peak_table(turns, work, cpu, engine))
    one = peak_of_one(program, cpu) if program else max(turns["convolution"]) / cpu.cores
    console.print(layer_table(layers, one, most=most))


def peak_of_one(program: Path, cpu: CpuFacts) -> float:
    """INT8 peak of one core: the best of short turns, as the layers' times are the best of short runs."""
    found = [peak(program, cpu, threads=1, seconds=0.02) for _ in range(20)]
    return max(turn.get("amx", turn.get("vnni", turn["pairs"])) for turn in found)


def peak_table(turns: dict[str, list[float]], work: float, cpu: CpuFacts, engine: OpenVinoEngine) -> Table:
    title = f"{cpu.model}, {cpu.cores} cores, {' '.join(cpu.flags)}; {engine.info.runtime}; {work:.3f} GMAC an image"
    table = Table("", "median", "best", "engine's share of it", title=title)
    rates = [work * rate for rate in turns["engine"]]
    names = {
        "ghz": "clock, GHz",
        "fp32": "FP32 multiply-adds, GMAC/s",
        "pairs": "INT8 by 16-bit pairs, GMAC/s",
        "vnni": "INT8 by VNNI, GMAC/s",
        "amx": "INT8 by AMX tiles, GMAC/s",
        "convolution": "one large INT8 convolution, GMAC/s",
    }
    for name, words in names.items():
        if name in turns:
            share = statistics.median(mine / its for mine, its in zip(rates, turns[name], strict=True))
            told = "" if name == "ghz" else f"{share:.1%}"
            table.add_row(words, f"{statistics.median(turns[name]):.1f}", f"{max(turns[name]):.1f}", told)
    table.add_row("engine, GMAC/s", f"{statistics.median(rates):.1f}", f"{max(rates):.1f}", "")
    table.add_row("engine, images/s", f"{statistics.median(turns['engine']):.1f}", f"{max(turns['engine']):.1f}", "")
    return table


if __name__ == "__main__":
    main()
