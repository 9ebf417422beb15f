"""``gistline model build``: the engine of a detector for this machine's GPU, built before a worker needs it."""

from __future__ import annotations

from pathlib import Path

import click
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from gistline.cli.invocation import settings_of
from gistline.cli.output import console, errors, print_json
from gistline.flows.build_engine import Built, build_engine
from gistline.settings import Settings

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command("build")
@click.argument("model", type=FILE, required=False)
@click.option("--calibration", type=FOLDER, help="Frames for TensorRT's own calibrator (up to release 10, FP32 files).")
@click.option("--max-batch", type=click.IntRange(1, 256), help="Most images at once, not the setting.")
@click.option("--force", is_flag=True, help="Build what is silly on this GPU, and anew what is there.")
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON.")
@click.pass_context
def build(
    context: click.Context,
    /,
    *,
    model: Path | None,
    calibration: Path | None,
    max_batch: int | None,
    force: bool,
    json_wanted: bool,
) -> None:
    """Build a detector's TensorRT engine for this machine's GPU; it takes minutes. Default: the model of the settings.

    The engine is kept under a key of GPU, release, model, calibration and batches (detection.tensorrt), and workers
    with the same settings load it. What runs in INT8, FP16 and FP32 is read from the built engine.
    """
    settings = _with(settings_of(context), model, max_batch)
    with _bar() as bar:
        task = bar.add_task("Building", total=1.0)

        def tell(share: float, phase: str) -> None:
            bar.update(task, completed=share, description=escape(phase))

        built = build_engine(settings, calibration=calibration, progress=tell, force=force)
    if json_wanted:
        print_json(built.as_json())
        return
    console().print(_table(built))


def _with(settings: Settings, model: Path | None, max_batch: int | None) -> Settings:
    detection = settings.detection
    if model is not None:
        detection = detection.model_copy(update={"model": str(model)})
    if max_batch is not None:
        tensorrt = detection.tensorrt.model_copy(update={"max_batch": max_batch})
        detection = detection.model_copy(update={"tensorrt": tensorrt})
    return settings.model_copy(update={"detection": detection})


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), console=errors()
    )


def _table(built: Built) -> Table:
    info = built.info
    table = Table("what", "value", box=None, show_header=False)
    table.add_row("engine", escape(str(built.path)))
    table.add_row("model", f"{escape(info.model)} ({info.weights_sha256[:12]})")
    table.add_row("runs on", escape(f"{info.device}, {info.runtime}"))
    for precision, count in info.layer_precisions:
        table.add_row(f"{precision} convolutions", f"{count} of {info.convolutions}")
    if not info.layer_precisions:
        table.add_row("convolutions", "the engine tells nothing of its layers")
    table.add_row("reformats", str(built.reformats))
    table.add_row("took", f"{built.seconds:.0f} s" if built.fresh else "nothing: it was there already")
    return table
