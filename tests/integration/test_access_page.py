"""Keys, people and changes on the admins' page, by its own forms over HTTP."""

from __future__ import annotations

import re

import httpx2
import pytest

from api.people import SESSION_COOKIE, csrf_of
from gistline.domain import Role
from tests.integration.test_sign_in import sign_in
from tests.support.api import CAMERA, LINE, PASSWORD, RunningApi


def send(browser: httpx2.Client, path: str, **fields: str) -> httpx2.Response:
    token = csrf_of(browser.cookies[SESSION_COOKIE])
    return browser.post(f"/access/{path}", data={"csrf": token} | fields, headers={"Accept": "text/html"})


def shown_key(answer: httpx2.Response) -> str:
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    found = re.search(r'id="new-key">([^<]+)<', answer.text)
    assert found is not None
    return found[1]


def works(api: RunningApi, key: str, path: str = "/v1/me") -> int:
    with api.client(key) as client:
        return client.get(path).status_code


def test_keys_are_rotated_and_revoked_and_shown_once(api: RunningApi, camera: httpx2.Client) -> None:
    old = api.key
    with api.browser(api.add_admin()) as admin:
        new = shown_key(send(admin, "cameras/rotate", name=CAMERA, overlap_h="0"))
        assert [works(api, key) for key in (old, new)] == [401, 403], "a camera's key reads no /v1/me"
        first = shown_key(send(admin, "programs/create", name="erp", role="viewer", lines=f"{LINE}, line-b"))
        second = shown_key(send(admin, "programs/rotate", name="erp", overlap_h="24"))
        with api.client(second) as program:
            assert program.get("/v1/me").json()["lines"] == [LINE, "line-b"]
        assert works(api, first) == 200
        page = admin.get("/access").text
        assert first[:12] in page
        assert not any(key in page for key in (new, first, second))
        assert "camera.rekey" in page
        for path in ("programs/revoke", "cameras/revoke"):
            answer = send(admin, path, name="erp" if path.startswith("programs") else CAMERA)
            assert (answer.status_code, answer.headers["location"]) == (303, "/access")
    assert [works(api, key) for key in (new, first, second)] == [401, 401, 401]


def test_people_are_changed(api: RunningApi) -> None:
    anna = api.add_person("anna")
    with api.browser(api.add_admin()) as admin, api.browser(anna) as browser:
        assert send(admin, "people/set", name="anna", role="operator", lines=LINE).status_code == 303
        assert browser.get("/v1/me").json()["role"] == "operator"
        assert send(admin, "people/disable", name="anna").status_code == 303
        assert browser.get("/v1/me").status_code == 401
        assert send(admin, "people/enable", name="anna").status_code == 303
        refused = send(admin, "people/disable", name="root")
        assert refused.status_code == 409
        assert "last admin" in refused.text


def test_everybody_changes_his_own_password_and_nobody_else_s(api: RunningApi) -> None:
    with api.browser(api.add_person("anna")) as browser:
        assert 'name="old"' in browser.get("/access/password").text
        assert send(browser, "password", old="not hers at all", new=f"{PASSWORD} new").status_code == 403
        assert send(browser, "password", old=PASSWORD, new="short").status_code == 422
        assert send(browser, "password", old=PASSWORD, new=f"{PASSWORD} new").headers["location"] == "/login"
        assert browser.get("/v1/me").status_code == 401
    with api.browser() as browser:
        assert sign_in(browser, "anna", f"{PASSWORD} new").status_code == 303


def test_a_stolen_session_is_no_place_to_try_passwords_out(api: RunningApi) -> None:
    with api.browser(api.add_person("anna")) as browser:
        tried = [send(browser, "password", old=f"guess {one}", new=f"{PASSWORD} new").status_code for one in range(6)]
        assert tried == [403] * 5 + [429]
        assert send(browser, "password", old=PASSWORD, new=f"{PASSWORD} new").status_code == 429


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_only_admins_see_the_page(api: RunningApi, role: Role) -> None:
    with api.browser(api.add_person("anna", role)) as browser:
        assert browser.get("/access").status_code == 403
        assert send(browser, "cameras/rotate", name=CAMERA).status_code == 403
        assert '/access"' not in browser.get("/findings").text
