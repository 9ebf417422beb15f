"""Writes a trained detector as ONNX: BatchNorm folded, dynamic batch, the field's usual output and metadata."""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

import onnx
import torch

from gistline.simulator.boards import DEFECTS as LABELS
from training.model import CONFIGS, Detector, ExportedDetector, ModelConfig

OPSET = 17


def export_onnx(detector: Detector, path: Path, *, size: tuple[int, int] = (640, 640), name: str = "pcb") -> None:
    """Write ``detector`` to ``path``; input ``images`` [n, 3, h, w] in 0..1, output ``output0`` [n, 10, anchors]."""
    folded = copy.deepcopy(detector).cpu().float().eval().fold()
    graph = ExportedDetector(folded, size).eval()
    torch.onnx.export(
        graph,
        (torch.zeros(1, 3, *size),),
        str(path),
        input_names=["images"],
        output_names=["output0"],
        dynamic_axes={"images": {0: "batch"}, "output0": {0: "batch"}},
        opset_version=OPSET,
        dynamo=False,
    )
    _describe(path, detector.config, size, name)


def _describe(path: Path, config: ModelConfig, size: tuple[int, int], name: str) -> None:
    model = onnx.load(str(path))
    model.graph.name = name
    answer = model.graph.output[0].type.tensor_type.shape.dim
    answer[1].dim_value = 4 + config.classes
    answer[2].dim_value = sum((size[0] // stride) * (size[1] // stride) for stride in config.strides)
    words = {
        "names": repr(dict(enumerate(LABELS))),
        "stride": str(max(config.strides)),
        "imgsz": repr(list(size)),
        "task": "detect",
        "batch": "1",
        "description": f"Gistline {name}: anchor-free detector of printed-circuit-board defects",
    }
    for key, value in words.items():
        model.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def load_checkpoint(path: Path) -> tuple[Detector, dict[str, object]]:
    """Read a checkpoint of ``train.py``: the detector with its averaged weights, and what the run recorded."""
    saved = torch.load(path, map_location="cpu", weights_only=True)
    detector = Detector(CONFIGS[saved["config"]])
    detector.load_state_dict(saved["weights"])
    return detector.eval(), saved["record"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("onnx", type=Path)
    options = parser.parse_args()
    export_onnx(load_checkpoint(options.checkpoint)[0], options.onnx)


if __name__ == "__main__":
    main()
