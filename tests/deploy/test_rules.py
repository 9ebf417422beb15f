"""Alert rules: read by Prometheus, each with a section of the runbook, and each seen to fire."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.compose import tool
from tests.support.dashboards import RULES, alerts
from tests.support.processes import ROOT

CASES = Path(__file__).with_name("rules_cases.yml")


@pytest.fixture
def promtool() -> str:
    return tool("promtool")


def run(*argv: str | Path, cwd: Path | None = None) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_reads_the_rules_and_its_configuration(promtool: str, tmp_path: Path) -> None:
    run(promtool, "check", "rules", RULES)
    text = RULES.with_name("prometheus.yml").read_text()
    (tmp_path / "token").write_text("x")
    (tmp_path / "rules.yml").write_text(RULES.read_text())
    (tmp_path / "prometheus.yml").write_text(text.replace("/run/secrets/metrics_token", str(tmp_path / "token")))
    run(promtool, "check", "config", tmp_path / "prometheus.yml")


@pytest.mark.long
def test_each_alert_fires_when_it_should_and_only_then(promtool: str, tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(RULES.read_text())
    (tmp_path / "cases.yml").write_text(CASES.read_text())
    run(promtool, "test", "rules", "cases.yml", cwd=tmp_path)
    tests = yaml.safe_load(CASES.read_text())["tests"]
    fired = {one["alertname"] for test in tests for one in test["alert_rule_test"] if one["exp_alerts"]}
    assert fired == set(alerts()), "an alert that nobody has seen fire"


@pytest.mark.parametrize("name", alerts())
def test_each_alert_says_how_grave_it_is_and_where_to_read_on(name: str) -> None:
    rule: dict[str, Any] = alerts()[name]
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    assert rule["annotations"]["runbook"] == f"docs/runbook.md#{name.lower()}"
    runbook = (ROOT / "docs" / "runbook.md").read_text()
    section = re.search(rf"^### {name}\n(.+?)(?=^##|\Z)", runbook, re.MULTILINE | re.DOTALL)
    assert section, f"docs/runbook.md has no section '### {name}'"
    assert len(section[1].split()) > 15
