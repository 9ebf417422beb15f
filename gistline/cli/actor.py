"""Who runs the command, for histories and the audit."""

from __future__ import annotations

import getpass
import socket


def actor() -> str:
    """Account and machine: ``root@gate-pc``."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        name = "unknown"
    return f"{name}@{socket.gethostname()}"
