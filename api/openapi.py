"""The description of the API for programs (OpenAPI 3.1), and the pages that show it to people who have signed in."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import fastapi_offline
from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.responses import FileResponse, HTMLResponse

from api.callers import CallerOf
from api.people import CSRF_HEADER, SESSION_COOKIE, PersonOf
from api.problems import Problem, problems_of
from api.rules import Guard, Rule, rules_of
from gistline.errors import (
    GistlineError,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    RequestRejected,
    StorageUnavailable,
    TooManyRequests,
)

router = APIRouter(include_in_schema=False)
DESCRIPTION: Final = (
    "Cameras send frames with their keys. Programs read, and operate, with keys of theirs; people with a session. "
    "Lists are cut into pages by opaque cursors. Every error is `application/problem+json`."
)
TAGS: Final = {
    "frames": "Frames: sent by cameras, read back.",
    "findings": "Findings and verdicts.",
    "reports": "Report windows and reports.",
    "costs": "What reports cost, beside what sending the images would have.",
    "fleet": "Cameras, engines, passports.",
    "dead letters": "Frames that were given up.",
    "audit": "Who changed what.",
    "me": "Who asks.",
    "health": "Is it alive, is it ready?",
}
ASSETS: Final = Path(fastapi_offline.__file__).parent / "static"
"""Scripts of the pages, from a wheel: a plant's network reaches no content delivery network."""
SCHEMES: Final = {
    "key": {"type": "http", "scheme": "bearer", "description": "Key of a camera or a program."},
    "session": {"type": "apiKey", "in": "cookie", "name": SESSION_COOKIE, "description": "Of whoever has signed in."},
    "csrf": {"type": "apiKey", "in": "header", "name": CSRF_HEADER, "description": "Token of the session's pages."},
}


def describe(app: FastAPI) -> dict[str, Any]:
    """The whole description: every route with who may call it, and every error that it answers with."""
    schema = get_openapi(
        title="Gistline",
        version=version("gistline"),
        summary="Camera frames in, the gist out.",
        description=DESCRIPTION,
        routes=app.routes,
        tags=[{"name": name, "description": text} for name, text in TAGS.items()],
    )
    components = schema.setdefault("components", {})
    components["securitySchemes"] = SCHEMES
    schemas = components.setdefault("schemas", {})
    schemas["Problem"] = Problem.model_json_schema()
    for replaced in ("HTTPValidationError", "ValidationError"):
        schemas.pop(replaced, None)
    rules = {(rule.path, rule.method.lower()): rule for rule in rules_of(app)}
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            _complete(operation, rules[path, method])
    return schema


def _complete(operation: dict[str, Any], rule: Rule) -> None:
    operation["security"] = _security(rule)
    operation["x-role"] = rule.least.value if rule.least else rule.guard.value
    answers = operation["responses"]
    if str(RequestRejected.status_code) in answers and _is_validation(answers[str(RequestRejected.status_code)]):
        del answers[str(RequestRejected.status_code)]
    for status, answer in problems_of(*_possible(operation, rule)).items():
        answers.setdefault(str(status), answer)
    operation["responses"] = dict(sorted(answers.items()))


def _is_validation(answer: dict[str, Any]) -> bool:
    """Whether FastAPI wrote it, for errors that are answered otherwise here."""
    return "HTTPValidationError" in str(answer)


def _possible(operation: dict[str, Any], rule: Rule) -> list[type[GistlineError]]:
    """Errors that any route of this kind may answer with."""
    kinds: list[type[GistlineError]] = [GistlineError, StorageUnavailable]
    if rule.guard is not Guard.OPEN:
        kinds += [NotAuthenticated, NotAllowed, TooManyRequests]
    if operation.get("parameters") or operation.get("requestBody"):
        kinds.append(RequestRejected)
    return kinds


def _security(rule: Rule) -> list[dict[str, list[str]]]:
    session: dict[str, list[str]] = {"session": [], "csrf": []} if rule.needs_csrf else {"session": []}
    ways: dict[Guard, list[dict[str, list[str]]]] = {
        Guard.OPEN: [],
        Guard.CAMERA: [{"key": []}],
        Guard.READER: [{"key": []}, session],
        Guard.CALLER: [{"key": []}, session],
        Guard.PERSON: [session],
    }
    return ways[rule.guard]


@router.get("/openapi.json")
async def read_description(request: Request, _: CallerOf) -> dict[str, Any]:
    """The description, made once."""
    found: dict[str, Any] = request.app.openapi()
    return found


@router.get("/docs")
async def show_docs(_: PersonOf) -> HTMLResponse:
    """To look at and to try."""
    return get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="Gistline's API",
        swagger_js_url="/docs/swagger-ui-bundle.js",
        swagger_css_url="/docs/swagger-ui.css",
        swagger_favicon_url="/docs/favicon.png",
    )


@router.get("/redoc")
async def show_reference(_: PersonOf) -> HTMLResponse:
    """To read."""
    return get_redoc_html(
        openapi_url="/openapi.json",
        title="Gistline's API",
        redoc_js_url="/docs/redoc.standalone.js",
        redoc_favicon_url="/docs/favicon.png",
        with_google_fonts=False,
    )


@router.get("/docs/{name}")
async def read_asset(name: str, _: PersonOf) -> FileResponse:
    """A script or style of those pages."""
    known = {path.name: path for path in ASSETS.iterdir()}
    if name not in known:
        raise NotFound(f"There is no /docs/{name}.", cure="See /docs.")
    return FileResponse(known[name])
