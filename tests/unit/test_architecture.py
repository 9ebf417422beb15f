"""Planted violations of the arrows between the rooms and of the caps are caught; 'make check' finds real ones."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support import caps
from tests.support.processes import ROOT

PACKAGES = ("gistline", "api", "workers", "migrations")

PLANTED = {
    "doors": ("gistline/flows/planted_door.py", "import api.app"),
    "layers": ("gistline/costs/planted_sibling.py", "import gistline.findings"),
    "cli": ("api/planted_servers.py", "import gistline.embedded.servers"),
    "migrations": ("migrations/planted_flow.py", "import gistline.flows"),
    "fastapi": ("gistline/simulator/planted_web.py", "from fastapi import FastAPI"),
    "celery": ("gistline/storage/planted_queue.py", "from celery import Celery"),
    "tensorrt": ("gistline/detection/planted_gpu.py", "def run():\n    import tensorrt, pycuda.driver"),
    "openvino": ("workers/planted_cpu.py", "import openvino.properties"),
    "anthropic": ("gistline/reports/planted_llm.py", "from anthropic import Anthropic"),
    "argon2": ("gistline/flows/planted_hash.py", "from argon2 import PasswordHasher"),
    "av": ("gistline/frames/planted_video.py", "import av"),
    "mqtt": ("gistline/flows/planted_mqtt.py", "from paho.mqtt.client import Client"),
    "telemetry": ("gistline/flows/planted_meter.py", "from prometheus_client import Counter"),
    "training": ("gistline/detection/planted_training.py", "import torch"),
}
"""For each contract's id a file, and the import in it that breaks the contract."""

STRAYS = {
    "a room that nobody placed": ("gistline/attic.py", "", "gistline.attic"),
    "a step that looks up": ("gistline/frames/planted_up.py", "import gistline.flows", "gistline.frames.planted_up"),
    "a word that knows a setting": ("gistline/domain.py", "import gistline.settings", "gistline.domain"),
}
"""Further ways to break the contract of the layers: a file, a line added to it, and the module that is named."""

BLOCKED = """
import sys

class Absent:
    tried = []

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorrt", "pycuda"):
            self.tried.append(name)
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Absent())
import api.app, workers.__main__, workers.tasks, gistline.cli.main, gistline.detection.openvino_engine
print(Absent.tried)
"""


def lint(folder: Path) -> tuple[int, dict[str, str]]:
    """Exit code of ``lint-imports`` and, for each broken contract's name, what it says about it."""
    script = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([script, "--no-cache"], cwd=folder, check=False, capture_output=True, text=True)
    # A heading stands on its own line, underlined; long ones are wrapped.
    output = done.stdout.partition("Broken contracts\n")[2]
    sections = re.split(r"\n\n?([^\n]+(?:\n[^\n-][^\n]*)?)\n-{3,}\n", output)
    names = [" ".join(name.split()) for name in sections[1::2]]
    return done.returncode, dict(zip(names, sections[2::2], strict=True))


def contract_names() -> dict[str, str]:
    """Id -> name of every contract in pyproject.toml."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    return {contract["id"]: contract["name"] for contract in contracts}


def copy_tree(folder: Path) -> Path:
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, folder / package, ignore=shutil.ignore_patterns("*.onnx", "__pycache__", "data")
        )
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the linter says about a copy of the tree into which every violation was planted."""
    folder = copy_tree(tmp_path_factory.mktemp("planted"))
    plants = [*PLANTED.values(), *((path, line) for path, line, _ in STRAYS.values())]
    for path, line in plants:
        with (folder / path).open("a") as file:
            file.write(f"\n{line}\n")
    code, sections = lint(folder)
    assert code == 1
    return sections


def test_the_contracts_hold() -> None:
    assert lint(ROOT) == (0, {})


def test_every_contract_has_a_planted_violation() -> None:
    assert set(contract_names()) == set(PLANTED)


@pytest.mark.parametrize("contract", PLANTED)
def test_a_planted_import_is_caught(broken: dict[str, str], contract: str) -> None:
    module = PLANTED[contract][0].removesuffix(".py").replace("/", ".")
    assert module in broken[contract_names()[contract]]


@pytest.mark.parametrize("stray", STRAYS)
def test_a_stray_module_is_caught(broken: dict[str, str], stray: str) -> None:
    assert STRAYS[stray][2] in broken[contract_names()["layers"]]


def test_the_doors_open_without_a_gpu_s_libraries() -> None:
    done = subprocess.run([sys.executable, "-c", BLOCKED], cwd=ROOT, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


@pytest.mark.parametrize(
    ("path", "source", "said"),
    [
        ("gistline/long.py", "def f():\n" + "    x = 1\n" * 61, "body of f has 61 lines, at most 60"),
        ("gistline/long.py", 'def f():\n    """\n' + "    text\n" * 70 + '    """\n    return 1\n', None),
        ("gistline/big.py", "x = 1\n" * 401, "401 lines, at most 400"),
        ("gistline/big.py", "x = 1\n" * 400, None),
        ("gistline/wide.py", "def f(a, b, *, c, d, e, g, h): ...\n", "f has 7 parameters, at most 6"),
        ("gistline/wide.py", "class C:\n    def f(self, a, b, *, c, d, e, g): ...\n", None),
        ("tests/wide.py", "def test_f(a, b, c, d, e, g, h): ...\n", None),
        ("workers/tasks.py", "def task():\n" + "    x = 1\n" * 16, "body of task has 16 lines, at most 15"),
        ("workers/other.py", "def task():\n" + "    x = 1\n" * 16, None),
        (
            "gistline/flows/b.py",
            "try:\n    f()\nexcept Exception:  # noqa: BLE001 - why\n    pass\n",
            "outside of the doors",
        ),
        ("gistline/flows/b.py", "try:\n    f()\nexcept (OSError, Exception):\n    pass\n", "outside of the doors"),
        ("gistline/flows/b.py", "try:\n    f()\nexcept:\n    pass\n", "outside of the doors"),
        ("gistline/flows/b.py", "try:\n    f()\nexcept OSError:\n    pass\n", None),
        ("api/b.py", "try:\n    f()\nexcept Exception:\n    pass\n", "without a comment"),
        ("api/b.py", "try:\n    f()\nexcept Exception:  # noqa: BLE001\n    pass\n", "without a comment"),
        ("api/b.py", "try:\n    f()\nexcept Exception:  # noqa: BLE001 - the last line of defence\n    pass\n", None),
        ("api/b.py", "try:\n    f()\nexcept Exception:  # the last line of defence\n    raise\n", None),
        ("migrations/versions/b.py", "def upgrade():\n" + "    x = 1\n" * 500, None),
    ],
)
def test_a_planted_excess_is_caught(tmp_path: Path, path: str, source: str, said: str | None) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(source)
    found = [str(violation) for violation in caps.violations(tmp_path)]
    if said is None:
        assert found == []
    else:
        assert len(found) == 1
        assert said in found[0]
