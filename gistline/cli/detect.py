"""``gistline detect IMAGE...``: findings of image files, in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import click
from rich.markup import escape
from rich.table import Column, Table

from gistline.cli.invocation import settings_of
from gistline.cli.output import BAD_INPUT, console, errors, print_json
from gistline.flows.detect_images import DetectedImage, RefusedImage, detect_images
from gistline.settings import Settings


@click.command("detect")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...", type=click.Path(path_type=Path))
@click.option("--draw", "folder", type=click.Path(file_okay=False, path_type=Path), help="Write annotated copies here.")
@click.option("--min-confidence", type=click.FloatRange(0.001, 1.0), help="Drop findings below this, not the setting.")
@click.option("--model", type=click.Path(path_type=Path), help="ONNX detector, not the setting's.")
@click.option("--labels", type=click.Path(path_type=Path), help="Class names of --model; default: those in its file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.pass_context
def command(
    context: click.Context,
    /,
    *,
    images: tuple[Path, ...],
    folder: Path | None,
    min_confidence: float | None,
    as_json: bool,
    **own: Path | None,
) -> None:
    """Find defects in image files, without any server.

    A file that is no image is named on standard error; the others are still inspected, and the exit code is 2.
    """
    settings = _with_model(settings_of(context), own)
    done, refused = _detect(images, settings, folder=folder, min_confidence=min_confidence)
    if as_json:
        print_json(_as_json(done))
    elif done:
        console().print(_as_table(done))
    for one in refused:
        errors().print(f"{one.path}: {one.error}", markup=False)
    if refused:
        context.exit(BAD_INPUT)


def _with_model(settings: Settings, own: Mapping[str, Path | None]) -> Settings:
    """``--model`` and ``--labels`` in place of the settings; another model never takes the settings' labels."""
    model, labels = own["model"], own["labels"]
    changes = {"labels": str(labels)} if labels else {}
    if model is not None:
        changes = {"model": str(model), "labels": str(labels or "")}
    return settings.model_copy(update={"detection": settings.detection.model_copy(update=changes)})


def _detect(
    images: Sequence[Path], settings: Settings, *, folder: Path | None, min_confidence: float | None
) -> tuple[list[DetectedImage], list[RefusedImage]]:
    done: list[DetectedImage] = []
    refused: list[RefusedImage] = []
    written: set[str] = set()
    for result in detect_images(images, settings, min_confidence=min_confidence, drawn=folder is not None):
        if isinstance(result, RefusedImage):
            refused.append(result)
            continue
        if folder is not None and result.drawn is not None:
            _write_copy(folder / _copy_name(result.path, written), result.drawn)
        done.append(DetectedImage(result.path, result.size, result.detections))
    return done, refused


def _copy_name(source: Path, written: set[str]) -> str:
    """``board.jpg`` -> ``board.findings.png``, numbered where folders share a name; never the name of a source."""
    name, number = f"{source.stem}.findings.png", 1
    while name in written:
        number += 1
        name = f"{source.stem}-{number}.findings.png"
    written.add(name)
    return name


def _write_copy(path: Path, png: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png)
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error.strerror or error}.") from error


def _as_json(done: Sequence[DetectedImage]) -> dict[str, list[dict[str, object]]]:
    """Boxes as ``[x, y, width, height]`` in pixels of the file, to a hundredth."""
    return {
        "images": [
            {
                "file": str(one.path),
                "width": one.size.width,
                "height": one.size.height,
                "findings": [
                    {
                        "class": found.label,
                        "confidence": round(found.confidence, 4),
                        "bbox": [round(side, 2) for side in (found.box.x, found.box.y, found.box.w, found.box.h)],
                    }
                    for found in one.detections
                ],
            }
            for one in done
        ]
    }


def _as_table(done: Sequence[DetectedImage]) -> Table:
    table = Table(Column("image", overflow="fold"), "class", "confidence", "x", "y", "width", "height")
    for one in done:
        name = escape(str(one.path))
        for found in one.detections:
            sides = (found.box.x, found.box.y, found.box.w, found.box.h)
            table.add_row(name, found.label, f"{found.confidence:.2f}", *(f"{side:.0f}" for side in sides))
        if not one.detections:
            table.add_row(name, "no findings")
    return table
