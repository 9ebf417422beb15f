"""``python -m api``: serve HTTP until SIGTERM or Ctrl-C; requests in flight are finished first.

With ``api.processes`` above one this process only listens and keeps that many children serving.
"""

from __future__ import annotations

import gc
import signal
import socket
import sys
from functools import partial

import uvicorn
from fastapi import FastAPI

from api import processes
from api.app import create_app
from api.protocol import MAX_HEAD_BYTES, ProblemProtocol
from gistline.errors import GistlineError
from gistline.frames.store import open_store
from gistline.settings import Settings, load_settings
from gistline.settings_report import secrets_of
from gistline.storage.session import close_database, open_database
from gistline.telemetry import metrics
from gistline.telemetry.listener import Exposed, Health, listening
from gistline.telemetry.logs import set_up_logging
from gistline.telemetry.places import Place
from gistline.telemetry.promptness import be_prompt
from gistline.telemetry.tracing import tracing

GRACE_S = 10
KEEP_ALIVE_S = 30


class Server(uvicorn.Server):
    """Says where it listens once it does, which matters for port 0."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then print the address."""
        await super().startup(sockets)
        be_prompt()
        for server in self.servers:
            host, port = server.sockets[0].getsockname()[:2]
            sys.stdout.write(f"Listening on http://{f'[{host}]' if ':' in host else host}:{port}\n")
            sys.stdout.flush()


def main() -> int:
    """Load the settings and serve; a setting that is wrong ends it with the cure."""
    try:
        settings = load_settings()
        set_up_logging(settings.log, service="api", secrets=secrets_of(settings))
        place = processes.place_of(sys.argv[1:])
        if place is None:
            _check(settings)
            if settings.api.processes > 1:
                return processes.herd(processes.listen(settings.api), settings.api.processes)
        return _serve(settings, place)
    except GistlineError as error:
        sys.stderr.write(f"{error.title}: {error}\n")
        return 2


def _serve(settings: Settings, child: processes.Place | None) -> int:
    server = Server(config(settings, create_app(settings)))
    # What was imported and built stays until the end: the collector need not walk it again and again.
    gc.collect()
    gc.freeze()
    exposed = Exposed(metrics.REGISTRY, Health(ready=lambda: server.started))
    # Uvicorn sends itself the signal again when it has stopped; what is opened here is still to be closed then.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    # the first has the API's own port for metrics, the others take those of workers
    place = Place.API if child is None or child.number == 1 else Place.WORKER
    with tracing(settings.tracing, service="api"), listening(settings.metrics, place, exposed):
        if child is None:
            server.run()
        else:
            processes.when_orphaned(child.lifeline, partial(setattr, server, "should_exit", True))
            server.run([socket.socket(fileno=child.listener)])
    return 0 if server.started else 1


def config(settings: Settings, app: FastAPI) -> uvicorn.Config:
    """Uvicorn's configuration; its access log is off, since :mod:`api.observed` writes one where it is wanted."""
    return uvicorn.Config(
        app,
        host=settings.api.host,
        port=settings.api.port,
        http=ProblemProtocol,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        access_log=False,
        server_header=False,
        log_config=None,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )


def _check(settings: Settings) -> None:
    """Find a wrong setting before the server starts; nothing is connected to."""
    close_database(open_database(settings.database))
    open_store(settings)


if __name__ == "__main__":
    sys.exit(main())
