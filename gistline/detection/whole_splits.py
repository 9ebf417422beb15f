"""Copy less around splits: a change to an OpenVINO graph, right before it is compiled.

A cross-stage block splits a tensor, works on one half and joins everything again. Both halves are copied out and
copied back, although side by side they are what was split: the join can read that instead, and a half that nobody else
reads need not be made at all.

OpenVINO's operators are handed in, since one file alone imports it.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

_SPLITS: Final = frozenset({"Split", "VariadicSplit"})


def keep_splits_whole(graph: Any, *, opset: Any) -> int:
    """Change a graph with static shapes in place; the values that it computes stay the same.

    Returns:
        How many joins now read a whole tensor.

    """
    joins = [node for node in graph.get_ops() if node.get_type_name() == "Concat"]
    done = sum(_join_whole(node, opset) for node in joins)
    graph.validate_nodes_and_infer_types()
    return done


def _join_whole(join: Any, opset: Any) -> bool:
    parts = [join.input_value(index) for index in range(join.get_input_size())]
    axis = int(join.get_attributes()["axis"])
    for first, part in enumerate(parts):
        split = part.get_node()
        size = split.get_output_size()
        if split.get_type_name() in _SPLITS and _are_all_of(parts[first : first + size], split, axis):
            whole = opset.concat([*parts[:first], split.input_value(0), *parts[first + size :]], axis)
            whole.set_friendly_name(join.get_friendly_name())
            _hand_over(join.output(0), whole.output(0))
            _slice_instead(split, join, axis=axis, opset=opset)
            return True
    return False


def _are_all_of(parts: list[Any], split: Any, axis: int) -> bool:
    """The parts are all that a split along this axis makes, in its order."""
    along = split.input_value(1).get_node()
    if len(parts) != split.get_output_size() or along.get_type_name() != "Constant":
        return False
    rank = len(split.input_value(0).get_shape())
    same = [part.get_node().get_name() == split.get_name() and part.get_index() == i for i, part in enumerate(parts)]
    return all(same) and int(along.get_data()) % rank == axis % rank


def _slice_instead(split: Any, join: Any, *, axis: int, opset: Any) -> None:
    """Who else reads a part of the split reads a slice of what was split."""
    begin = 0
    for index in range(split.get_output_size()):
        part = split.output(index)
        end = begin + int(part.get_shape()[axis])
        readers = [target for target in part.get_target_inputs() if target.get_node().get_name() != join.get_name()]
        if readers:
            bounds = [np.array([number], np.int64) for number in (begin, end, 1, axis)]
            cut = opset.slice(split.input_value(0), *bounds).output(0)
            for reader in readers:
                reader.replace_source_output(cut)
        begin = end


def _hand_over(old: Any, new: Any) -> None:
    for target in old.get_target_inputs():
        target.replace_source_output(new)
