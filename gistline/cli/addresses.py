"""Where a process of this machine is reached."""

from __future__ import annotations


def reachable(host: str) -> str:
    """Address that reaches a server listening on ``host`` from this machine."""
    local = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - compared, not listened on
    return local.get(host, f"[{host}]" if ":" in host else host)
