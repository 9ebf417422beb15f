"""Scripts run as processes of their own, and patience for what other processes do."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]


def wait_until(holds: Callable[[], bool], what: str, *, within_s: float = 30.0) -> None:
    """Return as soon as ``holds()``; fails the test, naming ``what``, when it never does."""
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {what}")
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not yet collected does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def family(pid: int) -> list[int]:
    """Process ids of everything that a process started, and of what that started."""
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


@contextmanager
def running_script(path: Path, source: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run Python source that can import the project, with its output piped; kills it at the end if it still runs."""
    path.write_text(source)
    process = subprocess.Popen(
        [sys.executable, str(path), *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def read_line(process: subprocess.Popen[str]) -> str:
    """Next line that a script prints; fails the test with all of its output when it ends instead."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, f"the script ended: {process.wait()}"
    return line.strip()
