"""How long packing takes, and how far its choice is from the best: ``python -m benchmarks.packing``.

Packs the same synthetic window for several token budgets: 40 cameras, six classes, findings at random from a seed.
Times are of the whole prompt, from grouped findings to text, the best and the median of several rounds in turn.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from uuid import UUID

from gistline.domain import Box, Finding, FrameCounts, FrameId
from gistline.findings.grouping import group_findings
from gistline.reports.prompt import Prompt, WindowData, build_prompt
from gistline.reports.tokens import ceiling
from gistline.reports.totals import count_totals

START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
SEVERITIES = {"open": 3, "short": 3, "mousebite": 2, "spur": 2, "copper": 1, "pin-hole": 1}
BUDGETS = (6_000, 12_000, 30_000, 90_000, 1_000_000)


def window(count: int, seed: int, *, cameras: int = 40, classes: int = len(SEVERITIES)) -> WindowData:
    """``count`` findings on so many cameras and of so many classes, the same for the same seed."""
    chance = random.Random(seed)  # noqa: S311 - no secret, a repeatable window
    labels = list(SEVERITIES)[:classes]
    groups = group_findings(_finding(key, chance, cameras, labels) for key in range(1, count + 1))
    frames = FrameCounts(inspected=count, ng=count // 2)
    return WindowData("line-1", START, START + timedelta(minutes=15), count_totals(groups, frames), groups)


def _finding(key: int, chance: random.Random, cameras: int, labels: list[str]) -> Finding:
    label = chance.choice(labels)
    return Finding(
        finding_id=key,
        frame_id=FrameId(UUID(int=key)),
        camera=f"cam-{chance.randrange(cameras)}",
        line="line-1",
        label=label,
        confidence=chance.uniform(0.25, 1),
        box=Box(*(chance.uniform(5, 600) for _ in range(4))),
        severity=SEVERITIES[label],
        captured_at=START + timedelta(seconds=chance.uniform(0, 900)),
    )


def main() -> None:
    """Print a line for each budget."""
    parser = argparse.ArgumentParser(description="Time the packing of one window.")
    parser.add_argument("--findings", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    data = window(given.findings, given.seed)
    times: dict[int, list[float]] = defaultdict(list)
    made: dict[int, Prompt] = {}
    for budget in BUDGETS * given.rounds:
        started = time.perf_counter()
        made[budget] = build_prompt(data, budget=budget, measure=ceiling)
        times[budget].append(1_000 * (time.perf_counter() - started))
    sys.stdout.write(
        "| budget | used | rows | in group lines | totals only | gap to the bound | best ms | median ms |\n"
    )
    sys.stdout.write("|---|---|---|---|---|---|---|---|\n")
    for budget, prompt in made.items():
        shown = " | ".join(f"{count:,}" for count in list(prompt.packed.counts.values())[:3])
        took = f"{min(times[budget]):.1f} | {statistics.median(times[budget]):.1f}"
        sys.stdout.write(f"| {budget:,} | {prompt.used:,} | {shown} | {prompt.packed.gap:.4%} | {took} |\n")


if __name__ == "__main__":
    main()
