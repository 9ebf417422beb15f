"""Every error as ``application/problem+json`` (RFC 9457): type, title, status, detail, cure, ids.

What a client did wrong is said in full. What went wrong here is said in general, with a number under which the log
holds the rest: addresses, paths and stack traces stay inside.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar, Final
from urllib.parse import urlencode
from uuid import uuid4

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from api.dashboard.page import Look, render
from gistline.errors import (
    Conflict,
    FleetBusy,
    FrameDamaged,
    GistlineError,
    ImageRejected,
    ImageTooLarge,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    RequestRejected,
    StorageFull,
    StorageUnavailable,
    TooManyRequests,
)
from gistline.telemetry.logs import mask_keys

MEDIA_TYPE = "application/problem+json"
FIELDS = "See /docs for the fields and their bounds."
LONGEST_VALUE = 80
log = logging.getLogger(__name__)


class RequestMalformed(RequestRejected):
    """The body is not what its content type says."""

    status_code: ClassVar[int] = HTTPStatus.BAD_REQUEST
    title: ClassVar[str] = "Request malformed"


class RequestTooSlow(RequestRejected):
    """The body did not arrive in time."""

    status_code: ClassVar[int] = HTTPStatus.REQUEST_TIMEOUT
    title: ClassVar[str] = "Request too slow"


class RequestTooLarge(RequestRejected):
    """The body is longer, or holds more images, than is taken in one request."""

    status_code: ClassVar[int] = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    title: ClassVar[str] = "Request too large"


class MediaTypeRefused(RequestRejected):
    """The content type is none that can hold images."""

    status_code: ClassVar[int] = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    title: ClassVar[str] = "Media type refused"


class Problem(BaseModel):
    """What every error is answered with (RFC 9457)."""

    type: str = Field(
        description="`urn:gistline:problem:` and a name that stays.", examples=["urn:gistline:problem:not-found"]
    )
    title: str = Field(description="The name in words.", examples=["Not found"])
    status: int = Field(description="The HTTP status.", examples=[404])
    detail: str = Field(description="What was wrong.", examples=["There is no frame 0199... that you may see."])
    cure: str = Field(description="What to do about it.", examples=["Ask with the key that sent it."])
    ids: dict[str, str] = Field(description="What it is about.", examples=[{"frame_id": "0199..."}])


def problems_of(*kinds: type[GistlineError]) -> dict[int | str, dict[str, Any]]:
    """Description of the errors that a route answers with beside those that every route may."""
    named: dict[int, list[str]] = {}
    for kind in kinds:
        named.setdefault(int(kind.status_code), []).append(kind.title)
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": " or ".join(titles) + ".", "content": {MEDIA_TYPE: {"schema": schema}}}
        for status, titles in named.items()
    }


ON_UPLOADS: Final[tuple[type[GistlineError], ...]] = (
    RequestMalformed,
    RequestTooSlow,
    Conflict,
    RequestTooLarge,
    ImageTooLarge,
    MediaTypeRefused,
    ImageRejected,
    RequestRejected,
    FleetBusy,
    TooManyRequests,
    StorageFull,
)
REFUSED_UPLOADS: Final = problems_of(*ON_UPLOADS)
ANSWERED: Final[tuple[type[GistlineError], ...]] = (
    *ON_UPLOADS,
    NotAuthenticated,
    NotAllowed,
    NotFound,
    GistlineError,
    FrameDamaged,
    StorageUnavailable,
)
"""Every kind of error that the API answers with, beside those of routing (unknown paths and methods)."""


def install(app: FastAPI) -> None:
    """Answer every error of the application by :func:`answer`."""
    for kind in (GistlineError, RequestValidationError, HTTPException, ClientDisconnect, Exception):
        app.add_exception_handler(kind, answer)


async def answer(request: Request, error: Exception) -> Response:
    """The one error handler: to programs a problem, to somebody before a browser a page that says the same."""
    response = _answer(request, error)
    if _is_page(request) and response.media_type == MEDIA_TYPE:
        return _as_page(request, response)
    return response


def _answer(request: Request, error: Exception) -> Response:
    if isinstance(error, ClientDisconnect):
        return Response(status_code=HTTPStatus.BAD_REQUEST)  # nobody reads it
    if isinstance(error, RequestValidationError):
        return problem(RequestRejected(explain(error.errors()), cure=FIELDS))
    if isinstance(error, HTTPException):
        return _of_routing(request, error)
    if isinstance(error, NotAuthenticated) and _is_page(request):
        return _to_sign_in(request)
    if isinstance(error, FleetBusy) or (isinstance(error, GistlineError) and error.status_code < 500):
        return problem(error)
    return _of_ours(request, error)


def problem(error: GistlineError) -> Response:
    """Response to an error of ours."""
    headers = {"WWW-Authenticate": "Bearer"} if error.status_code == HTTPStatus.UNAUTHORIZED else {}
    if error.retryable:
        headers["Retry-After"] = str(error.retry_after_s if isinstance(error, FleetBusy) else 1)
    return JSONResponse(content_of(error), error.status_code, headers, MEDIA_TYPE)


def content_of(error: GistlineError) -> dict[str, Any]:
    """Fields of the problem that an error of ours is."""
    rest = {"detail": mask_keys(error.message), "cure": error.cure, "ids": error.ids}
    return _head(error.status_code, error.title) | rest


def _head(status: int, title: str) -> dict[str, Any]:
    return {"type": f"urn:gistline:problem:{name_of(title)}", "title": title, "status": int(status)}


def name_of(title: str) -> str:
    """The part of a problem's type that programs compare: ``Not found`` -> ``not-found``."""
    return re.sub(r"[^a-z]+", "-", title.lower())


