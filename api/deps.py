"""What a process holds, and who is asking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.limits import Buckets
from gistline.dispatch import Dispatcher
from gistline.errors import NotAllowed, NotAuthenticated
from gistline.frames.store import FrameStore
from gistline.settings import Settings
from gistline.storage.cameras import CameraIdentity, authenticate
from gistline.storage.keys import PROGRAM_PREFIX
from gistline.storage.programs import authenticate_program
from gistline.storage.session import Sessions, transaction
from gistline.telemetry.logs import add_fields

bearer = HTTPBearer(
    auto_error=False,
    scheme_name="key",
    description="A key: a camera's (`gistline cameras add` prints it) or a program's (`gistline keys create`).",
)


@dataclass(frozen=True, slots=True)
class Services:
    """Opened once for each process, by the application's lifespan."""

    settings: Settings
    sessions: Sessions
    store: FrameStore
    dispatcher: Dispatcher


async def get_services(request: Request) -> Services:
    """Services of this application; a coroutine only because FastAPI sends plain functions to a thread."""
    found: Services = request.app.state.services
    return found


@dataclass(frozen=True, slots=True)
class Limits:
    """How often each camera, and each program or person, may ask this process."""

    cameras: Buckets
    callers: Buckets


ServicesOf = Annotated[Services, Depends(get_services)]


async def open_to_all() -> None:
    """Mark of a route that answers everybody; without a mark or a caller no route is served (:mod:`api.rules`)."""


Open = Depends(open_to_all)


def get_camera(
    request: Request,
    services: ServicesOf,
    given: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)],
) -> CameraIdentity:
    """Camera of the request's key; asked anew each time, so that a revoked key is refused at once.

    Raises:
        NotAuthenticated: no key, or one that is unknown or revoked.
        NotAllowed: the key is a program's.
        TooManyRequests: the camera asks too often.

    """
    if given is None:
        raise NotAuthenticated(
            "The request has no key.", cure="Send the header 'Authorization: Bearer KEY' with a camera's key."
        )
    if is_program_key(given.credentials):
        with transaction(services.sessions) as session:
            program = authenticate_program(session, given.credentials)
        raise NotAllowed(f"{program.name} is a program; frames are sent by cameras.", cure="Send a camera's key.")
    return authenticate_camera(services, request.app.state.limits, given.credentials)


def authenticate_camera(services: Services, limits: Limits, key: str) -> CameraIdentity:
    """Camera of a key.

    Raises:
        NotAuthenticated: unknown or revoked.
        TooManyRequests: the camera asks too often.

    """
    with transaction(services.sessions) as session:
        camera = authenticate(session, key)
    add_fields(camera=camera.name, line=camera.line)
    limits.cameras.take(camera.name)
    return camera


def is_program_key(key: str) -> bool:
    """Whether it has the beginning of a program's key."""
    return key.startswith(PROGRAM_PREFIX)


CameraOf = Annotated[CameraIdentity, Depends(get_camera)]
