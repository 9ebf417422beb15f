"""What people, or programs that scan, put into the pages' addresses and forms: refused or ignored, never a failure."""

from __future__ import annotations

import pytest

from api.people import SESSION_COOKIE, csrf_of
from gistline.domain import Role
from tests.support.api import PASSWORD, RunningApi

NUL = "%00"
LONG = "9" * 30
FRAME = "01a21750-3255-7636-bc8a-78a962329d2d"
ADDRESSES = [
    "/findings?since=0001-01-01T00:00",
    "/findings?since=1900-01-01T00:00&until=1950-01-01T00:00",
    "/findings?until=9999-12-31T23:59",
    "/findings.csv?since=0001-01-01T00:00",
    f"/findings?line=a{NUL}b",
    f"/findings?camera=a{NUL}b&label=c{NUL}",
    f"/findings?after={'f' * 32}.{LONG[:18]}",
    f"/findings?after={'0' * 32}.0",
    f"/findings.csv?line=a{NUL}b",
    f"/reports?line=a{NUL}b",
    f"/reports.csv?line=a{NUL}b",
    f"/reports?after=00010101T000000.000000_{'f' * 32}",
    "/accuracy?before=0001-01-01T00:00:00%2B14:00",
    "/accuracy?before=9999-12-31T23:59:59-14:00",
    f"/frames/{FRAME}?judged={NUL}",
    f"/static/{NUL}",
    f"/docs/{NUL}",
    f"/access?x={NUL}",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_no_address_makes_a_page_fail(api: RunningApi, address: str) -> None:
    with api.browser(api.add_admin()) as browser:
        answer = browser.get(address, headers={"Accept": "text/html"})
    assert answer.status_code < 500, answer.text


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        (f"/frames/{FRAME}/findings/{LONG}/feedback", {"opinion": "correct"}),
        (f"/frames/{FRAME}/findings/-1/feedback", {"opinion": "correct"}),
        (f"/frames/{FRAME}/findings/1/feedback", {"opinion": "correct", "note": "a\0b"}),
        ("/access/cameras/rotate", {"name": "a\0b"}),
        ("/access/people/set", {"name": "a\0b", "role": "viewer"}),
        ("/access/people/set", {"name": "anna", "role": "viewer", "lines": "a\0b"}),
        ("/access/programs/create", {"name": "erp\0", "role": "viewer"}),
    ],
)
def test_no_form_makes_a_page_fail(api: RunningApi, path: str, fields: dict[str, str]) -> None:
    api.add_person("anna", Role.VIEWER)
    with api.browser(api.add_admin()) as browser:
        token = csrf_of(browser.cookies[SESSION_COOKIE])
        answer = browser.post(path, data={"csrf": token} | fields, headers={"Accept": "text/html"})
    assert 400 <= answer.status_code < 500, answer.text


@pytest.mark.parametrize("name", ["an\0na", "a" * 10_000, "\ud7ff\uffff"])
def test_no_name_makes_the_sign_in_fail(api: RunningApi, name: str) -> None:
    with api.browser() as browser:
        form = browser.get("/login").text
        token = form.partition('name="csrf" value="')[2].partition('"')[0]
        answer = browser.post("/login", data={"csrf": token, "name": name, "password": PASSWORD})
    assert answer.status_code == 401, answer.text