def rejected(where: str, error: ValidationError) -> RequestRejected:
    """Pydantic's refusal of ``where`` in our words."""
    return RequestRejected(f"{where}: {explain(error.errors(include_url=False))}", cure=FIELDS)


def explain(errors: Any) -> str:
    """``field = 'value': reason`` for each of pydantic's errors; long values are cut."""
    return "; ".join(_line(error) for error in list(errors)[:5]) + "."


def _line(error: Mapping[str, Any]) -> str:
    name = ".".join(str(part) for part in error["loc"] if part not in {"query", "path"}) or "value"
    shown = repr(error.get("input"))
    if len(shown) > LONGEST_VALUE:
        shown = shown[:LONGEST_VALUE] + "..."
    return f"{name} = {shown}: {error['msg']}".encode(errors="backslashreplace").decode()


def _is_page(request: Request) -> bool:
    """Whether somebody waits before a browser: a page is asked for, not data."""
    return not request.url.path.startswith("/v1/") and "text/html" in request.headers.get("accept", "")


def _as_page(request: Request, response: Response) -> Response:
    said = json.loads(bytes(response.body))
    shown = {name: said[name] for name in ("title", "detail", "cure")}
    page = render(request, "problem.html", Look.of(request), status=response.status_code, **shown)
    if "retry-after" in response.headers:
        page.headers["Retry-After"] = response.headers["retry-after"]
    return page


def _to_sign_in(request: Request) -> Response:
    """To the sign-in page, and from there back to the page that was asked for; a form's content is not sent again."""
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    wanted = path if request.method == "GET" else "/"
    return RedirectResponse(f"/login?{urlencode({'next': wanted})}", HTTPStatus.SEE_OTHER)


def _of_routing(request: Request, error: HTTPException) -> Response:
    detail = mask_keys(f"{request.method} {request.url.path}: {error.detail}.")
    content = {"detail": detail, "cure": "See /docs for the routes.", "ids": {}}
    head = _head(error.status_code, HTTPStatus(error.status_code).phrase)
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(sorted(_methods_of(request)))
    return JSONResponse(head | content, error.status_code, headers, MEDIA_TYPE)


def _methods_of(request: Request) -> set[str]:
    """Methods of every route at this path; Starlette names those of the first one only."""
    routes = iter_route_contexts(request.app.routes)
    here = [route for route in routes if route.path_regex.match(request.url.path)]
    return {method for route in here for method in route.methods or ()}


def _of_ours(request: Request, error: Exception) -> Response:
    """A failure on this side: the number leads from the answer to the log."""
    number = uuid4().hex
    log.error("%s %s failed, number %s", request.method, request.url.path, number, exc_info=error)
    known = error if isinstance(error, GistlineError) else GistlineError("", cure="Report it with the number.")
    shown = type(known)(f"{known.title}; the API's log has the cause under number {number}.", cure=known.cure)
    shown.ids = known.ids | {"log": number}
    return problem(shown)
