"""Which route answers whom, read from the routes themselves: a route that nobody guards is not served."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts

from api.callers import RequireCaller, get_caller, get_reader
from api.deps import get_camera, open_to_all
from api.people import Require, get_person
from gistline.domain import Role

UNSAFE: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Guard(StrEnum):
    """Who is let in at all."""

    OPEN = "everybody"
    CAMERA = "cameras"
    READER = "cameras, programs, people"
    CALLER = "programs, people"
    PERSON = "people"


@dataclass(frozen=True, slots=True)
class Rule:
    """One route: who is let in, and which role it takes of a program or a person (None: no role, as for a camera)."""

    method: str
    path: str
    guard: Guard
    least: Role | None
    in_schema: bool

    @property
    def needs_csrf(self) -> bool:
        """Whether a session's request must carry its token."""
        return self.method in UNSAFE and self.guard in {Guard.READER, Guard.CALLER, Guard.PERSON}


class UnguardedRouteError(Exception):
    """A route would answer everybody without saying so. Mark it with ``Open``, or ask for a caller."""


def rules_of(app: FastAPI) -> list[Rule]:
    """Rule of every route of an application, by path.

    Raises:
        UnguardedRouteError: a route has none.

    """
    return sorted(_rules(app), key=lambda rule: (rule.path, rule.method))


def _rules(app: FastAPI) -> Iterator[Rule]:
    for route in iter_route_contexts(app.routes):
        dependant = getattr(route, "dependant", None)
        if not isinstance(dependant, Dependant):
            raise UnguardedRouteError(
                f"{route.path or route.original_route} is no route of FastAPI's, so nothing guards it."
            )
        guard, least = _guard(list(_calls(dependant)), str(route.path))
        for method in sorted(route.methods or ()):
            yield Rule(method, str(route.path), guard, least, bool(route.include_in_schema))


def _guard(calls: list[Callable[..., Any]], path: str) -> tuple[Guard, Role | None]:
    """What the dependencies say; the strictest of them counts."""
    for call in calls:
        if isinstance(call, Require):
            return Guard.PERSON, call.least
        if isinstance(call, RequireCaller):
            return Guard.CALLER, call.least
    known: dict[Callable[..., Any], tuple[Guard, Role | None]] = {
        get_camera: (Guard.CAMERA, None),
        get_caller: (Guard.CALLER, Role.VIEWER),
        get_reader: (Guard.READER, Role.VIEWER),
        get_person: (Guard.PERSON, Role.VIEWER),
        open_to_all: (Guard.OPEN, None),
    }
    for call, rule in known.items():
        if call in calls:
            return rule
    raise UnguardedRouteError(f"{path} has no rule: mark it with Open (api.deps), or ask for a caller or a person.")


def _calls(dependant: Dependant) -> Iterator[Callable[..., Any]]:
    """Everything that runs before the route, at any depth."""
    for inner in dependant.dependencies:
        if inner.call is not None:
            yield inner.call
        yield from _calls(inner)
