"""Where a process of this machine is reached."""

from __future__ import annotations

from gistline.settings import Settings


def reachable(host: str) -> str:
    """Address that reaches a server listening on ``host`` from this machine."""
    local = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - compared, not listened on
    return local.get(host, f"[{host}]" if ":" in host else host)


def own_url(settings: Settings) -> str:
    """Address of the API that the settings start on this machine."""
    return f"http://{reachable(settings.api.host)}:{settings.api.port}"
