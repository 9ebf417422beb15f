"""Gives a trained detector longer chains of bottlenecks without changing what it answers, to train it further.

What merges a chain begins with zero weights for the new links ("Net2Net", arXiv 1511.05641), so nothing is unlearnt.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from training.model import CONFIGS, Detector


def grow(checkpoint: Path, config: str, out: Path, *, seed: int = 0) -> None:
    """Write ``checkpoint`` in the shape ``config``: as wide as its own, its chains as long or longer."""
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    torch.manual_seed(seed)
    weights = Detector(CONFIGS[config]).state_dict()
    for name, new in weights.items():
        if name in saved["weights"]:
            weights[name] = _widened(saved["weights"][name], new)
    missing = saved["weights"].keys() - weights.keys()
    if missing:
        raise SystemExit(f"{config} has no place for {min(missing)}: its chains are shorter than {saved['config']}'s")
    torch.save({"config": config, "weights": weights, "record": saved["record"]}, out)


def _widened(old: Tensor, new: Tensor) -> Tensor:
    """``old`` with zero weights for further input channels (the second dimension)."""
    if old.shape == new.shape:
        return old
    if old.ndim != 4 or old.shape[0] != new.shape[0] or old.shape[2:] != new.shape[2:] or old.shape[1] > new.shape[1]:
        raise SystemExit(f"weights {list(old.shape)} do not fit into {list(new.shape)}: give a shape of equal widths")
    grown = torch.zeros_like(new)
    grown[:, : old.shape[1]] = old
    return grown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--config", choices=CONFIGS, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    grow(options.checkpoint, options.config, options.out)


if __name__ == "__main__":
    main()
