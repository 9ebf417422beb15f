"""Accuracy against speed as a picture. The only file that imports matplotlib, and only when a picture is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from gistline.errors import RequestRejected

SUFFIXES: Final = (".svg", ".png", ".pdf")
_COLOURS: Final = ("#3b6fb6", "#c2571a", "#4b8b3b", "#8a4fa3", "#6b6b6b", "#b03a48")
_MARKERS: Final = ("o", "s", "^", "D", "v", "P")


@dataclass(frozen=True, slots=True)
class Mark:
    """One model in the picture; those of one ``series`` share colour and marker, ``chosen`` ones get a ring."""

    x: float
    y: float
    label: str
    series: str
    chosen: bool = False


def check_picture(path: Path) -> None:
    """Refuse before hours of measuring what could not be drawn afterwards.

    Raises:
        RequestRejected: the file's ending is none that is understood, or matplotlib is not installed.

    """
    if path.suffix.lower() not in SUFFIXES:
        raise RequestRejected(f"{path} is no picture.", cure=f"Name a file that ends in {', '.join(SUFFIXES)}.")
    _matplotlib()


def draw_marks(
    path: Path, marks: Sequence[Mark], *, title: str, axes: tuple[str, str], bound: float | None = None
) -> None:
    """Draw models as points and write the picture; the file's ending says its kind.

    Args:
        path: file to write.
        marks: at least one.
        title: above the picture.
        axes: what x and y are, with units.
        bound: a horizontal line at this y.

    Raises:
        RequestRejected: see :func:`check_picture`.

    """
    check_picture(path)
    figure = _figure()
    area = figure.add_subplot()
    for number, series in enumerate(dict.fromkeys(mark.series for mark in marks)):
        _draw_series(area, [mark for mark in marks if mark.series == series], number)
    if bound is not None:
        area.axhline(bound, color="#b03a48", linewidth=1, linestyle="--", label="bound")
    area.set(title=title, xlabel=axes[0], ylabel=axes[1])
    area.grid(visible=True, color="#e4e4e4", linewidth=0.6)
    area.set_axisbelow(True)
    area.legend(frameon=False, fontsize=8)
    area.margins(0.12)
    # Without a date and with fixed ids the same measurement makes the same file.
    figure.savefig(path, metadata={"Date": None} if path.suffix.lower() == ".svg" else None)


def _draw_series(area: Any, marks: Sequence[Mark], number: int) -> None:
    colour, marker = _COLOURS[number % len(_COLOURS)], _MARKERS[number % len(_MARKERS)]
    xs, ys = [mark.x for mark in marks], [mark.y for mark in marks]
    area.plot(xs, ys, marker, color=colour, markersize=6, label=marks[0].series)
    for mark in marks:
        area.annotate(mark.label, (mark.x, mark.y), xytext=(5, 4), textcoords="offset points", fontsize=7)
        if mark.chosen:
            area.plot([mark.x], [mark.y], "o", markersize=13, markerfacecolor="none", markeredgecolor=colour)


def _figure() -> Any:
    matplotlib = _matplotlib()
    matplotlib.rcParams["svg.hashsalt"] = "gistline"
    return import_module("matplotlib.figure").Figure(figsize=(8, 5), layout="constrained", dpi=120)


def _matplotlib() -> Any:
    try:
        return import_module("matplotlib")
    except ImportError as error:
        raise RequestRejected(
            f"A picture needs matplotlib: {error}.", cure="pip install 'gistline[plot]', or leave the picture out."
        ) from error
