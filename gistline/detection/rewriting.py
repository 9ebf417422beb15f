"""Lets an ONNX file say itself what is known of it: labels, layout, size, one output with its axes in place."""

from __future__ import annotations

from typing import Any

import onnx
from onnx import helper

from gistline.detection.understanding import LAYOUT_KEY, Understood


def rewrite(model: Any, understood: Understood) -> bytes:
    """Change a parsed model in place and return its bytes; the same input makes the same bytes.

    Its weights and its other metadata stay as they are.
    """
    output = next(value for value in model.graph.output if value.name == understood.output)
    kind = output.type.tensor_type.elem_type
    name = _turn(model.graph, output.name) if understood.seen.transposed else output.name
    layout = understood.seen.layout
    shape = [understood.batch or "batch", *layout.shape]
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info(name, kind, shape))
    _write_metadata(
        model,
        {
            "names": repr(dict(enumerate(understood.labels))),
            "imgsz": repr(list(understood.size)),
            LAYOUT_KEY: layout.kind.value,
        },
    )
    return bytes(model.SerializeToString(deterministic=True))


def _turn(graph: Any, name: str) -> str:
    """Exchange the last two axes of an output; the name of the new one."""
    turned = f"{name}.turned"
    graph.node.append(helper.make_node("Transpose", [name], [turned], name=turned, perm=[0, 2, 1]))
    return turned


def _write_metadata(model: Any, facts: dict[str, str]) -> None:
    kept = {entry.key: entry.value for entry in model.metadata_props} | facts
    del model.metadata_props[:]
    for key, value in kept.items():
        model.metadata_props.append(onnx.StringStringEntryProto(key=key, value=value))
