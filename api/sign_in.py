"""The pages that need nobody signed in: /login; and /logout, which ends it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response

from api.dashboard.page import Look, render
from api.deps import Open, ServicesOf
from api.people import SESSION_COOKIE, PersonOf, check_csrf, csrf_of, set_cookie, set_session_cookie
from gistline.errors import GistlineError, NotAllowed, NotAuthenticated, TooManyRequests
from gistline.flows.sign_in import sign_in
from gistline.flows.sign_out import sign_out
from gistline.storage.secret_digests import new_secret

FORM_COOKIE: Final = "gistline_form"
FORM_S: Final = 3_600
"""An open sign-in page can be sent this long."""
MAX_FORM_BYTES: Final = 16_384

router = APIRouter(tags=["people"], include_in_schema=False, max_body_size=MAX_FORM_BYTES)


@router.get("/login", dependencies=[Open])
async def show_form(request: Request, services: ServicesOf) -> Response:
    """The form; ``next`` in the query is the page that was asked for."""
    return _form(request, services, request.query_params.get("next", "/"))


@router.post("/login", dependencies=[Open])
async def send_form(request: Request, services: ServicesOf) -> Response:
    """Open a session and go on to the page that was asked for; a refusal is the form again, with the reason."""
    form = await request.form(max_files=0, max_fields=8)
    given = {name: value for name, value in form.items() if isinstance(value, str)}
    wanted = given.get("next", "/")
    try:
        await check_csrf(request, request.cookies.get(FORM_COOKIE, ""))
        signed_in = await run_in_threadpool(
            sign_in,
            services.sessions,
            given.get("name", ""),
            given.get("password", ""),
            address=request.client.host if request.client else "",
            settings=services.settings.access,
        )
    except (NotAllowed, NotAuthenticated, TooManyRequests) as refusal:
        return _form(request, services, wanted, refusal)
    response = RedirectResponse(local_path(wanted), 303)
    response.delete_cookie(FORM_COOKIE)
    set_session_cookie(response, request, signed_in.token, services.settings.access)
    return response


@router.post("/logout")
async def leave(request: Request, services: ServicesOf, _person: PersonOf) -> Response:
    """End the session."""
    await run_in_threadpool(sign_out, services.sessions, request.cookies[SESSION_COOKIE])
    response = RedirectResponse("/login", 303)
    response.delete_cookie(SESSION_COOKIE)
    return response


def local_path(wanted: str) -> str:
    """``wanted`` where it is a path on this server, else ``/``: nobody is sent elsewhere by a link to /login."""
    is_path = wanted.startswith("/") and not wanted.startswith("//")
    return wanted if is_path and wanted.isprintable() and "\\" not in wanted else "/"


def _form(request: Request, services: ServicesOf, wanted: str, refusal: GistlineError | None = None) -> Response:
    secret = request.cookies.get(FORM_COOKIE) or new_secret()
    status = HTTPStatus.OK if refusal is None else refusal.status_code
    shown = {"csrf": csrf_of(secret), "next": local_path(wanted), "refusal": refusal}
    response = render(request, "login.html", Look.of(request), status=status, **shown)
    if isinstance(refusal, TooManyRequests):
        response.headers["Retry-After"] = str(refusal.retry_after_s)
    set_cookie(response, request, FORM_COOKIE, secret, services.settings.access, max_age_s=FORM_S)
    return response
