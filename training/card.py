"""Writes what ships beside the weights: ``pcb.json`` for programs and ``MODEL_CARD.md`` for people."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

from gistline.simulator.boards import DEFECTS

SPLITS = {
    "test_public": "test_public (250 pictures)",
    "test-known": "- of boards that trainval shows",
    "test-new": "- of boards that it does not show",
    "boards": "simulated boards (200)",
}
CARD = """# {name}: detector of printed-circuit-board defects

Finds {labels} in grey 640 x 640 pictures of bare boards, copper dark on light. Bundled with Gistline as `pcb.onnx`
(FP32, {megabytes:.1f} MB, sha256 `{sha256}`).

## What it is
An anchor-free detector of the YOLOv8 family, {parameters:.2f} M parameters, shape `{config}` of `training/model.py`:
ReLU throughout, features down to stride 32, one head at stride 8. Input `images` `[n, 3, 640, 640]`, RGB in 0..1;
output `output0` `[n, {rows}, 6400]`: centre, width, height in pixels, then a score a class. Chosen as the
widest that INT8 on two cores with VNNI runs well above 62 frames/s; the comparison is in `training/README.md`.

## What it was trained on
- DeepPCB (Tang, He, Huang, Yang, 2019), `trainval`. Its repository is under the MIT licence;
  **its authors ask for research use**. Ask them, or train on your own boards, before you sell what this file finds.
- Boards rendered by `gistline.simulator`, thresholded and as a grey camera sees them, about a third of them flawless.
{planted}
Recipe: `training/README.md`. {steps} steps of {batch} pictures, seed {seed}; recipe sha256 `{recipe_sha256}`, sources
(training and simulator) sha256 `{source_sha256}`.{note}

## What it reaches
Confidence from 0.001 on, best class of each anchor, class-wise suppression at IoU 0.65, COCO's 101-point average; FP32
and INT8 through OpenVINO with `INFERENCE_PRECISION_HINT=f32`. mAP33 is DeepPCB's own criterion, IoU above 0.33.
INT8 is `pcb.int8.onnx` (sha256
`{int8_sha256}`), ranges by {method} from {calibration} pictures and boards.

{summary}

Average precision a class at IoU 0.33, FP32 / INT8:

{by_class}

Best F-score is over all classes at one threshold, IoU 0.33, the threshold picked on the same pictures.

## Where it fails
- Boards unlike those it saw: {gap}. It sees no reference picture of the flawless board, and some defects can only be
  told from design by one: a round pin-hole beside drilled holes, a straight short between pads.
- Bright copper on dark board, colour, other magnifications than 0.7 to 1.4 of DeepPCB's (48 pixels a millimetre):
  not trained on.
- Defects of more than about 120 pixels, and those cut by the picture's edge.
"""


def write_card(weights: Path, run: dict[str, Any], scores: dict[str, Any], *, parameters: float, note: str) -> None:
    """Write both files into ``weights``; ``scores`` holds ``fp32`` and ``int8``, each by split."""
    content = (weights / "pcb.onnx").read_bytes()
    facts = {
        "name": "pcb",
        "labels": list(DEFECTS),
        "input_size": [640, 640],
        "sha256": hashlib.sha256(content).hexdigest(),
        "config": run["recipe"]["config"],
        "seed": run["recipe"]["seed"],
        "steps": run["steps"],
        "batch": run["recipe"]["batch"],
        "recipe_sha256": recipe_digest(run),
        "source_sha256": run["source_sha256"],
        "metrics": {kind: scores[kind] for kind in ("fp32", "int8")},
    }
    path = weights / "pcb.json"
    known = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(facts | {"int8": known.get("int8", {})}, indent=2) + "\n")
    words = facts | {
        "labels": ", ".join(DEFECTS),
        "megabytes": len(content) / 1e6,
        "parameters": parameters,
        "rows": 4 + len(DEFECTS),
        "method": known["int8"]["recipe"],
        "calibration": known["int8"]["calibration_images"],
        "int8_sha256": known["int8"]["sha256"],
        "summary": _summary(scores),
        "by_class": _by_class(scores),
        "gap": _gap(scores["fp32"]),
        "note": f"\n{note}" if note else "",
        "planted": _planted(run),
    }
    (weights / "MODEL_CARD.md").write_text(CARD.format(**words))


def recipe_digest(run: dict[str, Any]) -> str:
    """SHA-256 of the options and augmentation shares of a run, folders left out."""
    kept = {key: value for key, value in run["recipe"].items() if key not in ("data", "out", "resume", "device")}
    text = json.dumps([kept, run["strength"], run["gentle"]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _planted(run: dict[str, Any]) -> str:
    if not run["strength"].get("planted"):
        return ""
    return "- Copies of the same DeepPCB pictures with further defects, and with further artwork that is no defect.\n"


def _summary(scores: dict[str, Any]) -> str:
    lines = ["| pictures | mAP33 | mAP50 | mAP50-95 | best F |", "|---|---|---|---|---|"]
    for split, words in SPLITS.items():
        if split not in scores["fp32"]:
            continue
        for kind, key in (("FP32", "fp32"), ("INT8", "int8")):
            s = scores[key][split]
            numbers = " | ".join(f"{100 * s[field]:.1f}" for field in ("map33", "map50", "map50_95", "best_f33"))
            lines.append(f"| {words}, {kind} | {numbers} |")
    return "\n".join(lines)


def _by_class(scores: dict[str, Any]) -> str:
    splits = [split for split in SPLITS if split in scores["fp32"]]
    lines = ["| class | " + " | ".join(splits) + " |", "|---" * (len(splits) + 1) + "|"]
    for label in DEFECTS:
        pairs = [[100 * scores[kind][split]["by_class33"][label] for kind in ("fp32", "int8")] for split in splits]
        lines.append(f"| {label} | " + " | ".join(f"{a:.1f} / {b:.1f}" for a, b in pairs) + " |")
    return "\n".join(lines)


def _gap(scores: dict[str, Any]) -> str:
    known, new = scores["test-known"]["map33"], scores["test-new"]["map33"]
    return (
        f"mAP33 {100 * new:.1f} on test boards that trainval does not show against {100 * known:.1f} on those it does"
    )


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--fp32", type=Path, required=True, help="scores that training.evaluate wrote")
    parser.add_argument("--int8", type=Path, required=True)
    parser.add_argument(
        "--weights", type=Path, required=True, help="folder with pcb.onnx and what training.calibrate wrote"
    )
    parser.add_argument("--note", default="", help="a sentence on what was special about the run")
    options = parser.parse_args()
    saved = torch.load(options.checkpoint, map_location="cpu", weights_only=True)
    learned = sum(v.numel() for k, v in saved["weights"].items() if "running" not in k and "tracked" not in k) / 1e6
    scores = {kind: json.loads(getattr(options, kind).read_text()) for kind in ("fp32", "int8")}
    write_card(options.weights, saved["record"], scores, parameters=learned, note=options.note)


if __name__ == "__main__":
    main()
