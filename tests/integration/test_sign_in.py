"""Signing in by the page, staying in, and being let in no longer."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from sqlalchemy import func, select, update

from api.people import CSRF_HEADER, SESSION_COOKIE, csrf_of
from api.sign_in import FORM_COOKIE, local_path
from gistline.domain import Role
from gistline.flows.add_person import Rights, add_person
from gistline.flows.change_person import disable_person, enable_person, set_password, set_rights
from gistline.storage.passwords import NOBODY, is_outdated
from gistline.storage.session import transaction
from gistline.storage.sign_in_attempts import note_attempt
from gistline.storage.tables import AuditRow, SessionRow, SignInAttempt
from tests.support.api import PASSWORD, RunningApi


def form_of(browser: httpx2.Client, path: str = "/login") -> dict[str, str]:
    """Hidden fields of the sign-in page."""
    page = browser.get(path)
    assert page.status_code == 200
    return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page.text))


def sign_in(browser: httpx2.Client, name: str, password: str = PASSWORD, path: str = "/login") -> httpx2.Response:
    return browser.post("/login", data=form_of(browser, path) | {"name": name, "password": password})


def failures(api: RunningApi) -> int:
    with transaction(api.sessions) as session:
        return session.scalar(select(func.count()).select_from(SignInAttempt)) or 0


def test_in_and_out_again(api: RunningApi) -> None:
    api.add_person("anna", Role.OPERATOR, lines=["line-a"])
    with api.browser() as browser:
        assert browser.get("/v1/me").status_code == 401
        answer = sign_in(browser, " Anna ", path="/login?next=/costs%3Fdays=7")
        assert (answer.status_code, answer.headers["location"]) == (303, "/costs?days=7")
        cookie = next(one for one in answer.headers.get_list("set-cookie") if one.startswith(SESSION_COOKIE))
        assert {"HttpOnly", "SameSite=lax", "Path=/"} <= {part.strip() for part in cookie.split(";")}
        assert browser.get("/v1/me").json() == {
            "kind": "person",
            "name": "anna",
            "role": "operator",
            "lines": ["line-a"],
        }
        token = browser.cookies[SESSION_COOKIE]
        assert browser.post("/logout").status_code == 403
        assert browser.post("/logout", data={"csrf": csrf_of(token)}).headers["location"] == "/login"
        browser.cookies.set(SESSION_COOKIE, token)
        assert browser.get("/v1/me").status_code == 401, "the token is worth nothing any more"
    assert failures(api) == 0


def test_the_cookie_is_secure_over_https(api: RunningApi) -> None:
    """A reverse proxy on this machine says so; uvicorn believes those it trusts."""
    with api.browser() as browser:
        plain = browser.get("/login").headers["set-cookie"]
        proxied = browser.get("/login", headers={"X-Forwarded-Proto": "https"}).headers["set-cookie"]
    assert "Secure" not in plain
    assert "Secure" in proxied


def test_wrong_passwords_unknown_names_and_disabled_people_look_alike(api: RunningApi) -> None:
    api.add_person("anna")
    api.add_person("bert")
    disable_person(api.sessions, "bert")
    said, took = [], []
    for name, password in (("anna", "no password of hers"), ("nobody", PASSWORD), ("bert", PASSWORD)):
        with api.browser() as browser:
            started = time.perf_counter()
            answer = sign_in(browser, name, password)
            took.append(time.perf_counter() - started)
            said.append((answer.status_code, re.sub(r'value="\w{64}"', "", answer.text)))
            assert SESSION_COOKIE not in browser.cookies
    assert said[0] == said[1] == said[2]
    assert said[0][0] == 401
    assert "Name or password is wrong" in said[0][1]
    assert min(took) > max(took) / 5, "the hash is computed for all three"
    assert not is_outdated(NOBODY), "the hash that stands for nobody costs as much as a real one"


def test_a_form_of_another_site_signs_nobody_in(api: RunningApi) -> None:
    api.add_person("anna")
    with api.browser() as browser:
        fields = form_of(browser) | {"name": "anna", "password": PASSWORD}
        assert browser.post("/login", data=fields | {"csrf": csrf_of("other")}).status_code == 403
        browser.cookies.delete(FORM_COOKIE)
        assert browser.post("/login", data=fields | {"csrf": csrf_of("")}).status_code == 403
        assert SESSION_COOKIE not in browser.cookies
    assert failures(api) == 0


def test_a_name_is_closed_after_five_failures_whether_it_exists_or_not(api: RunningApi) -> None:
    api.add_person("anna")
    for name in ("anna", "nobody"):
        with api.browser() as browser:
            fields = form_of(browser) | {"name": name, "password": "guess"}
            with ThreadPoolExecutor(8) as pool:
                answers = list(pool.map(lambda _: browser.post("/login", data=fields).status_code, range(8)))  # noqa: B023
            assert sorted(answers) == [401] * 5 + [429] * 3, "attempts that run at once all count"
            closed = sign_in(browser, name)
            assert closed.status_code == 429
            assert 0 < int(closed.headers["retry-after"]) <= 15 * 60
    set_password(api.sessions, "anna", PASSWORD, settings=api.services.settings.access)
    with api.browser() as browser:
        assert sign_in(browser, "anna").status_code == 303, "a new password opens the name again"


def test_the_closed_name_opens_by_itself(api: RunningApi) -> None:
    api.add_person("anna")
    with transaction(api.sessions) as session:
        for _ in range(5):
            note_attempt(session, "anna", "127.0.0.1")
    with api.browser() as browser:
        assert sign_in(browser, "anna").status_code == 429
        with transaction(api.sessions) as session:
            session.execute(update(SignInAttempt).values(tried_at=func.now() - timedelta(minutes=16)))
        assert sign_in(browser, "anna").status_code == 303


@pytest.mark.parametrize(
    "change",
    [
        {"seen_at": datetime.now(UTC) - timedelta(minutes=61)},
        {"expires_at": datetime.now(UTC) - timedelta(seconds=1)},
        {"revoked_at": datetime.now(UTC)},
    ],
    ids=["idle", "too old", "revoked"],
)
def test_a_session_ends(api: RunningApi, change: dict[str, datetime]) -> None:
    with api.browser(api.add_person()) as browser:
        assert browser.get("/v1/me").status_code == 200
        with transaction(api.sessions) as session:
            session.execute(update(SessionRow).values(change))
        assert browser.get("/v1/me").status_code == 401


def test_a_session_that_is_used_goes_on(api: RunningApi) -> None:
    with api.browser(api.add_person()) as browser:
        with transaction(api.sessions) as session:
            session.execute(update(SessionRow).values(seen_at=func.now() - timedelta(minutes=59)))
        assert browser.get("/v1/me").status_code == 200
    with transaction(api.sessions) as session:
        seen = session.scalars(select(SessionRow.seen_at)).one()
    assert datetime.now(UTC) - seen < timedelta(minutes=1)


def test_changes_count_from_the_next_request_on(api: RunningApi) -> None:
    person = api.add_person("anna", Role.OPERATOR)
    with api.browser(person) as browser, api.browser(person) as other:
        set_rights(api.sessions, "anna", Rights(Role.VIEWER, frozenset({"line-b"})))
        found = browser.get("/v1/me").json()
        assert (found["role"], found["lines"]) == ("viewer", ["line-b"])
        assert disable_person(api.sessions, "anna") == 2
        enable_person(api.sessions, "anna")
        assert [one.get("/v1/me").status_code for one in (browser, other)] == [401, 401], "enabled, yet signed out"


def test_whoever_reads_pages_is_sent_to_sign_in_and_programs_are_told(api: RunningApi) -> None:
    with api.browser() as browser:
        page = browser.post("/logout", headers={"Accept": "text/html,*/*"})
        assert (page.status_code, page.headers["location"]) == (303, "/login?next=%2F")
        data = browser.get("/v1/me", headers={"Accept": "text/html,*/*"})
        assert (data.status_code, data.headers["content-type"]) == (401, "application/problem+json")


def test_a_request_that_changes_something_needs_the_token_in_form_or_header(api: RunningApi) -> None:
    with api.browser(api.add_person()) as browser:
        token = csrf_of(browser.cookies[SESSION_COOKIE])
        assert browser.post("/logout", headers={CSRF_HEADER: csrf_of("another session")}).status_code == 403
        assert browser.post("/logout", headers={CSRF_HEADER: token}).status_code == 303


@pytest.mark.parametrize("wanted", ["//evil.example", "https://evil.example", "/\\evil.example", "x", "", "/a\nb"])
def test_nobody_is_sent_elsewhere(wanted: str) -> None:
    assert local_path(wanted) == "/"


def test_every_answer_tells_the_browser_to_do_no_more_than_is_meant(api: RunningApi) -> None:
    with api.browser() as browser:
        for path in ("/login", "/v1/me", "/nowhere"):
            headers = browser.get(path).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert headers["cache-control"] == "no-store"
            assert "frame-ancestors 'none'" in headers["content-security-policy"]


def test_sign_ins_are_in_the_audit_without_what_was_typed(api: RunningApi) -> None:
    add_person(api.sessions, "anna", PASSWORD, Rights(Role.VIEWER), settings=api.services.settings.access)
    with api.browser() as browser:
        sign_in(browser, PASSWORD, "anna")  # the fields mixed up
        sign_in(browser, "anna")
    with transaction(api.sessions) as session:
        rows = session.scalars(select(AuditRow).order_by(AuditRow.id)).all()
    assert [(row.actor, row.action, row.subject) for row in rows] == [
        ("system", "person.add", "person anna"),
        ("address 127.0.0.1", "sign_in.refuse", "nobody"),
        ("person anna", "sign_in", "person anna"),
    ]
    assert PASSWORD not in str([row.detail for row in rows])
