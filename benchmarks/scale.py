"""One to eight workers on a simulated engine: ``python -m benchmarks.scale [--workers 1 2 4 8] [--frame-ms 1 5 15]``.

Engines sleep, so a machine of two cores can host eight; what it cannot host is the work around them, and the table says
what that costs. Each case drains rows that were queued while its workers stood still (throughput, fairness, cost), then
takes Poisson arrivals at a share of that rate (response times). Writes ``img/scale.svg`` and ``data/scale.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.arrivals import BATCH, Ended, arrive, drain
from benchmarks.load_meter import Cost, metered
from benchmarks.rig import Crew, Pictures, Rig, crew, rig
from gistline.simulator.engine import Speed

CAMERAS = 8
MIDDLE = (0.1, 0.9)
"""Shares of the frames between which a rate is taken: neither the start of eight workers nor the end of the last."""


@dataclass
class Case:
    """One engine speed with so many workers."""

    workers: int
    frame_ms: float
    ideal: float
    """Frames a second that the engines alone could do."""
    frames_s: float = 0.0
    batch: float = 0.0
    jain: float = 0.0
    worker_ms: float = 0.0
    postgres_ms: float = 0.0
    commits: float = 0.0
    pages: float = 0.0
    lock_waits: float = 0.0
    cores: float = 0.0
    others_cores: float = 0.0
    active: dict[str, float] = field(default_factory=dict)
    open_rate: float = 0.0
    open_p50_ms: float = 0.0
    open_p99_ms: float = 0.0
    open_jain: float = 0.0

    def line(self) -> str:
        return (
            f"{self.frame_ms:5g} {self.workers:3d} {self.ideal:8.0f} {self.frames_s:9.0f}"
            f" {self.frames_s / self.ideal:6.2f}"
            f" {self.batch:6.1f} {self.jain:6.3f} {self.worker_ms:8.2f} {self.postgres_ms:7.2f} {self.commits:7.2f}"
            f" {self.lock_waits:6.2f} {self.cores:6.2f} {self.others_cores:7.2f} {self.open_rate:8.0f}"
            f" {self.open_p50_ms:8.0f} {self.open_p99_ms:8.0f} {self.open_jain:6.3f}"
        )


HEAD = (
    "   ms  wk    ideal  frames/s  share  batch   Jain  wk CPU  PG CPU commits  locks  cores  others"
    "     open      p50      p99   Jain"
)


def jain(values: NDArray[np.float64]) -> float:
    """Jain's index: 1 when all are alike, 1/n when one has everything."""
    return float(values.sum() ** 2 / (len(values) * (values**2).sum())) if values.any() else 1.0


def middle_rate(finished: NDArray[np.float64]) -> float:
    """Frames a second between the shares of :data:`MIDDLE`."""
    first, last = (int(share * (len(finished) - 1)) for share in MIDDLE)
    return float((last - first) / max(finished[last] - finished[first], 1e-9))


