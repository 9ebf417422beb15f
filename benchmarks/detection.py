"""What each choice in quantising a detector costs and buys: every recipe side by side in one run.

    python -m benchmarks.detection --deeppcb FOLDER --out FOLDER
    python -m benchmarks.detection                                  # rendered boards in DeepPCB's place

FP32, then INT8 by {entropy, percentile, min-max} x {weights per channel, per tensor} x {last convolutions of the head
kept in float, quantised too, kept with activations clamped to 0..6}; then the whole head kept. Accuracy is that of the
whole detector, detections from 0.001 on, COCO's rules; calibration never sees the images measured on. Speed is the
engines', taking turns, so that a busy machine slows them alike: read the ratios. Writes a table (detection.md), the
figures (detection.json) and a picture (detection.svg).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.detector import TURN_S, Contestant, Variant, bare_engine, instruction_sets, take_turns
from gistline.detection import hardware
from gistline.detection.evaluation import Accuracy, measure
from gistline.detection.model_file import bundled_path, read_model
from gistline.detection.openvino_engine import OpenVinoEngine
from gistline.detection.pareto_picture import Mark, draw_marks
from gistline.detection.placement import Head, Spare
from gistline.detection.quantise import Recipe, collect_ranges, write_quantised
from gistline.detection.ranges import Method
from training.samples import Sample, boards_sample, calibration_images, deeppcb_sample, detect_all

METHODS = (Method.ENTROPY, Method.PERCENTILE, Method.MINMAX)
HEADS = {
    "head kept": (Spare(Head.LAST), None),
    "head quantised": (Spare(Head.NONE), None),
    "head kept, clamp 6": (Spare(Head.LAST), 6.0),
}
WHOLE = "whole head kept"
FP32 = "FP32"


@dataclass(frozen=True)
class Key:
    """One recipe, by what is compared; FP32 has a method alone."""

    method: str
    weights: str = ""
    head: str = ""

    @property
    def name(self) -> str:
        return ", ".join(part for part in (self.method, self.weights, self.head) if part)


@dataclass(frozen=True)
class Result:
    """What was measured of one model; ``ratio`` is to FP32 within a round (median); None without speed."""

    key: Key
    accuracy: Accuracy
    int8: int
    convolutions: int
    rate: float | None = None
    ratio: float | None = None


def recipes(steps: int) -> dict[Key, Recipe]:
    """Every recipe that is measured; ``steps`` is the largest weight."""
    found = {
        Key(method.value, weights, head): Recipe(
            method, weight_steps=steps, per_channel=weights == "per channel", spare=spare, clamp=clamp
        )
        for method in METHODS
        for weights in ("per channel", "per tensor")
        for head, (spare, clamp) in HEADS.items()
    }
    whole = Recipe(Method.MINMAX, weight_steps=steps, spare=Spare(Head.WHOLE))
    return found | {Key(Method.MINMAX.value, "per channel", WHOLE): whole}


def load(options: argparse.Namespace) -> Sample:
    if options.deeppcb:
        return deeppcb_sample(options.deeppcb, "test_public", limit=options.images)
    return boards_sample(options.images or 100)


def open_all(fp32: Path, options: argparse.Namespace, folder: Path) -> dict[Key, Variant]:
    """Calibrate once, write every recipe's model and compile it."""
    real = options.calibration // 2 if options.deeppcb else 0
    images = calibration_images(options.deeppcb, real=real, boards=options.calibration - real)
    table = collect_ranges(fp32, images)
    variants = {Key(FP32): Variant(FP32, fp32, OpenVinoEngine(read_model(fp32)))}
    for number, (key, recipe) in enumerate(recipes(options.weight_steps).items()):
        path = write_quantised(fp32, table, out=folder / f"{number}.onnx", recipe=recipe).path
        variants[key] = Variant(key.name, path, OpenVinoEngine(read_model(path)))
    return variants


def measure_all(variants: dict[Key, Variant], sample: Sample, *, rounds: int) -> list[Result]:
    """Accuracy one by one, then speed by turns."""
    results = []
    for key, variant in variants.items():
        info = variant.engine.info
        accuracy = measure(detect_all(variant.engine, sample.images), sample.truth, info.labels)
        results.append(Result(key, accuracy, info.int8_convolutions, info.convolutions))
        print(f"{key.name}: mAP50-95 {100 * accuracy.map50_95:.2f}", flush=True)
    if not rounds:
        return results
    contestants = [bare_engine(variant, sample.images) for variant in variants.values()]
    take_turns(contestants, rounds=rounds)
    return [with_speed(one, mine, contestants[0]) for one, mine in zip(results, contestants, strict=True)]


def with_speed(result: Result, mine: Contestant, base: Contestant) -> Result:
    """The ratio is taken within each round."""
    ratio = statistics.median(a / b for a, b in zip(mine.rates, base.rates, strict=True))
    return replace(result, rate=statistics.median(mine.rates), ratio=ratio)


