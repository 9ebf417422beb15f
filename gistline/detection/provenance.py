"""Where a quantised model says that it comes from: the properties ``gistline.*`` in its ONNX metadata."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import onnx

_PREFIX: Final = "gistline."
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Provenance:
    """``source_sha256``: the FP32 file; ``calibration_sha256``: the images that set the ranges; None where not said.

    ``recipe`` holds every property of ours without its prefix, as text.
    """

    source_sha256: str | None
    calibration_sha256: str | None
    recipe: dict[str, str]


def read_provenance(content: bytes) -> Provenance:
    """Read the metadata of an ONNX file that was checked before."""
    model = onnx.load_model_from_string(content)
    recipe = {
        entry.key.removeprefix(_PREFIX): entry.value
        for entry in model.metadata_props
        if entry.key.startswith(_PREFIX) and entry.value
    }
    return Provenance(_digest(recipe, "source_sha256"), _digest(recipe, "calibration_sha256"), recipe)


def _digest(recipe: dict[str, str], key: str) -> str | None:
    value = recipe.get(key, "")
    return value if _DIGEST.fullmatch(value) else None
