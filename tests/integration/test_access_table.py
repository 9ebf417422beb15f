"""The table endpoint x role, made from the application's own routes and walked whole over real HTTP.

What each route must answer is derived from its rule (:mod:`api.rules`); the rules themselves are written down in
docs/access.md, which a test compares. A new route appears here by itself, and fails until it has a row there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import func, update

from api.app import create_app
from api.people import CSRF_HEADER, SESSION_COOKIE, csrf_of
from api.rules import Guard, Rule, UnguardedRouteError, rules_of
from gistline.domain import Role
from gistline.flows.program_keys import revoke_program
from gistline.flows.revoke_camera import revoke_camera
from gistline.settings import Settings
from gistline.storage.session import transaction
from gistline.storage.tables import SessionRow
from tests.support.api import LINE, RunningApi
from tests.support.rows import give_up, report, submit

RULES = rules_of(create_app(Settings()))
OPEN = {"/healthz", "/readyz", "/login", "/static/{name}"}
"""All that answers without a key or a session; whoever adds to this must say why in docs/access.md."""
DENIED = {401, 403}
OF_NO_LINE = "/v1/passports/{passport_id}"
"""The one route of a single thing that every line shares."""


@dataclass(frozen=True)
class Walker:
    """Somebody at the door: how, with which role (None: a camera or nobody), and the status of a refusal."""

    name: str
    client: httpx2.Client
    way: Guard | None
    role: Role | None = None
    refused: int = 403

    def is_let_in(self, rule: Rule) -> bool:
        if rule.guard is Guard.OPEN:
            return True
        if self.way is None:
            return False
        ways = {
            Guard.CAMERA: {Guard.CAMERA},
            Guard.READER: {Guard.CAMERA, Guard.CALLER, Guard.PERSON},
            Guard.CALLER: {Guard.CALLER, Guard.PERSON},
            Guard.PERSON: {Guard.PERSON},
        }[rule.guard]
        order = list(Role)
        high_enough = self.role is None or rule.least is None or order.index(self.role) >= order.index(rule.least)
        return self.way in ways and high_enough

    def comes_another_way(self, rule: Rule) -> bool:
        """A key where a session is asked for, or a session where a key is: the right one was not sent at all."""
        is_person = self.way is Guard.PERSON
        return (rule.guard is Guard.PERSON and not is_person) or (rule.guard is Guard.CAMERA and is_person)


@pytest.fixture
def walkers(api: RunningApi) -> Iterator[list[Walker]]:
    """Everybody who may come."""
    with ExitStack() as stack:

        def key(name: str, given: str, way: Guard | None, role: Role | None = None, refused: int = 403) -> Walker:
            return Walker(name, stack.enter_context(api.client(given)), way, role, refused)

        def person(name: str, role: Role, *, over: bool = False, csrf: bool = True) -> Walker:
            browser = stack.enter_context(api.browser(api.add_person(name, role)))
            if csrf:
                browser.headers[CSRF_HEADER] = csrf_of(browser.cookies[SESSION_COOKIE])
            return Walker(name, browser, None if over else Guard.PERSON, role, 401 if over else 403)

        found = [
            key("nobody", "", None, refused=401),
            key("made-up key", "gl_" + "x" * 43, None, refused=401),
            key("no key at all", "x", None, refused=401),
            key("camera", api.key, Guard.CAMERA),
            key("revoked camera", api.add_camera("cam-9", LINE), None, refused=401),
            key("revoked program", api.add_program("gone", Role.ADMIN), None, refused=401),
            person("expired", Role.ADMIN, over=True),
            *(key(f"program {role}", api.add_program(f"program-{role}", role), Guard.CALLER, role) for role in Role),
        ]
        revoke_camera(api.sessions, "cam-9")
        revoke_program(api.sessions, "gone")
        with transaction(api.sessions) as session:
            session.execute(update(SessionRow).values(expires_at=func.now() - timedelta(seconds=1)))
        found += [person(f"person-{role}", role) for role in Role]
        yield found


def call(walker: Walker, rule: Rule, path: str) -> int:
    answer = walker.client.request(rule.method, path)
    if walker.name == "revoked" or rule.path == "/login":
        return answer.status_code
    if answer.status_code in DENIED:
        assert answer.headers["content-type"] == "application/problem+json", (walker.name, rule)
    return answer.status_code


def filled(path: str, ids: dict[str, str]) -> str:
    ids = {"finding_id": "1", "name": "style.css"} | ids
    for name, value in ids.items():
        path = path.replace(f"{{{name}}}", value)
    assert "{" not in path, f"{path}: tell the test what to put in"
    return path


@pytest.mark.long
def test_every_route_answers_those_whom_its_rule_lets_in_and_nobody_else(
    api: RunningApi, camera: httpx2.Client, walkers: list[Walker]
) -> None:
    frame = submit(camera)
    give_up(api, frame)
    ids = {"frame_id": frame, "report_id": str(report(api, LINE)), "passport_id": frame}
    walked, wrong = 0, []
    for rule in sorted(RULES, key=lambda one: one.path == "/logout"):  # it comes last
        path = filled(rule.path, ids)
        # whoever is refused comes first: a retry or a sign-out that succeeds changes what the next one finds
        for walker in sorted(walkers, key=lambda one: one.is_let_in(rule)):
            status = call(walker, rule, path)
            walked += 1
            if rule.path == "/login" and rule.method == "POST":
                expected = status == 403  # without its form; signing in is tested in test_sign_in.py
            elif walker.is_let_in(rule):
                expected = status not in DENIED and status < 500
            else:
                expected = status == (401 if walker.comes_another_way(rule) else walker.refused)
            if not expected:
                wrong.append(f"{rule.method} {rule.path} by {walker.name}: {status}")
    assert wrong == []
    assert walked == len(RULES) * len(walkers)


def test_what_belongs_to_another_line_is_not_found(api: RunningApi, camera: httpx2.Client) -> None:
    frame = submit(camera)
    give_up(api, frame)
    ids = {"frame_id": frame, "report_id": str(report(api, LINE)), "passport_id": frame}
    operator = api.add_program("elsewhere", Role.OPERATOR, lines=["line-b"])
    with api.client(operator) as elsewhere:
        for rule in RULES:
            if rule.guard not in {Guard.CALLER, Guard.READER} or rule.path == OF_NO_LINE:
                continue
            answer = elsewhere.request(rule.method, filled(rule.path, ids))
            if "{" in rule.path:
                assert answer.status_code == 404, rule
            elif rule.path != "/openapi.json":
                assert frame not in answer.text, rule


def test_a_change_by_session_without_its_token_is_refused_everywhere(api: RunningApi, camera: httpx2.Client) -> None:
    frame = submit(camera)
    give_up(api, frame)
    changes = [rule for rule in RULES if rule.needs_csrf]
    assert changes
    with api.browser(api.add_admin()) as browser:
        for rule in changes:
            for token in ({}, {CSRF_HEADER: "x"}, {CSRF_HEADER: csrf_of("another session")}):
                path = filled(rule.path, {"frame_id": frame})
                assert browser.request(rule.method, path, headers=token).status_code == 403, (rule, token)
        assert browser.get("/v1/me").status_code == 200


def test_only_health_and_the_sign_in_page_are_open() -> None:
    assert {rule.path for rule in RULES if rule.guard is Guard.OPEN} == OPEN


def test_a_route_without_a_rule_is_not_served() -> None:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    @app.get("/forgotten")
    def forgotten() -> str:
        return "everybody reads this"

    with pytest.raises(UnguardedRouteError, match="/forgotten has no rule"):
        rules_of(app)
    with pytest.raises(UnguardedRouteError, match="nothing guards it"):
        rules_of(FastAPI())
