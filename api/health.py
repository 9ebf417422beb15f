"""Is the process alive, and could it accept a frame?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Literal

import redis
from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel
from redis.exceptions import RedisError

from api.deps import Open, Services, ServicesOf
from api.problems import problem
from gistline.errors import GistlineError, StorageUnavailable
from gistline.settings import RedisSettings
from gistline.storage import health, migrate
from gistline.storage.session import transaction

router = APIRouter(tags=["health"])
BROKER_TIMEOUT_S = 0.5


class AliveAnswer(BaseModel):
    """The event loop turns."""

    status: Literal["ok"]


class ReadyAnswer(BaseModel):
    """Frames can be accepted. Of each kind of worker: how many are alive, ready, unproven, in trouble."""

    status: Literal["ready"]
    broker: Literal["up", "down"]
    workers: dict[str, dict[str, int]]


@router.get("/healthz", name="is_alive", dependencies=[Open])
async def alive() -> AliveAnswer:
    """200 as long as the event loop turns."""
    return AliveAnswer(status="ok")


@router.get("/readyz", name="is_ready", response_model=ReadyAnswer, dependencies=[Open])
def ready(services: ServicesOf) -> Response | dict[str, Any]:
    """200 when frames can be accepted: the database answers with the right tables, and the store takes bytes.

    Broker and workers are shown, not required: what is accepted while they are away is inspected when they are back.
    """
    checks = {"database": _database, "store": _store}
    missing = {name: reason for name, check in checks.items() if (reason := _missing(check, services))}
    if missing:
        detail = "; ".join(f"{name}: {reason}" for name, reason in missing.items())
        return problem(StorageUnavailable(f"Not ready: {detail}", cure="See 'gistline doctor'."))
    return {
        "status": "ready",
        "broker": "up" if _broker_answers(services.settings.redis) else "down",
        "workers": _workers(services),
    }


def _missing(check: Callable[[Services], None], services: Services) -> str | None:
    try:
        check(services)
    except GistlineError as error:
        return error.title if error.__cause__ else error.message  # a cause may name addresses
    return None


def _database(services: Services) -> None:
    with transaction(services.sessions) as session:
        found = health.revision(session)
    if found != migrate.head():
        raise StorageUnavailable(f"tables are at {found or 'nothing'}, needed is {migrate.head()}: gistline db upgrade")


def _store(services: Services) -> None:
    services.store.check()


def _broker_answers(settings: RedisSettings) -> bool:
    timeouts = {"socket_timeout": BROKER_TIMEOUT_S, "socket_connect_timeout": BROKER_TIMEOUT_S}
    try:
        with redis.Redis.from_url(settings.url.get_secret_value(), **timeouts) as client:
            return bool(client.ping())
    except (RedisError, OSError, ValueError):
        return False


def _workers(services: Services) -> dict[str, dict[str, int]]:
    with transaction(services.sessions) as session:
        found = health.workers(session)
    return {kind: asdict(one) for kind, one in found.items()}
