"""``gistline keys``, and how often a key may ask."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gistline.cli.main import run
from gistline.settings_access import AccessSettings
from tests.support.api import RunningApi, serving, settings_for

pytestmark = pytest.mark.usefixtures("same_database")


def status(api: RunningApi, key: str, path: str = "/v1/me") -> int:
    with api.client(key) as client:
        return client.get(path).status_code


def test_keys_are_made_shown_once_rotated_and_revoked(api: RunningApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["keys", "create", "erp", "--role", "operator", "--line", "line-a"]) == 0
    said = capsys.readouterr()
    first = said.out.strip()
    assert first.startswith("glp_")
    assert "not shown again" in said.err
    with api.client(first) as client:
        assert client.get("/v1/me").json() == {
            "kind": "program",
            "name": "erp",
            "role": "operator",
            "lines": ["line-a"],
        }
    assert run(["keys", "rotate", "erp", "--overlap", "24"]) == 0
    second = capsys.readouterr().out.strip()
    assert [status(api, key) for key in (first, second)] == [200, 200]
    assert run(["keys", "list"]) == 0
    listed = capsys.readouterr().out
    assert "good until" in listed
    assert first[:12] in listed
    assert not {first, second} & set(listed.split())
    assert run(["keys", "rotate", "erp"]) == 0
    third = capsys.readouterr().out.strip()
    assert [status(api, key) for key in (first, second, third)] == [401, 401, 200]
    assert run(["keys", "revoke", "erp"]) == 0
    assert "1 keys of erp revoked" in capsys.readouterr().out
    assert status(api, third) == 401
    assert run(["keys", "list", "--json"]) == 0
    (program,) = json.loads(capsys.readouterr().out)
    assert len(program["keys"]) == 3
    assert all(key["revoked_at"] for key in program["keys"])
    assert program["keys"][0]["used_at"] is not None


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["create", "erp"], "There is a program 'erp' already"),
        (["create", " "], "is no name"),
        (["create", "x", "--role", "admin", "--line", "a"], "An admin sees all lines"),
        (["rotate", "nobody"], "There is no program 'nobody'"),
        (["revoke", "nobody"], "There is no program 'nobody'"),
    ],
)
def test_what_is_wrong_is_refused(
    api: RunningApi, capsys: pytest.CaptureFixture[str], arguments: list[str], why: str
) -> None:
    api.add_program("erp")
    assert run(["keys", *arguments]) == 2
    assert why in capsys.readouterr().err


def test_whoever_asks_too_often_waits_and_the_others_do_not(database_url: str, tmp_path: Path) -> None:
    access = AccessSettings(camera_rate=1, program_rate=2, burst_s=2)
    settings = settings_for(database_url, tmp_path).model_copy(update={"access": access})
    with serving(settings) as api:
        busy, calm = api.add_program("busy"), api.add_program("calm")
        with api.client(busy) as client:
            answers = [client.get("/v1/me") for _ in range(8)]
        refused = [one for one in answers if one.status_code == 429]
        assert [one.status_code for one in answers[:4]] == [200] * 4
        assert refused
        assert refused[-1].headers["retry-after"] == "1"
        assert refused[-1].json()["type"] == "urn:gistline:problem:too-many-requests"
        assert status(api, calm) == 200
        with api.client() as camera:
            assert [camera.post("/v1/frames", content=b"x").status_code for _ in range(4)][:3] == [422, 422, 429]