def backlog_fairness(ended: Ended, cameras: int) -> float:
    """Jain's index of the cameras' frames among the first half that ended: equal demands, so equal shares are fair."""
    early = ended.cameras[: len(ended.cameras) // 2]
    _, counts = np.unique(early, return_counts=True)
    return jain(np.pad(counts, (0, cameras - len(counts))).astype(float))


def measure(made: Rig, pictures: Pictures, case: Case, given: argparse.Namespace) -> Case:
    """Drain, then arrivals."""
    with crew(made, Speed(given.batch_ms / 1000, case.frame_ms / 1000), detect=case.workers) as running:
        drain(made, running, pictures, [(n % CAMERAS, BATCH) for n in range(2 * case.workers)])  # warms up
        count = int(min(case.ideal, given.most_frames_s) * given.seconds) // (BATCH * CAMERAS) + 1
        queue = [(camera, BATCH) for _ in range(count) for camera in range(CAMERAS)]
        with metered(made, running) as cost:
            _, ended = drain(made, running, pictures, queue)
        _note(case, ended, cost)
        if given.open_load:
            case.open_rate = given.open_load * min(case.frames_s, case.ideal)
            response = arrive(made, pictures, rate=case.open_rate, seconds=given.seconds)
            _note_arrivals(case, response)
    return case


def _note(case: Case, ended: Ended, cost: Cost) -> None:
    frames = len(ended.finished)
    case.frames_s, case.batch = middle_rate(ended.finished), float(ended.batch_sizes().mean())
    case.jain = backlog_fairness(ended, CAMERAS)
    case.worker_ms, case.postgres_ms = (1000 * one / frames for one in (cost.workers_cpu_s, cost.postgres_cpu_s))
    case.commits, case.pages = cost.commits / frames, cost.pages / frames
    case.lock_waits, case.active = cost.lock_waits(), {name: round(one, 3) for name, one in cost.active().items()}
    case.cores, case.others_cores = cost.cores, max(0.0, cost.cores - cost.ours)


def _note_arrivals(case: Case, ended: Ended) -> None:
    response = ended.response_s
    case.open_p50_ms, case.open_p99_ms = (1000 * float(np.percentile(response, cut)) for cut in (50, 99))
    case.open_jain = jain(np.array([response[ended.cameras == one].mean() for one in np.unique(ended.cameras)]))


def chatty(made: Rig, pictures: Pictures, running: Crew) -> dict[str, float]:
    """One camera queues 960 frames, then seven queue 32 each: how long do those wait, beside the whole drain?"""
    queue = [(0, BATCH)] * 60 + [(camera, BATCH) for _ in range(2) for camera in range(1, CAMERAS)]
    begun, ended = drain(made, running, pictures, queue)
    loud = ended.cameras == made.cameras[0][0].id
    wait = ended.finished - begun
    return {
        "drain_s": float(wait.max()),
        "chatty_p50_s": float(np.median(wait[loud])),
        "others_p50_s": float(np.median(wait[~loud])),
        "others_max_s": float(wait[~loud].max()),
    }


def draw(cases: Sequence[Case], path: Path) -> None:
    """Throughput beside the engines' own, CPU a frame, response times."""
    import_module("matplotlib").rcParams["svg.hashsalt"] = "gistline"
    figure = import_module("matplotlib.figure").Figure(figsize=(12, 4.2), layout="constrained", dpi=120)
    speed, cpu, wait = figure.subplots(1, 3)
    for colour, frame_ms in zip(
        ("#3b6fb6", "#c2571a", "#4b8b3b", "#8a4fa3"), sorted({c.frame_ms for c in cases}), strict=False
    ):
        some = [case for case in cases if case.frame_ms == frame_ms]
        workers = [case.workers for case in some]
        speed.plot(workers, [c.frames_s for c in some], "o-", color=colour, label=f"{frame_ms:g} ms a frame")
        speed.plot(workers, [c.ideal for c in some], ":", color=colour, linewidth=1)
        cpu.plot(workers, [c.worker_ms for c in some], "o-", color=colour, label=f"workers, {frame_ms:g} ms")
        cpu.plot(workers, [c.postgres_ms for c in some], "s--", color=colour, label=f"PostgreSQL, {frame_ms:g} ms")
        wait.plot(workers, [c.open_p50_ms for c in some], "o-", color=colour, label=f"p50, {frame_ms:g} ms")
        wait.plot(workers, [c.open_p99_ms for c in some], "s--", color=colour, label=f"p99, {frame_ms:g} ms")
    speed.set(title="frames/s (dotted: the engines alone)", xscale="log", yscale="log")
    cpu.set(title="CPU, ms a frame", xscale="log", ylim=(0, None))
    wait.set(title="accepted to committed, ms, open loop", xscale="log", ylim=(0, None))
    for area in (speed, cpu, wait):
        area.set_xticks([case.workers for case in cases], [str(case.workers) for case in cases])
        area.minorticks_off()
        area.set_xlabel("workers")
        area.grid(visible=True, color="#e4e4e4", linewidth=0.6)
        area.legend(frameon=False, fontsize=7, ncols=2 if area is cpu else 1)
    figure.savefig(path, metadata={"Date": None})


def write(cases: Sequence[Case], loud: dict[str, float], docs: Path) -> None:
    """The table's data and picture."""
    for folder in ("img", "data"):
        (docs / folder).mkdir(parents=True, exist_ok=True)
    data = {"cores": os.cpu_count(), "cases": [_rounded(asdict(case)) for case in cases], "chatty": _rounded(loud)}
    (docs / "data" / "scale.json").write_text(json.dumps(data, indent=1) + "\n")
    draw(cases, docs / "img" / "scale.svg")


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {name: float(f"{one:.4g}") if isinstance(one, float) else one for name, one in values.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--frame-ms", type=float, nargs="+", default=[1.0, 5.0, 15.0])
    parser.add_argument("--batch-ms", type=float, default=0.0, help="fixed part of a batch")
    parser.add_argument("--seconds", type=float, default=4.0, help="of work in each case")
    parser.add_argument("--most-frames-s", type=float, default=900.0, help="guess of what the machine can do at most")
    parser.add_argument("--open-load", type=float, default=0.6, help="arrivals as a share of the rate found; 0: none")
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    given = parser.parse_args()
    pictures, cases = Pictures(), []
    print(f"{os.cpu_count()} cores, {CAMERAS} cameras\n{HEAD}")
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="gistline-scale-", ignore_cleanup_errors=True))
        made = stack.enter_context(rig(Path(folder) / "data", cameras=CAMERAS, frames={"fsync": False}))
        for frame_ms in given.frame_ms:
            for workers in given.workers:
                ideal = workers * BATCH / Speed(given.batch_ms / 1000, frame_ms / 1000).of(BATCH)
                cases.append(measure(made, pictures, Case(workers, frame_ms, ideal), given))
                print(cases[-1].line(), flush=True)
        with crew(made, Speed(0.0, 0.005), detect=2) as running:
            loud = chatty(made, pictures, running)
    print("chatty camera:", loud)
    write(cases, loud, given.docs)


if __name__ == "__main__":
    main()
