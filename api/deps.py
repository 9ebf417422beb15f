"""What a process holds, and who is asking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from gistline.dispatch import Dispatcher
from gistline.errors import NotAuthenticated
from gistline.frames.store import FrameStore
from gistline.settings import Settings
from gistline.storage.cameras import CameraIdentity, authenticate
from gistline.storage.session import Sessions, transaction
from gistline.telemetry.logs import add_fields

bearer = HTTPBearer(auto_error=False, description="A camera's key; `gistline cameras add` prints one.")


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


ServicesOf = Annotated[Services, Depends(get_services)]


def get_camera(
    services: ServicesOf, given: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)]
) -> CameraIdentity:
    """Camera of the request's key; asked anew each time, so that a revoked key is refused at once.

    Raises:
        NotAuthenticated: no key, or one that is unknown or revoked.

    """
    if given is None:
        raise NotAuthenticated(
            "The request has no key.", cure="Send the header 'Authorization: Bearer KEY' with a camera's key."
        )
    with transaction(services.sessions) as session:
        camera = authenticate(session, given.credentials)
    add_fields(camera=camera.name, line=camera.line)
    return camera


CameraOf = Annotated[CameraIdentity, Depends(get_camera)]


async def open_to_all() -> None:
    """Mark of a route that needs nobody signed in, so that none is open by mistake."""


Open = Depends(open_to_all)
