"""``gistline model quantise MODEL``: an INT8 detector out of an FP32 one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from gistline.cli.invocation import settings_of
from gistline.cli.output import FAILED, console, errors
from gistline.detection import hardware
from gistline.detection.calibration import MOST_IMAGES
from gistline.detection.pareto_picture import Mark, check_picture, draw_marks
from gistline.detection.placement import Head, Spare
from gistline.detection.quantise import QuantisationResult, Recipe, Target
from gistline.detection.ranges import Method
from gistline.flows.quantise_model import Order, Quantised, quantise_model
from gistline.flows.search_precision import Choice, Goal, Row
from gistline.flows.trial_images import LabelledFiles

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command("quantise")
@click.argument("model", type=FILE)
@click.option("--calibration", type=FOLDER, required=True, help="Folder of 100 to 500 frames of your cameras.")
@click.option(
    "--target",
    type=click.Choice([*map(str, Target)]),
    default="openvino",
    show_default=True,
    help="Runtime that the file is for.",
)
@click.option("--method", type=click.Choice([*map(str, Method)]), default="mse", show_default=True, help="Of ranges.")
@click.option("--percentile", type=click.FloatRange(50, 100), default=99.99, show_default=True, help="For that method.")
@click.option("--per-tensor", is_flag=True, help="One weight scale a convolution, to compare with.")
@click.option("--head", type=click.Choice([*map(str, Head)]), help="What of the head stays in float.  [default: last]")
@click.option("--keep", multiple=True, metavar="GLOB", help="Keep matching convolutions in float; may be repeated.")
@click.option("--min-channels", type=click.IntRange(0), default=0, help="Keep convolutions with fewer in float.")
@click.option("--clamp", type=click.FloatRange(0, min_open=True), help="Saturate activations there, such as 6.")
@click.option("--weight-steps", type=click.IntRange(15, 127), help="Largest weight.  [default: what this CPU can add]")
@click.option("--body", type=click.Choice(["fp16", "fp32"]), help="Type of what is not quantised.")
@click.option("--most-images", type=click.IntRange(1), default=MOST_IMAGES, show_default=True, help="Taken of many.")
@click.option("--max-loss", type=click.FloatRange(0), help="Search what must stay in float: points of mAP50-95.")
@click.option("--labelled", type=FILE, help="COCO file for the search.  [default: passport.labelled, or boards]")
@click.option("--images", type=FOLDER, help="Its pictures.  [default: beside it]")
@click.option("--rounds", type=click.IntRange(0, 100), default=4, show_default=True, help="Seconds timed a model.")
@click.option("--picture", type=click.Path(dir_okay=False, path_type=Path), help="Draw the search here (.svg, .png).")
@click.option("--seed", type=int, default=0, help="Parts the labelled images.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="File.  [default: MODEL.int8.onnx]")
@click.pass_context
def quantise(context: click.Context, /, *, model: Path, calibration: Path, **how: Any) -> None:
    """Make an INT8 detector out of an FP32 one, by static calibration.

    --target openvino writes unsigned activations for CPUs; --target tensorrt signed ones around a float16 body, for
    NVIDIA GPUs (--body fp32 for TensorRT before 10). With --max-loss 0.5 whole models are measured on labelled images
    until as little as possible stays in float for a loss of at most half a point of mAP 0.50-0.95.
    """
    settings = settings_of(context)
    recipe = _recipe(how)
    out = how["out"] or model.with_name(f"{model.stem}.{_ending(recipe)}.onnx")
    if how["picture"]:
        check_picture(how["picture"])
    order = Order(recipe, how["most_images"], _goal(how))
    with errors().status("Reading") as status:
        done = quantise_model(
            model,
            calibration,
            out=out,
            order=order,
            settings=settings,
            progress=lambda what: status.update(escape(what)),
        )
    _print_remarks(done)
    if done.choice is not None:
        _print_choice(done.choice, how["picture"])
    if done.result is None:
        context.exit(FAILED)
    _print_result(done.result, done)


def _recipe(how: dict[str, Any]) -> Recipe:
    target = Target(how["target"])
    gpu, searching = target is Target.TENSORRT, how["max_loss"] is not None
    # TensorRT 8.6 fails on a quantised last convolution; a search may try it elsewhere.
    head = Head(how["head"]) if how["head"] else Head.NONE if searching and not gpu else Head.LAST
    return Recipe(
        method=Method(how["method"]),
        percentile=how["percentile"],
        target=target,
        weight_steps=how["weight_steps"] or hardware.weight_steps(hardware.cpu()),
        per_channel=not how["per_tensor"],
        clamp=how["clamp"],
        half=how["body"] == "fp16" if how["body"] else gpu,
        spare=Spare(head, how["keep"], least_channels=how["min_channels"]),
    )


def _goal(how: dict[str, Any]) -> Goal | None:
    if how["images"] and not how["labelled"]:
        raise click.UsageError("--images says where the pictures of --labelled are.")
    if how["max_loss"] is None:
        if how["labelled"] or how["picture"]:
            raise click.UsageError(
                "--labelled and --picture belong to a search: name its bound, such as --max-loss 0.5."
            )
        return None
    files = LabelledFiles(how["labelled"], how["images"]) if how["labelled"] else None
    return Goal(how["max_loss"], files, seed=how["seed"], rounds=how["rounds"])


def _ending(recipe: Recipe) -> str:
    return "int8" if recipe.target is Target.OPENVINO else "trt.int8"


def _print_remarks(done: Quantised) -> None:
    shown = errors()
    for remark in done.remarks:
        shown.print(f"Calibration: {remark}", markup=False)
    for path, error in done.unreadable[:5]:
        shown.print(f"Left out {path}: {error.message}", markup=False)
    if len(done.unreadable) > 5:
        shown.print(f"Left out {len(done.unreadable) - 5} more.")


def _print_result(result: QuantisationResult, done: Quantised) -> None:
    shown, recipe = console(), result.recipe
    form = recipe.form
    lines = [
        f"{result.quantised_convolutions} of {result.convolutions} convolutions in INT8; {len(result.ranges)} tensors, "
        f"ranges by {recipe.method} over {result.images} images",
        f"weights per {'channel' if form.per_channel else 'tensor'}, {form.weight_steps} steps; activations "
        f"{'int8, zero point 0' if form.symmetric else 'uint8'}; the rest in {'float16' if recipe.half else 'float32'}",
        *_range_lines(result),
        *_kept_lines(result),
        f"{result.path}  {result.path.stat().st_size:,} bytes  sha256 {result.sha256[:12]}  {done.seconds:.1f} s",
    ]
    for line in lines:
        shown.print(line, markup=False)
    if recipe.target is Target.OPENVINO:
        for advice in hardware.advise_weights(hardware.cpu(), form.weight_steps):
            errors().print(f"{advice.message} {advice.cure}", markup=False)


def _range_lines(result: QuantisationResult) -> list[str]:
    """The widest tensor and the narrowest: where a range looks wrong, it is one of these."""
    ranges = {name: covered for name, covered in result.ranges.items() if covered != (0.0, 1.0)}
    if not ranges:
        return []
    ordered = sorted(ranges, key=lambda name: ranges[name].high - ranges[name].low)
    return [
        f"{word} range {ranges[name].low:.4g} to {ranges[name].high:.4g}: {name}"
        for word, name in (("narrowest", ordered[0]), ("widest", ordered[-1]))
    ]


def _kept_lines(result: QuantisationResult) -> list[str]:
    by_reason = sorted(result.kept.items(), key=lambda item: item[1])
    lines = []
    for reason, group in groupby(by_reason, key=lambda item: item[1]):
        names = [name for name, _ in group]
        more = f" and {len(names) - 6} more" if len(names) > 6 else ""
        lines.append(f"in float, {reason}: {', '.join(names[:6])}{more}")
    return lines


def _print_choice(choice: Choice, picture: Path | None) -> None:
    console().print(_table(choice))
    console().print(_sentence(choice), markup=False)
    if picture is not None:
        draw_marks(picture, _marks(choice), title=_title(choice), axes=_axes(choice), bound=choice.goal.max_loss)
        console().print(f"Picture: {picture}", markup=False)


def _title(choice: Choice) -> str:
    return f"What stays in float, and what it costs: {choice.parts[0]} images of {choice.labelled}"


def _axes(choice: Choice) -> tuple[str, str]:
    timed = choice.rows[0].rate is not None
    return ("frames/s" if timed else "multiplications in INT8, %"), "loss in points of mAP 0.50-0.95"


def _marks(choice: Choice) -> list[Mark]:
    return [
        Mark(
            row.rate if row.rate is not None else 100 * (1 - row.point.cost if row.point else 0.0),
            row.point.loss if row.point else 0.0,
            "FP32" if row.point is None else f"{len(row.point.kept)} kept",
            "FP32" if row.point is None else "INT8",
            chosen=row.point is not None and row.point == choice.chosen,
        )
        for row in choice.rows
    ]


def _table(choice: Choice) -> Table:
    table = Table("layers in float", "INT8 share", "mAP 0.50-0.95", "loss", "frames/s", "of FP32", "")
    for row in choice.rows:
        table.add_row(*_cells(row, choice))
    table.caption = f"{choice.parts[0]} of {sum(choice.parts)} images of {escape(choice.labelled)}; loss in points"
    return table


def _cells(row: Row, choice: Choice) -> Sequence[str]:
    point = row.point
    mark = "chosen" if point is not None and point == choice.chosen else ""
    return (
        "all (FP32)" if point is None else str(len(point.kept)),
        "0 %" if point is None else f"{100 * (1 - point.cost):.0f} %",
        f"{row.map50_95:.2f}",
        "" if point is None else f"{point.loss:.2f}",
        "not measured" if row.rate is None else f"{row.rate:.1f}",
        "" if row.ratio is None else f"{row.ratio:.2f}",
        mark,
    )


def _sentence(choice: Choice) -> str:
    bound, found = choice.goal.max_loss, choice.found
    if choice.chosen is None or choice.check is None:
        least = min(point.loss for point in found.points)
        tail = f"the least was {least:.2f}" if found.chosen is None else "the choice did not hold on the other images"
        return f"No model loses at most {bound:g} points: {tail}. Nothing was written."
    check = choice.check
    if not choice.chosen.kept:
        what = "With every layer in INT8 the bound is met already"
    elif len(choice.chosen.kept) == len(found.layers):
        what = "Only with every layer in float is the bound met: INT8 does not pay here"
    else:
        what = f"{len(choice.chosen.kept)} of {len(found.layers)} layers stay in float"
    looks = "" if choice.looks == 1 else f" {choice.looks} models were held against those before one kept within it."
    return (
        f"{what}: {choice.chosen.loss:.2f} points lost on the {choice.parts[0]} images that chose, {check.value:.2f} "
        f"(95 % interval {check.low:.2f} to {check.high:.2f}) on {choice.parts[1]} that did not.{looks}"
    )
