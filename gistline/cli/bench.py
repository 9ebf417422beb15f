"""``gistline bench MODEL...``: a quick look at engines, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.markup import escape
from rich.table import Column, Table

from gistline.cli.invocation import settings_of
from gistline.cli.models.registry import registry
from gistline.cli.output import console, errors, print_json
from gistline.detection import hardware
from gistline.detection.bench import CellResult, Stage
from gistline.detection.model_file import ModelFile
from gistline.flows.bench_engines import (
    BenchPlan,
    EngineBench,
    bench_engines,
    find_model,
    images_in,
    rendered_images,
)
from gistline.flows.register_model import fetch_model
from gistline.settings import Settings
from gistline.storage.models import find_model as stored_model
from gistline.storage.session import transaction

HEADINGS = ("stage", "batch", "images/s", "lowest", "highest", "mean", "p50", "p90", "p95", "p99", "max")
PIPED_WIDTH = 140
_WORDS = {Stage.ENGINE: "engine alone", Stage.DETECT: "pixels to boxes", Stage.BYTES: "bytes to boxes"}


class Batches(click.ParamType[tuple[int, ...]]):
    """Numbers with commas between them; 0 or ``stream`` streams."""

    name = "batches"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """``"1,4,stream"`` -> ``(1, 4, 0)``."""
        if isinstance(value, tuple):
            return value
        words = [word.strip() for word in str(value).split(",")]
        if not all(word == "stream" or (word.isdecimal() and int(word) <= 256) for word in words):
            self.fail(f"{value!r} is no list such as 1,2,4,stream; batches are at most 256.", param, ctx)
        return tuple(dict.fromkeys(0 if word == "stream" else int(word) for word in words))


@click.command("bench")
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option("--images", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Take this folder's.")
@click.option("--batch", "batches", type=Batches(), default="1,2,4,8,stream", show_default=True, help="Images a call.")
@click.option(
    "--stage",
    "stages",
    multiple=True,
    type=click.Choice([stage.value for stage in Stage]),
    help="Time only this; may be repeated.",
)
@click.option("--rounds", type=click.IntRange(1, 1000), default=5, show_default=True, help="Turns of every cell.")
@click.option(
    "--turn", "turn_s", type=click.FloatRange(0.01, 60), default=0.25, show_default=True, help="Seconds a turn."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(
    context: click.Context, /, *, models: tuple[str, ...], images: Path | None, as_json: bool, **how: Any
) -> None:
    """Latency and throughput of detectors, side by side.

    MODEL is an ONNX file, bundled:int8, bundled:fp32 or a name of the registry; without one the bundled INT8 detector
    is taken. With several, all take turns in one run and ratios are to the first, within each round. 'stream' hands
    images over without a pause, so that every stream is busy; its latency includes the wait in the queue.
    """
    settings = settings_of(context)
    how["stages"] = tuple(Stage(stage) for stage in how["stages"]) or tuple(Stage)
    with errors().status("Timing"):
        data = images_in(images, settings.frames) if images else rendered_images()
        found = [(name, find_model(name, partial(_stored, context))) for name in models or ("bundled:int8",)]
        benches = bench_engines(found, data, BenchPlan(**how), settings)
    if as_json:
        print_json(_as_json(benches, settings, source=str(images or "rendered boards"), images=len(data)))
    else:
        _print(benches, settings, source=f"{len(data)} {'images of ' + str(images) if images else 'rendered boards'}")


def _stored(context: click.Context, name: str) -> ModelFile:
    with registry(context) as held:
        with transaction(held.sessions) as session:
            stored = stored_model(session, name)
        return fetch_model(held.sessions, stored, held.settings)


def _as_json(benches: Sequence[EngineBench], settings: Settings, *, source: str, images: int) -> dict[str, Any]:
    """Rates in images a second, latencies in milliseconds, ratios to the first engine."""
    return {
        "cpu": asdict(hardware.cpu()),
        "images": {"source": source, "count": images},
        "streams": settings.detection.streams or "chosen by the runtime",
        "engines": [asdict(bench) for bench in benches],
    }


def _print(benches: Sequence[EngineBench], settings: Settings, *, source: str) -> None:
    shown = console()
    if not shown.is_terminal:
        shown.width = PIPED_WIDTH  # a file or a pipe has no width that figures would have to be cut to
    for bench in benches:
        shown.print(_table(bench, compared=bench is not benches[0]))
    cpu = hardware.cpu()
    shown.print(
        f"{cpu.model}, {cpu.cores} cores, {' '.join(cpu.int8_flags) or 'no instructions for INT8'}; {source}; "
        "latency in ms a call; warm-up left out",
        markup=False,
    )


def _table(bench: EngineBench, *, compared: bool) -> Table:
    columns = [Column(heading, justify="left" if heading == "stage" else "right") for heading in HEADINGS]
    if compared:
        columns += [Column(heading, justify="right") for heading in ("ratio", "lowest", "highest")]
    info = bench.info
    precisions = ", ".join(f"{count} {name}" for name, count in info.layer_precisions)
    title = f"{bench.name}: {info.runtime} on {info.device}, {bench.in_flight} in flight; convolutions: {precisions}"
    table = Table(*columns, title=escape(title))
    for cell in bench.cells:
        table.add_row(*_row(cell, compared=compared))
    return table


def _row(result: CellResult, *, compared: bool) -> list[str]:
    rate, times, ratio = result.rate, result.latency, result.ratio
    cells = [_WORDS[result.cell.stage], str(result.cell.batch or "stream")]
    cells += [f"{value:.1f}" for value in (rate.median, rate.low, rate.high)]
    cells += [f"{value:.2f}" for value in (times.mean, times.p50, times.p90, times.p95, times.p99, times.most)]
    return cells + ([f"{value:.3f}" for value in (ratio.median, ratio.low, ratio.high)] if compared else [])
