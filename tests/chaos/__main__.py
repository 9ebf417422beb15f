"""``python -m tests.chaos``: runs by seed, a line each; exit code 1 when one failed, whose logs are kept."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from gistline.embedded.processes import termination_raises
from tests.chaos.clock import build_library
from tests.chaos.plan import Kind, Plan, make_plan
from tests.chaos.run import Result, run
from tests.chaos.servers import build_template
from tests.support.processes import ROOT

RUN_WITHIN_S = 300.0


def main() -> int:
    """Parse, run, print."""
    asked = _parser().parse_args()
    if asked.one is not None:
        return _one(asked)
    with termination_raises(), tempfile.TemporaryDirectory(prefix="gistline-chaos-", dir=asked.folder) as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)
        template, library = build_template(folder), build_library(folder)
        return _many(asked, folder, [str(template), str(library or "")])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seeds", type=_seeds, default=range(1, 11), help="one number, or a range such as 1-200")
    parser.add_argument("--faults", type=Kind, nargs="*", default=[], help="these kinds instead of the seed's choice")
    parser.add_argument("--frames", type=int, default=200, help="frames sent in a run")
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 1)), help="runs at a time")
    parser.add_argument("--out", type=Path, help="file that gets a line of JSON a run")
    parser.add_argument("--kept", type=Path, default=Path("chaos-failures"), help="where logs of failed runs go")
    parser.add_argument("--folder", help="where runs live (a folder that everybody may pass); else the temporary one")
    parser.add_argument("--one", nargs=4, metavar=("FOLDER", "TEMPLATE", "LIBRARY", "SLOT"), help=argparse.SUPPRESS)
    return parser


def _seeds(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def _one(asked: argparse.Namespace) -> int:
    """A single run in a process of its own; its result is the last line of the output."""
    folder, template, library, slot = asked.one
    plan = make_plan(asked.seeds[0], kinds=tuple(asked.faults), frames=asked.frames)
    with termination_raises():
        result = run(plan, Path(folder), Path(template), Path(library) if library else None, slot=int(slot))
    sys.stdout.write(json.dumps(result.as_json()) + "\n")
    return 0 if result.passed else 1


def _many(asked: argparse.Namespace, folder: Path, given: list[str]) -> int:
    began, results = time.monotonic(), list[Result]()
    slots: SimpleQueue[int] = SimpleQueue()
    for slot in range(asked.jobs):
        slots.put(os.getpid() * asked.jobs + slot)
    with ThreadPoolExecutor(asked.jobs) as pool:
        runs = pool.map(lambda seed: _in_process(asked, seed, folder, given, slots), asked.seeds)
        for result in _told(runs, asked):
            results.append(result)
    _say(_summary(results, time.monotonic() - began))
    return 0 if all(result.passed for result in results) else 1


def _in_process(
    asked: argparse.Namespace, seed: int, folder: Path, given: list[str], slots: SimpleQueue[int]
) -> Result:
    slot = slots.get()
    place = folder / f"run-{seed}"
    argv = [sys.executable, "-m", "tests.chaos", "--seeds", str(seed), "--frames", str(asked.frames)]
    argv += ["--faults", *asked.faults] if asked.faults else []
    argv += ["--one", str(place), *given, str(slot)]
    try:
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=RUN_WITHIN_S, check=False)
        output, errors = done.stdout, done.stderr
    except subprocess.TimeoutExpired as late:
        output, errors = "", f"not done in {RUN_WITHIN_S:.0f} s\n{late.stderr!r}"
    finally:
        slots.put(slot)
    result = _read(output, errors, make_plan(seed, kinds=tuple(asked.faults), frames=asked.frames))
    if not result.passed:
        _keep(place, asked.kept / f"seed-{seed}", errors)
    return result


def _read(output: str, errors: str, plan: Plan) -> Result:
    if lines := output.strip().splitlines():
        return Result(**json.loads(lines[-1]))
    return Result(plan.seed, [str(kind) for kind in plan.kinds], complaints=[f"the run broke off: {errors[-1500:]}"])


def _keep(place: Path, kept: Path, errors: str) -> None:
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    if (place / "logs").is_dir():
        shutil.copytree(place / "logs", kept / "logs")
    (kept / "harness.txt").write_text(errors)


def _told(results: Iterator[Result], asked: argparse.Namespace) -> Iterator[Result]:
    """Print and write each result as it comes."""
    for result in results:
        _say(result.line())
        for complaint in result.complaints:
            _say(f"    {complaint}")
        if not result.passed:
            plan = make_plan(result.seed, kinds=tuple(asked.faults), frames=asked.frames)
            _say("    " + "; ".join(map(str, plan.faults)) + f"; logs in {asked.kept}/seed-{result.seed}")
        if asked.out:
            with asked.out.open("a") as file:
                file.write(json.dumps(result.as_json()) + "\n")
        yield result


def _summary(results: list[Result], seconds: float) -> str:
    total = {name: sum(getattr(one, name) for one in results) for name in ("accepted", "lost", "doubled", "collateral")}
    recovered = sorted(one.recover_s for one in results)
    middle, worst = recovered[len(recovered) // 2], recovered[-1]
    failed = [one.seed for one in results if not one.passed]
    return (
        f"{len(results)} runs in {seconds:.0f} s: {total['accepted']} frames accepted, {total['lost']} lost, "
        f"{total['doubled']} doubled; recovered in {middle:.1f} s (median), {worst:.1f} s at most;"
        f" failed: {failed or 'none'}"
    )


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
