"""Who has signed in, and whether a form comes from our own page.

The session's token is in a cookie that scripts cannot read. Browsers send it with every request to us, also with one
that another site made them send; so whatever changes something must carry a token of ours too, which other sites cannot
know: :func:`csrf_token`, in the form's field ``csrf`` or in the header ``X-CSRF-Token``. :data:`PersonOf` checks it for
every method but GET and HEAD: a page cannot forget to.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import Annotated, Any, Final

from fastapi import Depends, Request, Response
from fastapi.concurrency import run_in_threadpool

from api.deps import Services, ServicesOf
from gistline.domain import Caller, Person, Role
from gistline.errors import NotAllowed, NotAuthenticated
from gistline.settings_access import AccessSettings
from gistline.storage.session import transaction
from gistline.storage.web_sessions import person_of_session

SESSION_COOKIE: Final = "gistline_session"
CSRF_FIELD: Final = "csrf"
CSRF_HEADER: Final = "X-CSRF-Token"
SAFE_METHODS: Final = frozenset({"GET", "HEAD"})


async def get_person(request: Request, services: ServicesOf) -> Person:
    """Whoever has signed in; asked anew each time, so that a disabled person is out at once.

    Raises:
        NotAuthenticated: no session, or one that is over. A page's reader is sent to /login.
        NotAllowed: a request that changes something comes without the token of our own pages.

    """
    token = request.cookies.get(SESSION_COOKIE, "")
    if not token:
        raise NotAuthenticated("Nobody has signed in.", cure="Sign in at /login.")
    person = await run_in_threadpool(_read_person, services, token)
    if request.method not in SAFE_METHODS:
        await check_csrf(request, token)
    return person


PersonOf = Annotated[Person, Depends(get_person)]


class Require:
    """Dependency that gives a signed-in person of at least this role."""

    def __init__(self, least: Role) -> None:
        self.least = least

    async def __call__(self, person: PersonOf) -> Person:
        """Let the person in.

        Raises:
            NotAllowed: the role is a lower one.

        """
        check_role(person, self.least)
        return person


def require(least: Role) -> Any:
    """``Annotated[Person, require(Role.OPERATOR)]``, or in a route's ``dependencies``: somebody who may do so much."""
    return Depends(Require(least))


def check_role(person: Caller, least: Role) -> None:
    """Refuse whoever may do less.

    Raises:
        NotAllowed: says which role it takes.

    """
    if not person.may(least):
        raise NotAllowed(
            f"{person.name} is {person.role}; this takes {least}.",
            cure="An admin can change roles: 'gistline people set'.",
        )


def csrf_token(request: Request) -> str:
    """Token for the forms of a page: hidden field ``csrf``. It is good as long as the session is."""
    return csrf_of(request.cookies.get(SESSION_COOKIE, ""))


def csrf_of(secret: str) -> str:
    """Token that only who holds the cookie's ``secret`` can make."""
    return hmac.new(secret.encode(), b"gistline form", sha256).hexdigest()


async def check_csrf(request: Request, secret: str) -> None:
    """Refuse a request that another site may have sent.

    Raises:
        NotAllowed: the token is missing or of another session.

    """
    given = request.headers.get(CSRF_HEADER)
    if given is None and request.headers.get("content-type", "").startswith(
        ("application/x-www-form-urlencoded", "multipart/form-data")
    ):
        field = (await request.form()).get(CSRF_FIELD)
        given = field if isinstance(field, str) else None
    if not secret or given is None or not hmac.compare_digest(given.encode(), csrf_of(secret).encode()):
        raise NotAllowed(
            "The request does not come from a page of this session.", cure="Load the page again, and send its form."
        )


def set_session_cookie(response: Response, request: Request, token: str, settings: AccessSettings) -> None:
    """Hand the session's token to the browser, out of reach of scripts and of other sites' forms."""
    set_cookie(response, request, SESSION_COOKIE, token, settings, max_age_s=settings.session_max_h * 3_600)


def set_cookie(
    response: Response, request: Request, name: str, value: str, settings: AccessSettings, *, max_age_s: int
) -> None:
    """Set a cookie: HttpOnly, SameSite=Lax, and Secure over HTTPS or where the settings demand it."""
    secure = settings.secure_cookie == "always" or request.url.scheme == "https"
    response.set_cookie(name, value, max_age=max_age_s, httponly=True, samesite="lax", secure=secure)


def _read_person(services: Services, token: str) -> Person:
    with transaction(services.sessions) as session:
        return person_of_session(session, token, idle_min=services.settings.access.session_idle_min)
