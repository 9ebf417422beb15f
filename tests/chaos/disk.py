"""Small disks that can be filled: a tmpfs of its own where this user may mount one, else a plain folder."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

BALLAST = "ballast"
STEP = 64 * 1024


class Disk:
    """A folder; ``real`` when it is a file system that can run full without harm to anybody else."""

    def __init__(self, folder: Path, *, real: bool) -> None:
        self.folder = folder
        self.real = real

    def fill(self) -> None:
        """Leave not a single block."""
        with suppress(OSError), (self.folder / BALLAST).open("wb", buffering=0) as file:
            while True:
                file.write(bytes(STEP))
        with suppress(OSError), (self.folder / BALLAST).open("ab", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    def free(self) -> None:
        """Give the blocks back."""
        (self.folder / BALLAST).unlink(missing_ok=True)


@contextmanager
def disk(folder: Path, megabytes: int) -> Iterator[Disk]:
    """A disk of this size on ``folder``, which is made, for the length of the block."""
    folder.mkdir(parents=True)
    real = os.geteuid() == 0 and _mounted(folder, megabytes)
    try:
        yield Disk(folder, real=real)
    finally:
        if real:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def _mounted(folder: Path, megabytes: int) -> bool:
    options = f"size={megabytes}m,mode=0755"
    command = ["mount", "-t", "tmpfs", "-o", options, "gistline-chaos", str(folder)]
    done = subprocess.run(command, capture_output=True, check=False)
    return done.returncode == 0
