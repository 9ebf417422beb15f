"""Ranks candidate shapes by the speed that counts here: INT8 in OpenVINO on a CPU, one image a request.

Random weights are enough for a ranking: speed depends on the shapes and on which
operators run in INT8, not on the values.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import openvino as ov
import torch

from gistline.detection.quantise import quantise
from gistline.simulator.boards import render_board
from training.export import export_onnx
from training.model import CONFIGS, Detector


def random_detector(name: str) -> Detector:
    """A detector of a shape, untrained; its shifts are drawn too, as equal ones would be merged in the export."""
    detector = Detector(CONFIGS[name])
    for module in detector.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.bias, 0.0, 0.1)
            torch.nn.init.normal_(module.running_mean, 0.0, 0.1)
    return detector


class Lane:
    """One compiled model with two requests in flight, measured in turns with the others."""

    def __init__(self, core: ov.Core, path: Path) -> None:
        hints = {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": 2, "INFERENCE_PRECISION_HINT": "f32"}
        model = core.read_model(path)
        model.reshape([1, 3, 640, 640])
        self.compiled = core.compile_model(model, "CPU", hints)
        self.queue = ov.AsyncInferQueue(self.compiled, 2)
        self.image = np.random.default_rng(0).random((1, 3, 640, 640), np.float32)
        self.rates: list[float] = []

    def int8_convolutions(self) -> str:
        operators = self.compiled.get_runtime_model().get_ops()
        nodes = [n for n in operators if n.get_rt_info()["layerType"].astype(str) == "Convolution"]
        low = sum(n.get_rt_info()["runtimePrecision"].astype(str) in ("i8", "u8") for n in nodes)
        return f"{low}/{len(nodes)}"

    def turn(self, seconds: float) -> None:
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            self.queue.start_async({0: self.image})
            count += 1
        self.queue.wait_all()
        self.rates.append(count / (time.perf_counter() - start))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for the candidates' files")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("names", nargs="*", default=list(CONFIGS))
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    core = ov.Core()
    boards = [render_board(np.random.default_rng(seed)).image for seed in range(4)]
    lanes: dict[str, tuple[Lane, Lane]] = {}
    sizes: dict[str, float] = {}
    for name in options.names:
        detector = random_detector(name)
        sizes[name] = sum(p.numel() for p in detector.parameters()) / 1e6
        plain, small = options.work / f"{name}.onnx", options.work / f"{name}-int8.onnx"
        export_onnx(detector, plain, name=name)
        quantise(plain, boards, out=small)
        lanes[name] = Lane(core, plain), Lane(core, small)
    for _ in range(options.turns):
        for pair in lanes.values():
            for lane in pair:
                lane.turn(options.seconds)
    print_table(lanes, sizes)


def print_table(lanes: dict[str, tuple[Lane, Lane]], sizes: dict[str, float]) -> None:
    rates = {name: [statistics.median(lane.rates) for lane in pair] for name, pair in lanes.items()}
    first = next(iter(rates.values()))[1]
    print("| shape | parameters, M | INT8 convolutions | FP32 frames/s | INT8 frames/s | INT8, ratio to the first |")
    print("|---|---|---|---|---|---|")
    for name, (slow, fast) in rates.items():
        share = lanes[name][1].int8_convolutions()
        print(f"| {name} | {sizes[name]:.2f} | {share} | {slow:.1f} | {fast:.1f} | {fast / first:.2f} |")


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
