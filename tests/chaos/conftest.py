"""A system for a directed test: real servers of its own, and those programs that the test starts."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gistline.embedded.postgres import find_binaries
from gistline.embedded.redis import find_binary
from gistline.errors import StorageUnavailable
from tests.chaos.plan import make_plan
from tests.chaos.servers import build_template
from tests.chaos.system import System, default_slot, running


@pytest.fixture(scope="session")
def chaos_folder() -> Iterator[Path]:
    """A folder with a short name that PostgreSQL's user may pass."""
    try:
        find_binaries()
        find_binary()
    except StorageUnavailable as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    folder = Path(tempfile.mkdtemp(prefix="gistline-chaos-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def template(chaos_folder: Path) -> Path:
    """A database cluster with a migrated database; systems copy it."""
    return build_template(chaos_folder)


@pytest.fixture
def system(chaos_folder: Path, template: Path, request: pytest.FixtureRequest) -> Iterator[System]:
    """Servers and network; ``@pytest.mark.parametrize("system", [milliseconds], indirect=True)`` slows the detector."""
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=chaos_folder)) / "run"
    folder.mkdir()
    for one in (folder, folder.parent):
        one.chmod(0o755)
    plan = replace(make_plan(0), frame_ms=getattr(request, "param", 1.0), persistent_redis=True, deadline_s=0)
    with running(plan, folder, template, None, slot=default_slot()) as made:
        yield made
