"""From a soak's samples to its verdict, its picture and the small file of data behind it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.trend import Trend, trend

Samples = Sequence[Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Bound:
    """What counts as flat: growth an hour of at most ``share`` of the level, or of ``floor`` in the series' unit."""

    series: str
    unit: str
    share: float
    floor: float


PROCESSES: Final = ("api", "detect-1", "detect-2", "report", "beat", "postgres", "redis")
BOUNDS: Final = (
    *(Bound(f"{name}.uss_mb", "MB", 0.02, 1.0) for name in PROCESSES),
    *(Bound(f"{name}.fds", "descriptors", 0.0, 0.5) for name in PROCESSES),
    *(Bound(f"{name}.threads", "threads", 0.0, 0.5) for name in PROCESSES if name != "postgres"),
    Bound("db.connections", "connections", 0.0, 0.5),
    Bound("redis.used_mb", "MB", 0.02, 0.1),
    Bound("redis.clients", "clients", 0.0, 0.5),
    Bound("queue.pending", "frames", 0.1, 2.0),
    Bound("queue.oldest_s", "s", 0.1, 0.05),
    Bound("done.p50_s", "s", 0.1, 0.01),
    Bound("done.p99_s", "s", 0.1, 0.05),
    Bound("store.files", "files", 0.05, 50.0),
    Bound("frames.dead", "rows", 0.1, 2_000.0),
    Bound("db.queue_index_mb", "MB", 0.1, 0.2),
    Bound("db.wal_mb", "MB", 0.1, 64.0),
)
GROWS: Final = ("db.mb", "frames.mb", "findings.mb", "verdicts.mb")
"""Rows stay until retention drops them: these grow with what was accepted, and are told by the frame."""


def load(path: Path) -> tuple[dict[str, float], list[dict[str, float]]]:
    """The plan and the samples of a soak; a last line cut short by an interruption is left out."""
    lines = []
    for line in path.read_text().splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return lines[0]["plan"], lines[1:]


def series(samples: Samples, name: str) -> tuple[list[float], list[float]]:
    """When a quantity was measured (seconds), and its values."""
    found = [(one["at_s"], one[name]) for one in samples if name in one]
    return [at for at, _ in found], [value for _, value in found]


def by_minute(seconds: Sequence[float], values: Sequence[float]) -> tuple[list[float], list[float]]:
    """Medians of whole minutes: neighbouring samples are alike, which would make an interval too narrow."""
    minutes = np.asarray(seconds) // 60
    kept = np.unique(minutes)
    return [float(one) * 60 + 30 for one in kept], [
        float(np.median(np.asarray(values)[minutes == one])) for one in kept
    ]


def judge(samples: Samples) -> list[tuple[Bound, Trend, bool]]:
    """Every bounded quantity's trend over the second half, and whether it is flat."""
    judged = []
    for bound in BOUNDS:
        at, values = by_minute(*series(samples, bound.series)) if series(samples, bound.series)[0] else ([], [])
        half = [(one, value) for one, value in zip(at, values, strict=True) if one >= at[-1] / 2]
        if len(half) < 3:
            continue
        found = trend([one for one, _ in half], [value for _, value in half])
        judged.append((bound, found, found.per_hour <= max(bound.floor, bound.share * abs(found.level))))
    return judged


