"""What runs in what, out of the inspector's words in several releases."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gistline.detection.tensorrt_layers import Layers, precision_of, read_layers


def layer(kind: str, *formats: str, **more: Any) -> dict[str, Any]:
    return {"Name": kind, "LayerType": kind, "Inputs": [{"Format/Datatype": one} for one in formats], **more}


@pytest.mark.parametrize(
    ("described", "precision"),
    [
        (layer("c", "Thirty-two wide channel vectorized row major Int8 format."), "INT8"),
        (layer("c", "Row major linear FP16 format"), "FP16"),
        (layer("c", "Half"), "FP16"),
        (layer("c", "Float"), "FP32"),
        (layer("c", "BFloat16"), "BF16"),
        (layer("c", "FP8"), "FP8"),
        (layer("c", "Row major Int8 format", "Row major linear FP16 format"), "INT8"),
        (layer("c", "N/A due to dynamic shapes", Weights={"Type": "Int8", "Count": 4}), "INT8"),
        (layer("c", "N/A due to dynamic shapes", Weights={"Type": "Half", "Count": 4}), "FP16"),
        ({"Inputs": [{"Format": "Row major linear", "Datatype": "Half"}]}, "FP16"),
        (layer("c"), "unknown"),
    ],
)
def test_precision(described: dict[str, Any], precision: str) -> None:
    assert precision_of(described) == precision


def test_convolutions_are_counted_and_reformats_are_not_among_them() -> None:
    layers = [
        layer("CaskConvolution", "Int8"),
        layer("CaskGemmConvolution", "Int8"),
        layer("kgen", "Half", ParameterType="Convolution"),
        layer("Reformat", "Half"),
        {**layer("Reformat", "Int8"), "Name": "Reformatting CopyNode for Input Tensor 0 to conv"},
        layer("kgen", "Half"),
        layer("ConvertLayer", "Half"),
        layer("PoolingV2", "Int8"),
    ]
    assert read_layers(json.dumps({"Layers": layers})) == Layers((("INT8", 2), ("FP16", 1)), total=8, reformats=2)


def test_an_engine_that_tells_only_names_counts_nothing() -> None:
    found = read_layers(json.dumps({"Layers": ["conv_1 + relu_1", "conv_2"], "Bindings": []}))
    assert found == Layers((), total=2, reformats=0)
    assert (found.int8, found.count) == (0, 0)
