"""What Grafana's dashboards and Prometheus's rules ask for: SQL with its macros written out, and names of metrics."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import promql_parser
import yaml

from tests.support.processes import ROOT

DASHBOARDS = ROOT / "deploy" / "grafana" / "dashboards"
RULES = ROOT / "deploy" / "prometheus" / "rules.yml"
PROMETHEUS, POSTGRES = "prometheus", "grafana-postgresql-datasource"
ENDINGS = ("_bucket", "_count", "_sum")


@dataclass(frozen=True, slots=True)
class Question:
    """One query of a panel or a variable: where it stands, what answers it, and its text."""

    place: str
    kind: str
    text: str


def questions(path: Path) -> Iterator[Question]:
    """Every query of a dashboard."""
    board = json.loads(path.read_text())
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            place = f"{board['title']} / {panel['title']}"
            yield Question(place, target["datasource"]["type"], target.get("rawSql") or target["expr"])
    for variable in board["templating"]["list"]:
        yield Question(f"{board['title']} / ${variable['name']}", variable["datasource"]["type"], variable["query"])


def written_out(sql: str) -> str:
    """SQL as Grafana would send it for the last day, an interval of ten minutes and all lines."""
    sql = re.sub(r"\$__timeFilter\(([^)]+)\)", r"\1 BETWEEN now() - interval '1 day' AND now() + interval '1 day'", sql)
    sql = sql.replace("$__interval", "'10m'").replace("$__timeFrom()", "(now() - interval '1 day')")
    sql = re.sub(r"\$__timeGroup\(([^,]+), '(\d+)([mhd])'\)", _grouped, sql)
    sql = sql.replace("${line:sqlstring}", "SELECT line FROM cameras")
    left = re.findall(r"\$[\w{]+", sql)
    assert not left, f"nobody replaces {left} in {sql}"
    return sql


def _grouped(found: re.Match[str]) -> str:
    seconds = int(found[2]) * {"m": 60, "h": 3600, "d": 86400}[found[3]]
    return f"floor(extract(epoch from {found[1]}) / {seconds}) * {seconds}"


def alerts() -> dict[str, dict[str, Any]]:
    """Every alert by name."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def metrics_of(expression: str) -> set[str]:
    """Names of the metrics that a PromQL expression reads, as Prometheus parses it."""
    for macro in ("$__rate_interval", "$__range", "$__interval"):
        expression = expression.replace(macro, "5m")
    return set(_selectors(promql_parser.parse(expression)))


def _selectors(node: Any) -> Iterator[str]:
    if isinstance(node, promql_parser.VectorSelector):
        yield str(node.name)
        return
    for name in ("expr", "lhs", "rhs", "vector_selector"):
        inner = getattr(node, name, None)
        if inner is not None:
            yield from _selectors(inner)
    for argument in getattr(node, "args", ()) or ():
        yield from _selectors(argument)


def wanted_metrics() -> dict[str, str]:
    """Every metric that a dashboard or a rule names, and one place that does."""
    found: dict[str, str] = {}
    for path in sorted(DASHBOARDS.glob("*.json")):
        for one in questions(path):
            if one.kind == PROMETHEUS:
                found |= dict.fromkeys(metrics_of(one.text), one.place)
    for name, rule in alerts().items():
        found |= dict.fromkeys(metrics_of(rule["expr"]), name)
    return found
