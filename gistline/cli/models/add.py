"""``gistline model add FILE``: somebody's detector, understood, tried and taken into the registry."""

from __future__ import annotations

import re
from pathlib import Path

import click

from gistline.cli.actor import actor
from gistline.cli.models.registry import registry
from gistline.cli.output import console, print_json
from gistline.detection.labels_file import read_labels
from gistline.detection.layouts import LayoutKind
from gistline.detection.understanding import Wishes
from gistline.flows.adopt_model import TriedModel, adopt_model
from gistline.flows.register_model import register_model


class _Size(click.ParamType[tuple[int, int]]):
    """``480x640`` or ``640`` -> ``(height, width)``."""

    name = "size"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Read it, or fail as wrong usage."""
        found = re.fullmatch(r"(\d{2,5})(?:x(\d{2,5}))?", value.lower())
        if found is None:
            self.fail(f"{value!r} is not HEIGHTxWIDTH in pixels, such as 480x640.", param, ctx)
        return int(found[1]), int(found[2] or found[1])


@click.command("add")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    help="Class names: YAML (also data.yaml) or a text with one a line. Default: those in FILE.",
)
@click.option(
    "--layout",
    type=click.Choice([kind.value for kind in LayoutKind]),
    help="How to read its predictions, where the shapes leave it open.",
)
@click.option("--size", type=_Size(), metavar="HEIGHTxWIDTH", help="Input size, where FILE leaves it open.")
@click.option("--output", metavar="NAME", help="The output to read, where several fit.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the result here; no registry.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def add(
    context: click.Context,
    /,
    *,
    file: Path,
    labels: Path | None,
    out: Path | None,
    as_json: bool,
    **told: str | tuple[int, int] | None,
) -> None:
    """Take an ONNX detector in: YOLOv5 to YOLO26, as their exporters write it.

    Its layout is recognised from the shapes and said aloud, its answers to two test images are examined, and what you
    say of it (labels, layout, size) is written into its metadata, so that from then on the file says it itself. A file
    that would be misunderstood is refused with what was seen.
    """
    tried = adopt_model(file, _wishes(labels, **told))
    facts = _facts(tried)
    if out is None:
        facts["new"] = _register(context, tried)
    else:
        _write(out, tried.model.content)
        facts["file"] = str(out)
    if as_json:
        print_json(facts)
    else:
        for line in _lines(tried, facts):
            console().print(line, markup=False)


def _wishes(labels: Path | None, **told: str | tuple[int, int] | None) -> Wishes:
    layout, size, output = told["layout"], told["size"], told["output"]
    return Wishes(
        labels=read_labels(labels) if labels else None,
        layout=LayoutKind(layout) if isinstance(layout, str) else None,
        size=size if isinstance(size, tuple) else None,
        output=output if isinstance(output, str) else None,
    )


def _register(context: click.Context, tried: TriedModel) -> bool:
    """Whether the registry did not have it yet."""
    with registry(context) as opened:
        return register_model(opened.sessions, tried.model, opened.settings.registry, by=actor()).new


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error.strerror or error}.") from error


def _facts(tried: TriedModel) -> dict[str, object]:
    model, height, width = tried.model, *tried.model.input_size
    return {
        "name": model.name,
        "sha256": model.sha256,
        "layout": model.layout.kind.value,
        "labels": list(model.labels),
        "predictions": tried.predictions,
        "input": {"height": height, "width": width},
        "batch": model.max_batch,
        "float16": model.float16,
        "convolutions": model.convolutions,
        "quantised_convolutions": model.quantised_convolutions,
        "changes": list(tried.changes),
    }


def _lines(tried: TriedModel, facts: dict[str, object]) -> list[str]:
    model, (height, width) = tried.model, tried.model.input_size
    batch = f"batch {model.max_batch}" if model.max_batch else "batch dynamic"
    kind = "FP16" if model.float16 else "FP32"
    if model.quantised_convolutions:
        kind = f"INT8 in {model.quantised_convolutions} of {model.convolutions} convolutions, else {kind}"
    said = [
        f"recognised: {model.layout.name}, {len(model.labels)} classes, {tried.predictions} predictions, "
        f"{height}x{width} (height x width), {batch}, {kind}",
        f"classes: {', '.join(model.labels)}",
        f"tried: two test images, {tried.engine.runtime}; scores lie in 0..1, boxes in pixels",
        *(f"changed: {change}" for change in tried.changes),
    ]
    if "file" in facts:
        return [*said, f"written: {facts['file']}, sha256 {model.sha256}"]
    return [*said, f"{'added' if facts['new'] else 'already there'}: {model.name}, sha256 {model.sha256}"]
