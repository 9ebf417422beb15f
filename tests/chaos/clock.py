"""Wall clocks that can be stepped, one for each process: a small library is loaded into the process before all others.

libfaketime was tried first: with the monotonic clock left alone, its release 0.9.10 makes ``time.sleep`` fail.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("clock.c")


def build_library(folder: Path) -> Path | None:
    """Compile the library into ``folder``; None where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    built = folder / "clock.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", built, SOURCE, "-ldl"], check=True)
    built.chmod(0o755)
    return built


class Clock:
    """The wall clock of one process and of what it starts."""

    def __init__(self, file: Path, library: Path | None) -> None:
        self._file = file
        self._library = library
        self.step(0.0)
        file.chmod(0o644)

    @property
    def works(self) -> bool:
        """Whether a step reaches the process."""
        return self._library is not None

    def environment(self) -> dict[str, str]:
        """What the process must be started with."""
        return {"LD_PRELOAD": str(self._library), "CHAOS_CLOCK": str(self._file)} if self._library else {}

    def step(self, offset_s: float) -> None:
        """From now on the clock is this far from the machine's."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("=q", int(offset_s * 1e9)))
