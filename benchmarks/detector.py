"""Accuracy and speed of a detector in FP32, BF16 and INT8, side by side in one run.

    python -m benchmarks.detector --deeppcb FOLDER [--split heldout] [--limit 100]
    python -m benchmarks.detector --simulated 100

Accuracy is that of the whole detector (letterbox, engine, NMS with the product's settings, detections from 0.001 on) by
COCO's rules at IoU 0.33 (DeepPCB's criterion), 0.50 and 0.50-0.95. Speed is the engines', all taking turns of a second,
so that a busy machine slows them alike: read the ratios.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from gistline.detection import hardware
from gistline.detection.candidates import select
from gistline.detection.evaluation import (
    COCO_THRESHOLDS,
    DEEPPCB_THRESHOLD,
    Accuracy,
    OperatingPoint,
    measure,
    operating_point,
)
from gistline.detection.model_file import bundled_path, read_model
from gistline.detection.openvino_engine import FloatPrecision, OpenVinoEngine
from gistline.detection.postprocess import Limits, to_detections
from gistline.detection.preprocess import letterbox
from gistline.settings import DetectionSettings, VerdictSettings
from training.samples import Sample, boards_sample, deeppcb_sample, detect_all

TURN_S = 1.0


@dataclass
class Variant:
    """One model in one precision, compiled, and what was measured of it."""

    name: str
    path: Path
    engine: OpenVinoEngine
    accuracy: Accuracy | None = None
    point: OperatingPoint | None = None


@dataclass
class Contestant:
    """Something whose frames a second are measured: ``run`` works for so many seconds and returns the frames done."""

    name: str
    run: Callable[[float], int]
    rates: list[float] = field(default_factory=list)


def load_sample(options: argparse.Namespace) -> Sample:
    if options.simulated:
        return boards_sample(options.simulated)
    if options.deeppcb is None:
        raise SystemExit("Name DeepPCB's folder (--deeppcb) or a number of simulated boards (--simulated).")
    return deeppcb_sample(options.deeppcb, options.split, limit=options.limit)


def open_variants(fp32: Path, int8: Path) -> list[Variant]:
    """FP32 first: the others are held against it. BF16 only where the CPU really runs it."""
    wanted: list[tuple[str, Path, FloatPrecision]] = [
        ("FP32", fp32, "f32"),
        ("BF16", fp32, "bf16"),
        ("INT8", int8, "f32"),
    ]
    variants = [
        Variant(name, path, OpenVinoEngine(read_model(path), float_precision=how)) for name, path, how in wanted
    ]
    for variant in variants:
        if variant.engine.info.precision != variant.name:
            print(f"{variant.name} is left out: this CPU runs it as {variant.engine.info.precision}.")
    return [variant for variant in variants if variant.engine.info.precision == variant.name]


def measure_accuracy(variants: Sequence[Variant], sample: Sample) -> None:
    for variant in variants:
        found = detect_all(variant.engine, sample.images)
        variant.accuracy = measure(found, sample.truth, variant.engine.info.labels)
        variant.point = operating_point(found, sample.truth, min_confidence=VerdictSettings().ng_confidence)


def bare_engine(variant: Variant, images: Sequence[NDArray[np.uint8]]) -> Contestant:
    """The engine with its filter of candidates on images that are letterboxed already, every stream busy."""
    least = DetectionSettings().min_confidence
    boxed = [letterbox(image, variant.engine.info.input_size)[0] for image in images[:32]]

    def run(seconds: float) -> int:
        deadline = time.perf_counter() + seconds

        def feed() -> Iterator[NDArray[np.uint8]]:
            for image in cycle(boxed):
                if time.perf_counter() >= deadline:
                    return
                yield image

        return sum(1 for _ in variant.engine.stream(feed(), least))

    return Contestant(variant.name, run)


def take_turns(contestants: Sequence[Contestant], *, rounds: int) -> None:
    """A second each in turn; the first round warms up and is not counted."""
    for number in range(rounds + 1):
        for contestant in contestants:
            begun = time.perf_counter()
            frames = contestant.run(TURN_S)
            if number:
                contestant.rates.append(frames / (time.perf_counter() - begun))


def time_stages(variant: Variant, images: Sequence[NDArray[np.uint8]]) -> dict[str, float]:
    """Milliseconds an image, on one thread, of what surrounds the engine."""
    size, labels = variant.engine.info.input_size, variant.engine.info.labels
    settings = DetectionSettings()
    limits = Limits(settings.min_confidence, settings.nms_iou, settings.max_detections)
    model = read_model(variant.path)
    boxed = [letterbox(image, size) for image in images[:32]]
    raws = variant.engine.infer(np.stack([image for image, _ in boxed]))
    found = list(variant.engine.stream(images[:32], limits.min_confidence))
    wide = [np.kron(image, np.ones((2, 3), np.uint8))[:1080, :1920] for image in images[:8]]
    return {
        "letterbox, grey as it comes": median_ms(lambda image: letterbox(image, size), images[:32]),
        "letterbox, grey 1920 x 1080": median_ms(lambda image: letterbox(image, size), wide),
        "filter": median_ms(lambda raw: select(raw, model.layout, limits.min_confidence), list(raws)),
        "NMS": median_ms(lambda one: to_detections(one, labels=labels, limits=limits), found),
    }


def median_ms(call: Callable[[Any], object], items: Sequence[Any]) -> float:
    times = []
    for item in [*items] * 3:
        begun = time.perf_counter()
        call(item)
        times.append(time.perf_counter() - begun)
    return 1000 * statistics.median(times)


def accuracy_table(variants: Sequence[Variant], sample: Sample) -> Table:
    boxes = sum(map(len, sample.truth))
    table = Table(title=f"Accuracy on {sample.name}: {len(sample.images)} images, {boxes} defects")
    for heading in ("", "INT8 convolutions", "mAP 0.33", "mAP 0.50", "mAP 0.50-0.95", "loss in points", "F-score"):
        table.add_column(heading, justify="right" if heading else "left")
    base = variants[0].accuracy
    for variant in variants:
        reached, point, info = variant.accuracy, variant.point, variant.engine.info
        assert base is not None
        assert reached is not None
        assert point is not None
        pairs = ((base.map33, reached.map33), (base.map50, reached.map50), (base.map50_95, reached.map50_95))
        table.add_row(
            variant.name,
            f"{info.int8_convolutions} of {info.convolutions}",
            *(f"{100 * mine:.2f}" for _, mine in pairs),
            " / ".join(f"{100 * (first - mine):.2f}" for first, mine in pairs),
            f"{100 * point.f_score:.2f}",
        )
    table.caption = f"F-score at IoU 0.33 and confidence {VerdictSettings().ng_confidence:g}"
    return table


def class_table(variants: Sequence[Variant]) -> Table:
    table = Table(title="Average precision by class: IoU 0.33 / 0.50 / 0.50-0.95")
    table.add_column("class")
    for variant in variants:
        table.add_column(variant.name, justify="right")
    for label in variants[0].engine.info.labels:
        cells = []
        for variant in variants:
            assert variant.accuracy is not None
            steps = ((DEEPPCB_THRESHOLD,), (0.5,), COCO_THRESHOLDS)
            cells.append(" / ".join(f"{100 * variant.accuracy.of_class(label, *step):.1f}" for step in steps))
        table.add_row(label, *cells)
    return table


def speed_table(contestants: Sequence[Contestant], variants: Sequence[Variant]) -> Table:
    info = variants[0].engine.info
    table = Table("", "median", "lowest", "highest", "ratio to FP32", title="Frames a second of the bare engines")
    first = contestants[0].rates
    for contestant in contestants:
        rates = contestant.rates
        ratio = statistics.median(mine / base for mine, base in zip(rates, first, strict=True))
        cells = (statistics.median(rates), min(rates), max(rates))
        table.add_row(contestant.name, *(f"{value:.1f}" for value in cells), f"{ratio:.2f}")
    streams = variants[0].engine.in_flight
    hardware = f"{info.device}, {os.cpu_count()} cores, {instruction_sets()}; {info.runtime}"
    table.caption = (
        f"{hardware}; {streams} streams of batch 1, {len(first)} rounds of {TURN_S:g} s; ratios within a round"
    )
    return table


def instruction_sets() -> str:
    """The instructions that decide how fast INT8 is."""
    return " ".join(hardware.cpu().flags) or "instruction sets unknown"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deeppcb", type=Path, help="folder of the repackaged DeepPCB")
    parser.add_argument("--split", choices=["heldout", "test_public"], default="test_public")
    parser.add_argument("--limit", type=int, default=0, help="take only so many images")
    parser.add_argument("--simulated", type=int, default=0, metavar="N", help="measure on N simulated boards instead")
    parser.add_argument("--rounds", type=int, default=8, help="turns that each engine takes; 0 leaves speed out")
    parser.add_argument("--fleet", action="store_true", help="then the whole system beside its engine")
    parser.add_argument("--fp32", type=Path, default=None, help="another FP32 model than the bundled one")
    parser.add_argument("--int8", type=Path, default=None, help="another INT8 model than the bundled one")
    return parser.parse_args()


def main() -> None:
    options, console = parse(), Console(width=120)
    sample = load_sample(options)
    variants = open_variants(options.fp32 or bundled_path("fp32"), options.int8 or bundled_path("int8"))
    measure_accuracy(variants, sample)
    console.print(accuracy_table(variants, sample), class_table(variants))
    if options.rounds:
        contestants = [bare_engine(variant, sample.images) for variant in variants]
        take_turns(contestants, rounds=options.rounds)
        console.print(speed_table(contestants, variants))
        stages = time_stages(variants[-1], sample.images)
        console.print("; ".join(f"{name}: {value:.2f} ms" for name, value in stages.items()))
    for variant in variants:
        variant.engine.close()
    if options.fleet:
        print_fleet()


def print_fleet() -> None:
    """Rows waiting to rows committed, beside the bare engine: see ``benchmarks.fleet``."""
    from benchmarks import fleet

    for line in fleet.measure("cpu", rounds=3).lines():
        print(line)


if __name__ == "__main__":
    main()
