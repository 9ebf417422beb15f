"""Measures how much each way of choosing INT8 ranges costs in accuracy, on what is held out for choosing."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gistline.detection.quantise import Recipe, collect_ranges, write_quantised
from gistline.detection.ranges import Method
from training.data import TRAIN_BOARDS_SEED, hold_out, read_deeppcb, render_boards
from training.evaluate import load_split, measure, predict_openvino

CALIBRATION_EACH = 64


def calibration_images(deeppcb: Path) -> list[NDArray[np.uint8]]:
    """64 training pictures of DeepPCB and 64 simulated boards, none of which is measured on."""
    train, _ = hold_out(read_deeppcb(deeppcb, "trainval"))
    rows = np.random.default_rng(0).choice(len(train), CALIBRATION_EACH, replace=False)
    return [*train.images[rows], *render_boards(CALIBRATION_EACH, TRAIN_BOARDS_SEED).images]


def recipes() -> dict[str, Recipe]:
    """Every method as the product's default recipe otherwise is, and that default with finer weights."""
    kinds = {method.value: Recipe(method=method) for method in Method}
    kinds["percentile, 99.9"] = Recipe(method=Method.PERCENTILE, percentile=99.9)
    kinds["percentile, weights to 127"] = Recipe(weight_steps=127)
    return kinds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("onnx", type=Path)
    parser.add_argument("--deeppcb", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder for the INT8 files")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    table = collect_ranges(options.onnx, calibration_images(options.deeppcb))
    splits = {name: load_split(name, options.deeppcb) for name in ("held-out", "boards")}
    print("| ranges by | split | mAP33 | mAP50 | mAP50-95 | best F |\n|---|---|---|---|---|---|")
    for name, recipe in [("float", None), *recipes().items()]:
        path = options.onnx
        if recipe is not None:
            path = options.work / f"{name.replace(', ', '-').replace(' ', '-')}.onnx"
            write_quantised(options.onnx, table, out=path, recipe=recipe)
        for split, pictures in splits.items():
            s = measure(pictures.truth(), predict_openvino(path, pictures.images))
            print(
                f"| {name} | {split} | {s.map33:.4f} | {s.map50:.4f} | {s.map50_95:.4f} | {s.best_f33:.4f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
