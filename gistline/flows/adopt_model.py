"""Somebody's ONNX detector -> a checked model file that says everything itself, tried on test images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gistline.detection.detector import open_model
from gistline.detection.model_file import ModelFile, adopt, read_bytes
from gistline.detection.understanding import Wishes
from gistline.domain import EngineInfo
from gistline.settings import DetectionSettings


@dataclass(frozen=True, slots=True)
class TriedModel:
    """The model, how many predictions it makes of an image, how it runs here, and what was changed in its file."""

    model: ModelFile
    predictions: int
    engine: EngineInfo
    changes: tuple[str, ...]


def adopt_model(path: Path, wishes: Wishes) -> TriedModel:
    """Read an export, write into it what its owner says of it, and infer two test images on the CPU.

    Args:
        path: ONNX file.
        wishes: what its owner says: labels, layout, size, output.

    Raises:
        ModelRejected: the file does not fit, or its answers are not what its layout says; tells what was seen.
        EngineUnavailable: the runtime cannot be loaded, or the answers hold NaN.

    """
    adopted = adopt(path.name, read_bytes(path), wishes)
    # On the CPU wherever it will serve: a GPU's engine takes minutes to build, and the answers mean the same.
    with open_model(adopted.model, DetectionSettings(runtime="openvino")) as detector:
        predictions = detector.try_out(adopted.model.layout)
        return TriedModel(adopted.model, predictions, detector.info, adopted.changes)
