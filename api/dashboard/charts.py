"""Charts as Plotly understands them, and as tables for who cannot see them. Pure.

Colours are names of the style sheet's variables (``--ok``); the page's script puts the theme's values in.
A test has Plotly's own classes check every chart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Cell = str | float | int

AXIS: Final[Mapping[str, Any]] = {"gridcolor": "--grid", "zerolinecolor": "--grid", "automargin": True}
LAYOUT: Final[Mapping[str, Any]] = {
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "font": {"color": "--ink", "family": "system-ui, sans-serif", "size": 12},
    "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
    "hovermode": "x unified",
    "hoverlabel": {"bgcolor": "--panel", "font": {"color": "--ink"}, "bordercolor": "--grid"},
    "legend": {"orientation": "h", "y": -0.22, "x": 0, "yanchor": "top", "traceorder": "normal"},
    "bargap": 0.25,
    "dragmode": False,
}


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart: ``head`` and ``rows`` say the same as a table. ``spec`` has Plotly's ``data`` and ``layout``."""

    name: str
    title: str
    spec: dict[str, Any]
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not self.rows


@dataclass(frozen=True, slots=True)
class Series:
    """One row of bars or one line: ``values`` belong to the chart's places; None leaves a gap."""

    name: str
    colour: str
    values: Sequence[float | None]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    dash: str = "solid"


def stacked(name: str, title: str, places: tuple[str, Sequence[str]], series: Sequence[Series], **layout: Any) -> Chart:
    """Bars on top of each other; ``places`` are the axis' title, for the table, and its values (texts or ISO times)."""
    data = [_bar(places[1], one) for one in series]
    return Chart(name, title, _spec(data, barmode="stack", **layout), *_table(places, series))


def grouped(name: str, title: str, places: tuple[str, Sequence[str]], series: Sequence[Series], **layout: Any) -> Chart:
    """Bars side by side."""
    data = [_bar(places[1], one) for one in series]
    return Chart(name, title, _spec(data, barmode="group", **layout), *_table(places, series))


def lines(name: str, title: str, places: tuple[str, Sequence[str]], series: Sequence[Series], **layout: Any) -> Chart:
    """Lines with their intervals, if they have any."""
    data = [_line(places[1], one) for one in series]
    return Chart(name, title, _spec(data, **layout), *_table(places, series))


def ranked(name: str, title: str, names: tuple[str, str], values: Mapping[str, float], colour: str) -> Chart:
    """Horizontal bars, longest on top; ``names`` head the table's two columns."""
    items = sorted(values.items(), key=lambda item: (-item[1], item[0]))
    bar = {
        "type": "bar",
        "orientation": "h",
        "x": [value for _, value in items],
        "y": [_plain(key) for key, _ in items],
        "marker": {"color": colour},
        "hovertemplate": "%{y}: %{x}<extra></extra>",
    }
    layout = {"yaxis": {**AXIS, "autorange": "reversed", "type": "category"}, "hovermode": "closest"}
    return Chart(name, title, _spec([bar], **layout), names, [[key, value] for key, value in items])


def with_line(chart: Chart, places: Sequence[str], line: Series) -> Chart:
    """Add a line of shares with an axis of its own on the right, and a column to the table."""
    drawn = _line(places, line) | {"yaxis": "y2", "hovertemplate": "%{y:.1%}"}
    right = {
        **AXIS,
        "overlaying": "y",
        "side": "right",
        "tickformat": ".0%",
        "rangemode": "tozero",
        "showgrid": False,
    }
    spec = {"data": [*chart.spec["data"], drawn], "layout": chart.spec["layout"] | {"yaxis2": right}}
    shown = ["" if value is None else f"{100 * value:.1f} %" for value in line.values]
    rows = [[*row, share] for row, share in zip(chart.rows, shown, strict=True)]
    return Chart(chart.name, chart.title, spec, [*chart.head, line.name], rows)


def _plain(text: str) -> str:
    """A name that Plotly draws as it is: it takes some tags for markup, links among them."""
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _spec(data: list[dict[str, Any]], **layout: Any) -> dict[str, Any]:
    axes = {"xaxis": dict(AXIS), "yaxis": {**AXIS, "rangemode": "tozero"}}
    return {"data": data, "layout": {**LAYOUT, **axes, **layout}}


def _bar(places: Sequence[str], one: Series) -> dict[str, Any]:
    return {
        "type": "bar",
        "name": one.name,
        "x": list(places),
        "y": list(one.values),
        "marker": {"color": one.colour},
    }


def _line(places: Sequence[str], one: Series) -> dict[str, Any]:
    drawn = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": one.name,
        "x": list(places),
        "y": list(one.values),
        "line": {"color": one.colour, "width": 2, "dash": one.dash},
        "marker": {"color": one.colour, "size": 6},
    }
    if one.low is not None and one.high is not None:
        up = [high - (value or 0) for high, value in zip(one.high, one.values, strict=True)]
        down = [(value or 0) - low for low, value in zip(one.low, one.values, strict=True)]
        drawn["error_y"] = {
            "type": "data",
            "symmetric": False,
            "array": up,
            "arrayminus": down,
            "color": one.colour,
            "thickness": 1.5,
        }
    return drawn


def _table(places: tuple[str, Sequence[str]], series: Sequence[Series]) -> tuple[list[str], list[list[Cell]]]:
    rows: list[list[Cell]] = []
    for place, key in enumerate(places[1]):
        rows.append([key.replace("T", " ").removesuffix("Z"), *(_cell(one, place) for one in series)])
    return [places[0], *(one.name for one in series)], rows


def _cell(one: Series, place: int) -> Cell:
    value = one.values[place]
    if value is None:
        return ""
    shown = round(value, 6)
    if one.low is None or one.high is None:
        return shown
    return f"{value:.1f} [{one.low[place]:.1f}, {one.high[place]:.1f}]"
