"""Memory that ends: a control group whose limit the kernel enforces by killing, else a limit of the process itself."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

GROUPS: Final = Path("/sys/fs/cgroup/memory")
LIMIT: Final = 512 * 1024 * 1024
"""Bytes; a worker without a hungry frame needs a third of it."""
ADDRESS_SPACE: Final = 1_600 * 1024
"""KiB, for the limit that raises instead of killing."""


class MemoryLimit:
    """A limit for the programs started with :meth:`wrap`, each time they start."""

    def __init__(self) -> None:
        self._group = GROUPS / f"gistline-chaos-{os.getpid()}"
        self.kills = self._make_group()
        """Whether the kernel enforces it; otherwise the process gets a MemoryError."""

    def wrap(self, argv: Sequence[str]) -> tuple[str, ...]:
        """The command that runs ``argv`` under the limit."""
        enter = f"echo $$ > {shlex.quote(str(self._group / 'cgroup.procs'))}" if self.kills else "true"
        bound = "true" if self.kills else f"ulimit -v {ADDRESS_SPACE}"
        return ("/bin/sh", "-c", f"{enter}; {bound}; exec {shlex.join(argv)}")

    def close(self) -> None:
        """Remove the group; its processes have ended."""
        if self.kills:
            with suppress(OSError):
                self._group.rmdir()

    def _make_group(self) -> bool:
        try:
            self._group.mkdir()
            (self._group / "memory.limit_in_bytes").write_text(str(LIMIT))
        except OSError:
            return False
        return True
