"""Averages the weights of runs that began from the same weights ("model soups", arXiv 2203.05482).

Two such runs lie in one valley of the loss, and their middle generalises a little better than either; it costs nothing
at run time.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch


def blend(checkpoints: list[Path], out: Path) -> None:
    """Write the mean of the checkpoints' weights, with the first one's record; all must be of one shape."""
    saved = [torch.load(path, map_location="cpu", weights_only=True) for path in checkpoints]
    shapes = {one["config"] for one in saved}
    if len(shapes) > 1:
        raise SystemExit(f"checkpoints of several shapes cannot be averaged: {', '.join(sorted(shapes))}")
    weights = {
        key: torch.stack([one["weights"][key].float() for one in saved]).mean(0).to(value.dtype)
        for key, value in saved[0]["weights"].items()
    }
    torch.save({"config": saved[0]["config"], "weights": weights, "record": saved[0]["record"]}, out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    blend(options.checkpoints, options.out)


if __name__ == "__main__":
    main()
