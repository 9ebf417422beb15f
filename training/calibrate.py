"""Makes the bundled INT8 detector from the FP32 one: ``python -m training.calibrate --deeppcb FOLDER``.

Ranges come from DeepPCB's training images and simulated boards (grey ones too: DeepPCB alone is nearly binary). Every
recipe is measured on images that neither training nor calibration saw; the best one's model is written.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gistline.detection.evaluation import Accuracy, measure
from gistline.detection.model_file import bundled_path, read_model
from gistline.detection.openvino_engine import OpenVinoEngine
from gistline.detection.quantise import QuantisationResult, Recipe, collect_ranges, write_quantised
from gistline.detection.ranges import Method, RangeTable
from training.samples import Sample, boards_sample, calibration_images, deeppcb_sample, detect_all

RECIPES: dict[str, Recipe] = {
    "minmax": Recipe(Method.MINMAX),
    "percentile-99.999": Recipe(Method.PERCENTILE, percentile=99.999),
    "percentile-99.99": Recipe(Method.PERCENTILE, percentile=99.99),
    "percentile-99.9": Recipe(Method.PERCENTILE, percentile=99.9),
    "entropy": Recipe(Method.ENTROPY),
    "mse": Recipe(Method.MSE),
}

STUDIED: dict[str, Recipe] = {
    "mse, 127 steps": Recipe(Method.MSE, weight_steps=127),
    "mse, int8": Recipe(Method.MSE, symmetric=True),
    "mse, int8, 127 steps": Recipe(Method.MSE, symmetric=True, weight_steps=127),
}
"""Measured on request and never chosen: right on CPUs with VNNI only."""


@dataclass(frozen=True)
class Measured:
    """A recipe's accuracy on each sample."""

    name: str
    scores: dict[str, Accuracy]

    @property
    def mean(self) -> float:
        """Mean over the samples of mAP 0.50-0.95, the figure that moves first when ranges are wrong."""
        return float(np.mean([accuracy.map50_95 for accuracy in self.scores.values()]))

    def line(self) -> str:
        cells = [
            f"{name} {100 * one.map33:.2f} / {100 * one.map50:.2f} / {100 * one.map50_95:.2f}"
            for name, one in self.scores.items()
        ]
        return f"{self.name:20} " + "; ".join(cells)


def judge(name: str, model: Path, samples: Sequence[Sample]) -> Measured:
    engine = OpenVinoEngine(read_model(model))
    labels = engine.info.labels
    scores = {sample.name: measure(detect_all(engine, sample.images), sample.truth, labels) for sample in samples}
    engine.close()
    return Measured(name, scores)


def compare(fp32: Path, table: RangeTable, samples: Sequence[Sample], recipes: dict[str, Recipe]) -> list[Measured]:
    """FP32, then every recipe."""
    results = [judge("FP32", fp32, samples)]
    print(results[0].line(), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, recipe in recipes.items():
            written = write_quantised(fp32, table, out=Path(folder) / "int8.onnx", recipe=recipe)
            results.append(judge(name, written.path, samples))
            print(results[-1].line(), flush=True)
    return results


def record(path: Path, result: QuantisationResult, measured: Measured, base: Measured) -> None:
    """Put how the INT8 file was made and what it reaches beside what is known of the FP32 one."""
    known: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    known["int8"] = {
        "file": result.path.name,
        "sha256": result.sha256,
        "recipe": measured.name,
        "weight_steps": result.recipe.weight_steps,
        "activations": "int8 symmetric" if result.recipe.symmetric else "uint8",
        "calibration_images": result.images,
        "quantised_convolutions": result.quantised_convolutions,
        "convolutions": result.convolutions,
        "runtime": OpenVinoEngine(read_model(result.path)).info.runtime,
        "scores": {name: _scores(one, base.scores[name]) for name, one in measured.scores.items()},
    }
    path.write_text(json.dumps(known, indent=2) + "\n")


def write_ranges(path: Path, result: QuantisationResult) -> None:
    """What each quantised tensor may hold before it saturates, one a line: what drift is judged against."""
    rows = [f"    {json.dumps(name)}: [{low:.6g}, {high:.6g}]" for name, (low, high) in result.ranges.items()]
    head = f'  "int8_sha256": "{result.sha256}",\n  "calibration_images": {result.images},\n'
    path.write_text("{\n" + head + '  "ranges": {\n' + ",\n".join(rows) + "\n  }\n}\n")


def _scores(one: Accuracy, base: Accuracy) -> dict[str, float]:
    """mAP in [0, 1], and what FP32 reaches through the same runtime and postprocessing."""
    figures = {"map33": one.map33, "map50": one.map50, "map50_95": one.map50_95}
    figures |= {"fp32_map33": base.map33, "fp32_map50": base.map50, "fp32_map50_95": base.map50_95}
    return {name: round(value, 4) for name, value in figures.items()}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deeppcb", type=Path, help="folder of the repackaged DeepPCB; without it boards only")
    parser.add_argument("--real", type=int, default=150, help="calibration images of DeepPCB")
    parser.add_argument(
        "--boards", type=int, default=150, help="simulated boards for calibration, and as many to measure"
    )
    parser.add_argument("--fp32", type=Path, default=None, help="another FP32 model than the bundled one")
    parser.add_argument("--recipe", choices=["best", *RECIPES], default="best")
    parser.add_argument("--study", action="store_true", help="measure recipes too that are never chosen")
    parser.add_argument("--table", type=Path, help="keep the range table here, or take it from here when it exists")
    parser.add_argument("--out", type=Path, default=None, help="INT8 file; the bundled one by default")
    return parser.parse_args()


def main() -> None:
    options = parse()
    fp32 = options.fp32 or bundled_path("fp32")
    out = options.out or fp32.with_name(f"{fp32.stem}.int8.onnx")
    if options.table and options.table.is_file():
        table = RangeTable.load(options.table)
    else:
        table = collect_ranges(fp32, calibration_images(options.deeppcb, real=options.real, boards=options.boards))
        if options.table:
            table.save(options.table)
    samples = [deeppcb_sample(options.deeppcb, "heldout")] if options.deeppcb else []
    recipes = RECIPES | (STUDIED if options.study else {})
    results = compare(fp32, table, [*samples, boards_sample(options.boards)], recipes)
    wished = [one for one in results if one.name in RECIPES and options.recipe in ("best", one.name)]
    chosen = max(wished, key=lambda one: one.mean)
    written = write_quantised(fp32, table, out=out, recipe=RECIPES[chosen.name])
    record(fp32.with_suffix(".json"), written, chosen, results[0])
    write_ranges(out.with_suffix(".ranges.json"), written)
    print(f"{chosen.name}: {written.path.name}, {written.path.stat().st_size} bytes, sha256 {written.sha256}")


if __name__ == "__main__":
    main()
