"""A passport as people and programs read it. Figures are points of 100, with their 95 % intervals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from gistline.cli.output import console
from gistline.domain import Comparison, Estimate, Judgement, Measurement, Passport, PassportVerdict
from gistline.flows.serve_model import judged_now
from gistline.settings import Settings

_WIDTH = 100
"""Columns of the table of figures; narrower, every interval would break in two."""
_COLOURS = {PassportVerdict.PASSED: "green", PassportVerdict.FAILED: "red", PassportVerdict.UNPROVEN: "yellow"}


def as_json(passport: Passport, settings: Settings) -> dict[str, Any]:
    """Everything, as shares of 1; ``judged_now`` is the verdict within today's limits."""
    return asdict(passport) | {"judged_now": asdict(judged_now(passport, settings))}


def print_passport(passport: Passport, settings: Settings) -> None:
    """Verdict, engine, accuracy with intervals, speed, provenance."""
    shown = console()
    judgement = judged_now(passport, settings)
    _print_verdict(shown, passport, judgement)
    if passport.measurement is not None:
        Console(highlight=False, width=max(shown.width, _WIDTH)).print(_accuracy(passport.measurement), markup=False)
        _print_speed(shown, passport, passport.measurement)
    for name, value in _provenance(passport):
        shown.print(f"  {name:<12} {escape(value)}")
    shown.print()


def _print_verdict(shown: Console, passport: Passport, judgement: Judgement) -> None:
    colour = _COLOURS[judgement.verdict]
    shown.print(f"[bold]Passport {passport.id}[/]: [bold {colour}]{judgement.verdict.value}[/]")
    engine = passport.engine
    layers = ", ".join(f"{count} in {name}" for name, count in engine.layer_precisions)
    layers = layers or f"{engine.int8_convolutions} of {engine.convolutions} in INT8"
    shown.print(f"  {'engine':<12} {escape(engine.precision)} by {escape(engine.runtime)}; convolutions: {layers}")
    shown.print(f"  {'machine':<12} {escape(passport.machine)}")
    for reason in judgement.reasons:
        shown.print(f"  [red]{'failed':<12} {escape(reason)}[/]")
    for question in judgement.undecided:
        shown.print(f"  [yellow]{'undecided':<12} {escape(question)}[/]")
    if judgement.verdict is not passport.judgement.verdict:
        shown.print(
            f"  {'note':<12} {passport.judgement.verdict.value} within the limits in force when it was measured"
        )


def _accuracy(measured: Measurement) -> Table:
    right = [Column(name, justify="right", no_wrap=True) for name in ("boxes", "engine", "FP32", "loss")]
    table = Table(Column("points of 100 [95 %]"), *right, box=None, pad_edge=False, padding=(0, 2))
    whole = {"mAP@0.33": measured.map33, "mAP50": measured.map50, "mAP50-95": measured.map50_95}
    for name, found in whole.items():
        table.add_row(name, str(measured.boxes), *_cells(found))
    for one in measured.classes:
        for name, found in (("AP50", one.map50), ("AP50-95", one.map50_95)):
            table.add_row(f"{one.label}: {name}", str(one.boxes), *_cells(found))
    return table


def _cells(found: Comparison) -> tuple[str, str, str]:
    return _points(found.engine), _points(found.reference), _points(found.loss, digits=2)


def _points(found: Estimate, digits: int = 1) -> str:
    low, high = 100 * found.low, 100 * found.high
    return f"{100 * found.value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def _print_speed(shown: Console, passport: Passport, measured: Measurement) -> None:
    reference = passport.reference
    beside = f"{measured.reference_fps:.1f} of FP32"
    if reference is not None and reference.runtime != passport.engine.runtime:
        beside += f" by {reference.runtime} on {reference.device}"
    ratio = measured.engine_fps / measured.reference_fps if measured.reference_fps else 0.0
    shown.print(f"  {'frames/s':<12} {measured.engine_fps:.1f} beside {beside}, in turns: {ratio:.2f} x", markup=False)


def _provenance(passport: Passport) -> Iterator[tuple[str, str]]:
    measured, limits = passport.measurement, passport.limits
    if measured is not None:
        yield "measured on", f"{measured.labelled_name}: {measured.images} images, {measured.boxes} boxes"
        yield "labelled set", measured.labelled_sha256
        yield "bootstrap", f"{measured.resamples} resamples of images, seed {measured.seed}"
    yield (
        "limits then",
        f"loss {limits.max_loss:g} mAP50-95, {limits.max_loss50:g} mAP50; a class {limits.max_class_loss:g} AP50-95, "
        f"{limits.max_class_loss50:g} AP50; mAP50 at least {100 * limits.least_map50:g}",
    )
    yield "weights", passport.engine.weights_sha256
    if passport.reference is not None:
        yield "FP32 weights", passport.reference.weights_sha256
    yield "calibration", passport.calibration_sha256 or "not told"
    yield "libraries", ", ".join(f"{name} {release}" for name, release in sorted(passport.versions.items()))
    yield "hardware", ", ".join(f"{name} {fact}" for name, fact in passport.hardware.items())
    yield "measured", f"{passport.measured_at:%Y-%m-%d %H:%M} UTC"
