"""Real worker processes of any kind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gistline.settings import Settings
from gistline.settings_report import as_environment


@contextmanager
def process(kind: str, settings: Settings, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """``python -m workers KIND`` in a folder of its own; killed at the end."""
    folder.mkdir(exist_ok=True)
    ours = {name: value for name, value in os.environ.items() if not name.upper().startswith("GISTLINE_")}
    with (folder.parent / f"{folder.name}.log").open("wb") as log:
        made = subprocess.Popen(
            [sys.executable, "-m", "workers", kind],
            cwd=folder,
            env=ours | as_environment(settings),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield made
    finally:
        made.kill()
        made.wait()
