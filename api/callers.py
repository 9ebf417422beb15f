"""Who asks by the API: a person with a session, or a program with a key. Cameras' keys send frames, and no more."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials

from api.deps import Limits, Services, ServicesOf, authenticate_camera, bearer, is_program_key
from api.people import check_role, get_person
from gistline.domain import Caller, Program, Role
from gistline.errors import NotAllowed
from gistline.storage.cameras import CameraIdentity
from gistline.storage.programs import authenticate_program
from gistline.storage.session import transaction
from gistline.telemetry.logs import add_fields

Given = Annotated[HTTPAuthorizationCredentials | None, Security(bearer)]
CURE = "Ask with a program's key ('gistline keys create') or sign in."


async def get_reader(request: Request, services: ServicesOf, given: Given) -> CameraIdentity | Caller:
    """Whoever asks: the program or camera of the key that was sent, else the person who has signed in.

    Raises:
        NotAuthenticated: neither key nor session, or one that is worth nothing.
        NotAllowed: a session's request changes something and lacks its token.
        TooManyRequests: the caller asks too often.

    """
    limits: Limits = request.app.state.limits
    if given is not None:
        return await run_in_threadpool(_of_key, services, limits, given.credentials)
    person = await get_person(request, services)
    limits.callers.take(person.actor)
    add_fields(caller=person.actor)
    return person


ReaderOf = Annotated[CameraIdentity | Caller, Depends(get_reader)]


async def get_caller(reader: ReaderOf) -> Caller:
    """Person or program; a camera is refused.

    Raises:
        NotAllowed: the key is a camera's.

    """
    if isinstance(reader, CameraIdentity):
        raise NotAllowed("A camera's key sends frames and reads back its own, nothing else.", cure=CURE)
    return reader


CallerOf = Annotated[Caller, Depends(get_caller)]


class RequireCaller:
    """Dependency that gives a person or program of at least this role."""

    def __init__(self, least: Role) -> None:
        self.least = least

    async def __call__(self, caller: CallerOf) -> Caller:
        """Let the caller in.

        Raises:
            NotAllowed: the role is a lower one.

        """
        check_role(caller, self.least)
        return caller


def allow(least: Role) -> Any:
    """``Annotated[Caller, allow(Role.OPERATOR)]``: a person or a program who may do so much."""
    return Depends(RequireCaller(least))


def _of_key(services: Services, limits: Limits, key: str) -> CameraIdentity | Program:
    if not is_program_key(key):
        return authenticate_camera(services, limits, key)
    with transaction(services.sessions) as session:
        program = authenticate_program(session, key)
    limits.callers.take(program.actor)
    add_fields(caller=program.actor)
    return program
