"""``python -m tests.chaos.summary RUNS.jsonl``: the table of a series; with ``--compact`` a short listing too."""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.chaos.plan import Kind
from tests.chaos.run import Result

LISTED = ("seed", "faults", "accepted", "inspected", "failed", "expired", "lost", "doubled", "recover_s", "reports")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.summary", description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--compact", type=Path, help="file that gets a short line a run")
    asked = parser.parse_args()
    results = [Result(**json.loads(line)) for line in asked.runs.read_text().splitlines()]
    sys.stdout.write("\n".join([*by_kind(results), "", *totals(results), ""]))
    if asked.compact:
        asked.compact.parent.mkdir(parents=True, exist_ok=True)
        asked.compact.write_text("".join(_short(one) + "\n" for one in results))


def by_kind(results: Sequence[Result]) -> Iterable[str]:
    """A line for each kind of fault: all runs that had it, whatever else they had."""
    yield "| fault | runs | blows | accepted | lost | doubled | recovery p50 | p95 | max |"
    yield "|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    hit: dict[str, list[Result]] = defaultdict(list)
    for one in results:
        for kind in set(one.faults):
            hit[kind].append(one)
    for kind in Kind:
        if runs := hit.get(kind):
            blows = sum(one.faults.count(kind) for one in runs)
            yield f"| {kind} | {len(runs)} | {blows} | {_sums(runs)} | {_recovery(runs)} |"
    blows = sum(len(one.faults) for one in results)
    yield f"| **all** | {len(results)} | {blows} | {_sums(results)} | {_recovery(results)} |"


def totals(results: Sequence[Result]) -> Iterable[str]:
    """What the table does not say."""
    total = {name: sum(getattr(one, name) for one in results) for name in SUMMED}
    yield from (f"- {name}: {value}" for name, value in total.items())
    exits: dict[str, int] = defaultdict(int)
    for one in results:
        for what, times in one.exits.items():
            exits[what] += times
    yield f"- programs that ended by themselves: {dict(sorted(exits.items())) or 'none'}"
    yield f"- skipped: {sorted({what for one in results for what in one.skipped}) or 'none'}"
    yield f"- failed seeds: {[one.seed for one in results if not one.passed] or 'none'}"


SUMMED = (
    "accepted",
    "inspected",
    "failed",
    "collateral",
    "expired",
    "lost",
    "doubled",
    "restarts",
    "reports",
    "calls",
    "paid",
    "unknown",
)


def _sums(runs: Sequence[Result]) -> str:
    return " | ".join(str(sum(getattr(one, name) for one in runs)) for name in ("accepted", "lost", "doubled"))


def _recovery(runs: Sequence[Result]) -> str:
    took = sorted(one.recover_s for one in runs)
    return f"{_rank(took, 0.5):.1f} s | {_rank(took, 0.95):.1f} s | {took[-1]:.1f} s"


def _rank(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least this share does not exceed."""
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def _short(one: Result) -> str:
    said: dict[str, Any] = {name: getattr(one, name) for name in LISTED}
    if one.complaints:
        said["complaints"] = one.complaints[:3]
    return json.dumps(said, separators=(",", ":"))


if __name__ == "__main__":
    main()
