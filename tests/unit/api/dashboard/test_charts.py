"""Charts are what Plotly understands, and their tables say the same."""

from __future__ import annotations

import pytest
from plotly.graph_objects import Figure

from api.dashboard.charts import Chart, Series, grouped, lines, ranked, stacked, with_line

HOURS = ["2026-11-26T06:00", "2026-11-26T07:00"]
PLACES = ("Hour", HOURS)
OK, NG = Series("OK", "--ok", [3, 4]), Series("NG", "--ng", [1, 0])
BOUNDED = Series("Engine", "--accent", [80.0, 81.5], [78.0, 80.0], [82.0, 83.0])


def charts() -> list[Chart]:
    bars = stacked("frames", "Frames", PLACES, [OK, NG])
    rate = Series("NG rate", "--ink", [0.25, None])
    return [
        bars,
        with_line(bars, HOURS, rate),
        grouped("costs", "Costs", PLACES, [OK, NG]),
        lines("passports", "Passports", PLACES, [BOUNDED]),
        ranked("labels", "Labels", ("Class", "Findings"), {"open": 2, "short": 7}, "--accent"),
    ]


def with_colours(value: object) -> object:
    """What the page's script does: variables become colours."""
    if isinstance(value, dict):
        return {key: with_colours(one) for key, one in value.items()}
    if isinstance(value, list):
        return [with_colours(one) for one in value]
    return "#123456" if isinstance(value, str) and value.startswith("--") else value


@pytest.mark.parametrize("chart", charts(), ids=lambda chart: chart.name)
def test_plotly_accepts_the_chart(chart: Chart) -> None:
    """Its classes refuse unknown names and values that do not fit."""
    figure = Figure(with_colours(chart.spec))
    assert len(figure.data) == len(chart.spec["data"])


def test_plotly_would_refuse_a_slip() -> None:
    chart = stacked("frames", "Frames", PLACES, [OK])
    chart.spec["layout"]["barmod"] = "stack"
    with pytest.raises(ValueError, match="barmod"):
        Figure(with_colours(chart.spec))


def test_tables_say_what_the_charts_show() -> None:
    bars, rated, _, passports, ranks = charts()
    assert bars.head == ["Hour", "OK", "NG"]
    assert bars.rows == [["2026-11-26 06:00", 3, 1], ["2026-11-26 07:00", 4, 0]]
    assert [row[-1] for row in rated.rows] == ["25.0 %", ""]
    assert passports.rows[0] == ["2026-11-26 06:00", "80.0 [78.0, 82.0]"]
    assert ranks.rows == [["short", 7], ["open", 2]]
    assert not stacked("none", "None", ("Hour", []), []).rows


def test_intervals_reach_from_low_to_high() -> None:
    (line,) = lines("passports", "Passports", PLACES, [BOUNDED]).spec["data"]
    assert line["error_y"]["array"] == [2.0, 1.5]
    assert line["error_y"]["arrayminus"] == [2.0, 1.5]


def test_a_class_that_looks_like_markup_is_drawn_as_it_is() -> None:
    chart = ranked("labels", "Labels", ("Class", "Findings"), {'<a href="x">&': 1}, "--accent")
    assert chart.spec["data"][0]["y"] == ['&lt;a href="x">&amp;']
