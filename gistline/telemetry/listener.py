"""The address on which a process serves its metrics and its health: ``/metrics``, ``/healthz``, ``/readyz``.

It is apart from the API's, so that whoever reaches that one learns nothing here, and by default only this machine can
reach it. Metrics may ask for a token; health asks for none, because whatever watches containers sends none.
"""

from __future__ import annotations

import errno
import hmac
import logging
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, ClassVar, Final, NamedTuple
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import choose_encoder

from gistline.errors import GistlineError, SettingsError
from gistline.settings_observability import MetricsSettings
from gistline.telemetry.places import Place

log = logging.getLogger(__name__)

IDLE_S: Final = 10.0
"""A connection that says nothing for this long is closed."""
TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"


class Answer(NamedTuple):
    """Body of an answer and its media type."""

    body: bytes
    media_type: str = JSON


WELL: Final = Answer(b'{"status":"ok"}')
UNWELL: Final = Answer(b'{"status":"not ready"}')


@dataclass(slots=True)
class Health:
    """What a process says of itself; both may be replaced while it starts. Asked from other threads."""

    alive: Callable[[], bool] = lambda: True
    ready: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True)
class Exposed:
    """What one process serves: its registry, its health, and pages beside them, which need the token too."""

    registry: CollectorRegistry
    health: Health = field(default_factory=Health)
    pages: Mapping[str, Callable[[], Answer]] = field(default_factory=dict)


@contextmanager
def listening(settings: MetricsSettings, place: Place, exposed: Exposed) -> Iterator[str]:
    """Serve from a thread while the block runs; yields ``host:port``, empty where the settings want none.

    Raises:
        SettingsError: the address cannot be listened on, or every port that a worker may take is taken.

    """
    if not settings.port:
        yield ""
        return
    carried = {"exposed": exposed, "token": settings.token.get_secret_value()}
    server = _bound(settings, place, type("Handler", (_Handler,), carried))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, name="metrics", daemon=True)
    thread.start()
    address = f"{settings.host}:{server.server_address[1]}"
    log.info("metrics and health on http://%s", address)
    try:
        yield address
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    """Gives up quietly on a client that goes away."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client's failure is no event of ours."""
        log.debug("%s went away", client_address, exc_info=True)


class _Server6(_Server):
    address_family = socket.AF_INET6


def _bound(settings: MetricsSettings, place: Place, handler: type[BaseHTTPRequestHandler]) -> _Server:
    first = settings.port + place
    ports = range(first, first + (settings.workers if place is Place.WORKER else 1))
    kind = _Server6 if ":" in settings.host else _Server
    for port in ports:
        try:
            return kind((settings.host, port), handler)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or port == ports[-1]:
                raise SettingsError(
                    f"Metrics cannot be served on {settings.host}, port {_span(ports)}: {error.strerror}.",
                    cure="Set GISTLINE_METRICS__PORT (0 serves none), GISTLINE_METRICS__WORKERS or "
                    "GISTLINE_METRICS__HOST.",
                ) from error
    raise AssertionError("a range of ports is never empty")


def _span(ports: range) -> str:
    return str(ports[0]) if len(ports) == 1 else f"{ports[0]} to {ports[-1]}"


class _Handler(BaseHTTPRequestHandler):
    """One request; a class of its own for each listener carries what it serves."""

    exposed: ClassVar[Exposed]
    token: ClassVar[str]
    timeout = IDLE_S
    protocol_version = "HTTP/1.1"

    def version_string(self) -> str:
        """Nothing about the library."""
        return "gistline"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Scrapes come every few seconds."""
        log.debug(format, *args)

    def do_GET(self) -> None:
        """Answer it."""
        status, answer = self._answer(urlsplit(self.path).path)
        self.send_response(status)
        if status is HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", "Bearer")
        self.send_header("Content-Type", answer.media_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def _answer(self, path: str) -> tuple[HTTPStatus, Answer]:
        asked = {"/healthz": self.exposed.health.alive, "/readyz": self.exposed.health.ready}.get(path)
        if asked is not None:
            return (HTTPStatus.OK, WELL) if asked() else (HTTPStatus.SERVICE_UNAVAILABLE, UNWELL)
        if path != "/metrics" and path not in self.exposed.pages:
            return HTTPStatus.NOT_FOUND, Answer(b"not found\n", TEXT)
        if not _knows(self.headers.get("Authorization", ""), self.token):
            return HTTPStatus.UNAUTHORIZED, Answer(b"metrics.token is asked for\n", TEXT)
        return self._page(path)

    def _page(self, path: str) -> tuple[HTTPStatus, Answer]:
        if path == "/metrics":
            encode, media_type = choose_encoder(self.headers.get("Accept", ""))
            return HTTPStatus.OK, Answer(encode(self.exposed.registry), media_type)
        try:
            return HTTPStatus.OK, self.exposed.pages[path]()
        except GistlineError as error:
            log.warning("%s cannot be answered: %s", path, error)
            return HTTPStatus.SERVICE_UNAVAILABLE, Answer(f"{error.title}\n".encode(), TEXT)


def written(registry: CollectorRegistry) -> str:
    """Everything of a registry in Prometheus's text form."""
    return generate_latest(registry).decode()


def _knows(given: str, token: str) -> bool:
    return not token or hmac.compare_digest(given.encode(), f"Bearer {token}".encode())
