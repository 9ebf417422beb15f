"""Style sheet and scripts, served from the package and from Plotly's wheel; they hold no secret and need no sign-in."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import Response

from api.deps import Open
from gistline.errors import NotFound

router = APIRouter(prefix="/static", include_in_schema=False, dependencies=[Open])

JAVASCRIPT: Final = "text/javascript; charset=utf-8"
_SOURCES: Final = {
    "style.css": ("api.dashboard", "static/style.css", "text/css; charset=utf-8"),
    "page.js": ("api.dashboard", "static/page.js", JAVASCRIPT),
    "icon.svg": ("api.dashboard", "static/icon.svg", "image/svg+xml"),
    "plotly.js": ("plotly", "package_data/plotly.min.js", JAVASCRIPT),
}
FOREVER: Final = "public, max-age=31536000, immutable"
SHORTLY: Final = "public, max-age=60"


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is sent: its bytes, packed once, and the digest that stands in its address."""

    media_type: str
    data: bytes
    packed: bytes
    digest: str


@cache
def load(name: str) -> Asset:
    """Read and pack a file, once a process.

    Raises:
        NotFound: there is no such file.

    """
    if name not in _SOURCES:
        raise NotFound(f"There is no file {name[:40]!r}.", cure=f"There are {', '.join(_SOURCES)}.")
    package, path, media_type = _SOURCES[name]
    data = files(package).joinpath(path).read_bytes()
    return Asset(media_type, data, gzip.compress(data, 6, mtime=0), hashlib.sha256(data).hexdigest()[:16])


def asset_url(name: str) -> str:
    """Address of a file, which changes with its content."""
    return f"/static/{name}?v={load(name).digest}"


@router.get("/{name}")
def asset(request: Request, name: str, v: str = "") -> Response:
    """One file; kept by the browser for good when its digest was asked for."""
    found = load(name)
    headers = {
        "Cache-Control": FOREVER if v == found.digest else SHORTLY,
        "X-Content-Type-Options": "nosniff",
        "Vary": "Accept-Encoding",
    }
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(found.packed, headers=headers | {"Content-Encoding": "gzip"}, media_type=found.media_type)
    return Response(found.data, headers=headers, media_type=found.media_type)