def table(results: Sequence[Result]) -> list[str]:
    """Markdown."""
    lines = [
        "| ranges | weights | head | INT8 | mAP@0.33 | mAP50 | mAP50-95 | lost | frames/s | of FP32 |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    base = results[0].accuracy.map50_95
    for one in results:
        figures = [100 * value for value in (one.accuracy.map33, one.accuracy.map50, one.accuracy.map50_95)]
        cells = [one.key.method, one.key.weights, one.key.head, f"{one.int8}/{one.convolutions}"]
        cells += [*(f"{value:.2f}" for value in figures), f"{100 * base - figures[2]:.2f}"]
        cells += [_or_dash(one.rate, ".1f"), _or_dash(one.ratio, ".2f")]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _or_dash(value: float | None, how: str) -> str:
    return "-" if value is None else format(value, how)


def claims(results: Sequence[Result]) -> list[str]:
    """What the measurement says of each claim: the mean over the pairs that differ in that one choice alone."""
    known = {one.key: one for one in results}
    return [
        _claim("Head kept in float: +0.8 points for less than 10 % of speed", _pairs(known, _other_head("head kept"))),
        _claim("The whole head kept in float", _pairs(known, _other_head(WHOLE))),
        _claim("Weights per channel: more than 0.5 points", _pairs(known, _per_tensor)),
        _claim("Activations clamped to 0..6", _pairs(known, _unclamped)),
        _claim("Entropy over min-max", _pairs(known, _minmax(Method.ENTROPY))),
        _claim("Percentile over min-max", _pairs(known, _minmax(Method.PERCENTILE))),
    ]


def _pairs(known: dict[Key, Result], other: Callable[[Key], Key | None]) -> list[tuple[Result, Result]]:
    partners = ((one, other(key)) for key, one in known.items())
    return [(one, known[key]) for one, key in partners if key is not None and key in known]


def _other_head(kept: str) -> Callable[[Key], Key | None]:
    return lambda key: replace(key, head="head quantised") if key.head == kept else None


def _per_tensor(key: Key) -> Key | None:
    return replace(key, weights="per tensor") if key.weights == "per channel" else None


def _unclamped(key: Key) -> Key | None:
    return replace(key, head="head kept") if key.head == "head kept, clamp 6" else None


def _minmax(method: Method) -> Callable[[Key], Key | None]:
    return lambda key: replace(key, method=Method.MINMAX.value) if key.method == method.value else None


def _claim(words: str, pairs: Iterable[tuple[Result, Result]]) -> str:
    gains, speeds = [], []
    for mine, other in pairs:
        gains.append(100 * (mine.accuracy.map50_95 - other.accuracy.map50_95))
        if mine.ratio is not None and other.ratio is not None:
            speeds.append(100 * (mine.ratio / other.ratio - 1))
    count = f"{len(gains)} pair" + ("s" if len(gains) > 1 else "")
    spread = f", {min(gains):+.2f} to {max(gains):+.2f}" if len(gains) > 1 else ""
    speed = f"; speed {statistics.mean(speeds):+.0f} %" if speeds else ""
    return f"- {words}: {statistics.mean(gains):+.2f} points of mAP50-95 ({count}{spread}){speed}."


def as_json(results: Sequence[Result], facts: dict[str, Any]) -> dict[str, Any]:
    rows = [
        {
            "ranges": one.key.method,
            "weights": one.key.weights,
            "head": one.key.head,
            "map33": one.accuracy.map33,
            "map50": one.accuracy.map50,
            "map50_95": one.accuracy.map50_95,
            "int8_convolutions": one.int8,
            "convolutions": one.convolutions,
            "frames_s": one.rate,
            "of_fp32": one.ratio,
        }
        for one in results
    ]
    return facts | {"results": rows}


def picture(results: Sequence[Result], path: Path, *, title: str) -> None:
    """Loss by what is done with the head, one colour a range method and kind of weights; speeds hardly differ."""
    base = results[0].accuracy.map50_95
    places = {head: number for number, head in enumerate([*HEADS, WHOLE], 1)}
    series = list(dict.fromkeys((one.key.method, one.key.weights) for one in results[1:]))
    marks = [
        Mark(
            places[one.key.head] + 0.08 * (series.index((one.key.method, one.key.weights)) - len(series) / 2),
            100 * (base - one.accuracy.map50_95),
            "",
            f"{one.key.method}, {one.key.weights}",
        )
        for one in results[1:]
    ]
    across = "; ".join(f"{number}: {head}" for head, number in places.items())
    draw_marks(path, marks, title=title, axes=(across, "points of mAP50-95 lost to FP32"))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deeppcb", type=Path, help="folder of the repackaged DeepPCB: test_public is measured on")
    parser.add_argument("--images", type=int, default=0, help="measure on so many only (100 boards without DeepPCB)")
    parser.add_argument("--calibration", type=int, default=200, help="images that ranges are taken from")
    parser.add_argument("--rounds", type=int, default=5, help="turns that each engine takes; 0 leaves speed out")
    parser.add_argument("--weight-steps", type=int, default=hardware.weight_steps(hardware.cpu()))
    parser.add_argument("--fp32", type=Path, default=None, help="another FP32 model than the bundled one")
    parser.add_argument("--out", type=Path, required=False, help="folder for detection.md, .json and .svg")
    return parser.parse_args()


def main() -> None:
    options = parse()
    sample = load(options)
    with tempfile.TemporaryDirectory() as folder:
        variants = open_all(options.fp32 or bundled_path("fp32"), options, Path(folder))
        results = measure_all(variants, sample, rounds=options.rounds)
        info = next(iter(variants.values())).engine.info
        for variant in variants.values():
            variant.engine.close()
    machine = f"{info.device}, {os.cpu_count()} cores, {instruction_sets()}; {info.runtime}"
    words = (
        f"{sample.name}: {len(sample.images)} images; ranges from {options.calibration}; weights to "
        f"{options.weight_steps}; {machine}; {options.rounds} rounds of {TURN_S:g} s"
    )
    text = "\n".join([words, "", *table(results), "", *claims(results), ""])
    print(text)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "detection.md").write_text(text)
        (options.out / "detection.json").write_text(
            json.dumps(as_json(results, {"conditions": words}), indent=1) + "\n"
        )
        picture(results, options.out / "detection.svg", title="INT8 recipes of the bundled detector")


if __name__ == "__main__":
    main()
