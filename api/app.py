"""The application: routers, one error handler, and what a process holds from start to end."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from api import costs, dashboard, findings, frames, health, me, problems, reports, sign_in
from api.admission import Gauge
from api.deps import Services
from api.headers import SafeHeaders
from api.observed import Observed
from gistline.dispatch import CelerySender, Dispatcher
from gistline.frames.store import open_store
from gistline.settings import Settings
from gistline.storage.session import close_database, open_database
from gistline.telemetry import metrics

ROUTERS = (
    frames.router,
    findings.router,
    reports.router,
    costs.router,
    health.router,
    me.router,
    sign_in.router,
    *dashboard.ROUTERS,
)


def create_app(settings: Settings, *, dispatcher: Dispatcher | None = None) -> FastAPI:
    """Build the application; nothing is opened before it starts.

    ``dispatcher`` replaces the one that rings the workers through Redis, and is not closed here.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
        sender = CelerySender(settings.redis, settings.fleet) if dispatcher is None else dispatcher
        if isinstance(sender, CelerySender):
            metrics.BELLS.follow(sender.counts)
        sessions = open_database(settings.database)
        try:
            app.state.gauge = Gauge()
            app.state.services = Services(settings, sessions, open_store(settings), sender)
            yield
        finally:
            if isinstance(sender, CelerySender) and sender is not dispatcher:
                sender.close()
            close_database(sessions)

    # Its scripts come from a wheel: a plant's network reaches no content delivery network.
    app = FastAPIOffline(title="Gistline", summary="Camera frames in, the gist out.", lifespan=lifespan)
    problems.install(app)
    app.add_middleware(SafeHeaders)
    app.add_middleware(Observed, access=settings.log.access)
    for router in ROUTERS:
        app.include_router(router)
    return app