def growth_per_frame(samples: Samples) -> dict[str, float]:
    """Bytes that each frame adds to what is not pruned, over the second half."""
    sized = [one for one in samples if "db.mb" in one]
    first, last = sized[len(sized) // 2], sized[-1]
    frames = last["posts.accepted"] - first["posts.accepted"]
    return {name: round((last[name] - first[name]) * 1e6 / frames, 1) for name in GROWS if name in last and frames}


def summarise(path: Path, docs: Path) -> None:
    """Print the verdict, draw ``img/soak.svg`` and write ``data/soak.json`` under ``docs``."""
    plan, samples = load(path)
    judged, last = judge(samples), samples[-1]
    minutes = (last["at_s"] - samples[0]["at_s"]) / 60
    ended = [one["ended_badly"] for one in samples if "ended_badly" in one]
    print(f"{minutes:.0f} minutes at {plan['rate']:.1f} frames/s ({plan['load']:.0%} of the engines' capacity)")
    print(
        f"accepted {last['posts.accepted']:.0f}, refused {last['posts.refused']:.0f}, broken off "
        f"{last['posts.broken']:.0f}, failed or expired {max(ended):.0f}, pruned {last['pruned']:.0f}, "
        f"restarts {last['restarts']:.0f}"
    )
    for bound, found, flat in judged:
        print(
            f"{bound.series:<20}{found.level:>11.3f} {bound.unit:<12}{found.per_hour:>+10.4f} an hour "
            f"[{found.low:+.4f}, {found.high:+.4f}]  {'flat' if flat else 'GROWS'}"
        )
    growth = growth_per_frame(samples)
    print("bytes a frame:", growth)
    data = {
        "plan": plan,
        "minutes": round(minutes, 1),
        "growth_bytes_a_frame": growth,
        "trends": [asdict(bound) | asdict(found) | {"flat": flat} for bound, found, flat in judged],
        "by_minute": _compact(samples),
    }
    for folder in ("img", "data"):
        (docs / folder).mkdir(parents=True, exist_ok=True)
    (docs / "data" / "soak.json").write_text(json.dumps(_rounded(data), separators=(",", ":")) + "\n")
    draw(samples, f"{minutes:.0f} minutes at {plan['load']:.0%} of the engines' capacity", docs / "img" / "soak.svg")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list) else value


def _compact(samples: Samples) -> dict[str, list[float]]:
    names = dict.fromkeys(name for one in samples for name in one if name != "at_s")
    found = {name: by_minute(*series(samples, name)) for name in names}
    longest = max((at for at, _ in found.values()), key=len)
    return {"minute": [at // 60 for at in longest]} | {name: values for name, (_, values) in found.items()}


def draw(samples: Samples, title: str, path: Path) -> None:
    """Six small pictures over time."""
    import_module("matplotlib").rcParams["svg.hashsalt"] = "gistline"
    figure = import_module("matplotlib.figure").Figure(figsize=(11, 9), layout="constrained", dpi=120)
    areas = figure.subplots(3, 2, sharex=True).ravel()
    panels: tuple[tuple[str, list[tuple[str, str]]], ...] = (
        ("memory of its own (USS), MB", [(f"{name}.uss_mb", name) for name in PROCESSES]),
        ("open descriptors", [(f"{name}.fds", name) for name in PROCESSES]),
        (
            "accepted to finished, s",
            [("done.p50_s", "p50"), ("done.p99_s", "p99"), ("queue.oldest_s", "oldest waiting")],
        ),
        (
            "threads; connections",
            [*((f"{name}.threads", name) for name in PROCESSES[:4]), ("db.connections", "PostgreSQL connections")],
        ),
        ("frames waiting; frames/s done", [("queue.pending", "waiting"), ("done.frames_s", "frames/s")]),
        (
            "on disk, MB",
            [
                ("store.mb", "frame store"),
                ("db.mb", "database"),
                ("db.wal_mb", "its log"),
                ("redis.used_mb", "Redis (memory)"),
            ],
        ),
    )
    for area, (name, lines) in zip(areas, panels, strict=True):
        for one, label in lines:
            at, values = series(samples, one)
            if at:
                at, values = by_minute(at, values)
                area.plot([second / 60 for second in at], values, linewidth=1.1, label=label)
        area.set(title=name, ylim=(0, None))
        area.title.set_fontsize(9)
        area.grid(visible=True, color="#e4e4e4", linewidth=0.6)
        area.legend(frameon=False, fontsize=7, ncols=2)
    for area in areas[-2:]:
        area.set_xlabel("minutes")
    figure.suptitle(f"Soak: {title}", fontsize=11)
    figure.savefig(path, metadata={"Date": None})
