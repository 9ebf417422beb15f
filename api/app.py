"""The application: routers, one error handler, and what a process holds from start to end."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import cache, partial

from fastapi import FastAPI
from fastapi.routing import APIRoute

from api import (
    audit,
    costs,
    dashboard,
    dead_letters,
    findings,
    fleet,
    frames,
    health,
    me,
    openapi,
    problems,
    reports,
    sign_in,
)
from api.admission import Gauge
from api.deps import Limits, Services
from api.headers import SafeHeaders
from api.limits import Buckets
from api.observed import Observed
from api.rules import rules_of
from gistline.dispatch import CelerySender, Dispatcher
from gistline.frames.store import open_store
from gistline.settings import Settings
from gistline.settings_access import AccessSettings
from gistline.storage.session import close_database, open_database
from gistline.telemetry import metrics

ROUTERS = (
    frames.router,
    findings.router,
    reports.router,
    costs.router,
    fleet.router,
    dead_letters.router,
    audit.router,
    me.router,
    health.router,
    sign_in.router,
    openapi.router,
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
            app.state.limits = limits_of(settings.access)
            app.state.services = Services(settings, sessions, open_store(settings), sender)
            yield
        finally:
            if isinstance(sender, CelerySender) and sender is not dispatcher:
                sender.close()
            close_database(sessions)

    # The description and its pages are routes of ours: nobody reads them without a key or a session.
    app = FastAPI(
        lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None, generate_unique_id_function=_operation
    )
    problems.install(app)
    app.add_middleware(SafeHeaders)
    app.add_middleware(Observed, access=settings.log.access)
    for router in ROUTERS:
        app.include_router(router)
    rules_of(app)  # raises where a route would answer everybody without saying so
    app.openapi = cache(partial(openapi.describe, app))  # type: ignore[method-assign]
    return app


def _operation(route: APIRoute) -> str:
    """Name of a route for code generators; it stays when paths change."""
    return route.name


def limits_of(settings: AccessSettings) -> Limits:
    """Full buckets."""
    return Limits(
        Buckets(settings.camera_rate, settings.burst_s),
        Buckets(settings.program_rate, settings.burst_s),
    )
