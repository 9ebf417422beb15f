"""What cameras, programs and people read of frames, findings, reports and costs, and of nobody else's."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID, uuid4

import httpx2
import pytest

from gistline.domain import Placement, Role
from gistline.flows.rekey_camera import rekey_camera
from gistline.storage.passports import get_passport
from gistline.storage.session import transaction
from tests.support.api import CAMERA, LINE, RunningApi
from tests.support.processes import wait_until
from tests.support.rows import DATA, ENGINE, give_up, inspect, report, submit

WRONG = (
    "costs?days=0",
    "costs?days=x",
    "reports?limit=501",
    "findings?frame=7",
    "frames?state=lost",
    "frames?sate=pending",
    "frames?since=yesterday",
    "frames?camera=%00",
    "findings?min_confidence=2",
    "passports?engine=9223372036854775808",
    "frames?cursor=x",
    "frames?cursor=bnVsbA",
    "frames?cursor=%F0%9F%99%82",
)


@pytest.fixture
def program(api: RunningApi) -> Iterator[httpx2.Client]:
    """A program that sees every line."""
    with api.client(api.add_program()) as client:
        yield client


@pytest.fixture
def narrow(api: RunningApi) -> Iterator[httpx2.Client]:
    """A program that sees the first camera's line only."""
    with api.client(api.add_program("narrow", lines=[LINE])) as client:
        yield client


def test_a_pending_frame(api: RunningApi, camera: httpx2.Client) -> None:
    frame_id = submit(camera, frame_key="k", part_number="p", captured_at="2026-11-23T12:00:00+02:00")
    found = camera.get(f"/v1/frames/{frame_id}").json()
    assert found == {
        "id": frame_id,
        "frame_key": "k",
        "state": "pending",
        "line": LINE,
        "part_number": "p",
        "media_type": "image/jpeg",
        "byte_count": len(DATA),
        "width": 64,
        "height": 64,
        "captured_at": "2026-11-23T10:00:00Z",
        "accepted_at": found["accepted_at"],
        "finished_at": None,
        "error": None,
        "verdict": None,
        "engine": None,
        "findings": [],
    }
    assert datetime.fromisoformat(found["accepted_at"]) == api.row(frame_id).accepted_at


def test_an_inspected_frame(api: RunningApi, camera: httpx2.Client, program: httpx2.Client) -> None:
    frame_id = submit(camera)
    inspect(api, frame_id)
    found = camera.get(f"/v1/frames/{frame_id}").json()
    assert found == program.get(f"/v1/frames/{frame_id}").json()
    assert found["state"] == "inspected"
    assert (found["verdict"]["kind"], found["verdict"]["reason"]) == ("ng", "short at 0.91")
    assert found["engine"]["precision"] == "INT8"
    assert (found["engine"]["int8_convolutions"], found["engine"]["convolutions"]) == (57, 60)
    first, second = found["findings"]
    assert (first["label"], first["confidence"], first["severity"]) == ("spur", 0.95, 2)
    assert [second[side] for side in "xywh"] == [1.5, 2.5, 10.0, 20.0]
    with transaction(api.sessions) as session:
        passport = get_passport(session, UUID(first["passport_id"]))
    assert passport.engine == ENGINE
    assert {second["passport_id"], found["verdict"]["passport_id"]} == {str(passport.id)}
    listed = program.get("/v1/findings", params={"frame": frame_id}).json()["items"]
    assert sorted(one["id"] for one in listed) == sorted(one["id"] for one in found["findings"])
    assert {one["camera"] for one in listed} == {CAMERA}


def test_a_frame_is_read_by_its_camera_and_by_whoever_sees_its_line(api: RunningApi, camera: httpx2.Client) -> None:
    frame_id = submit(camera)
    other_line = api.add_person("other", Role.OPERATOR, lines=["line-b"])
    paths = [f"/v1/frames/{frame_id}", f"/v1/frames/{uuid4()}"]
    with api.client(api.add_camera("cam-2", LINE)) as neighbour, api.browser(other_line) as person:
        answers = [client.get(path) for client in (neighbour, person) for path in paths]
        answers += [person.get(f"/v1/frames/{frame_id}/image"), person.post(f"/v1/dead-letters/{frame_id}/retry")]
    assert {(one.status_code, one.json()["title"]) for one in answers[:-1]} == {(404, "Not found")}
    assert answers[-1].status_code == 403, "a session's change needs its token"
    with api.browser(api.add_person("anna", lines=[LINE])) as anna:
        assert anna.get(paths[0]).json()["id"] == frame_id


def test_the_bytes_of_a_frame(api: RunningApi, camera: httpx2.Client, narrow: httpx2.Client) -> None:
    frame_id = submit(camera)
    answer = narrow.get(f"/v1/frames/{frame_id}/image")
    assert (answer.content, answer.headers["content-type"]) == (DATA, "image/jpeg")
    assert camera.get(f"/v1/frames/{frame_id}/image").status_code == 403


def test_reports_and_windows_of_the_lines_that_are_shown(
    api: RunningApi, narrow: httpx2.Client, program: httpx2.Client
) -> None:
    ours, theirs = report(api, LINE), report(api, "line-b")
    found = narrow.get(f"/v1/reports/{ours}").json()
    assert found["body"] == "Nothing of note."
    assert (found["cost_usd"], found["image_usd"]) == ("0.001400000001", "0.008000000000")
    assert found["placements"] == dict.fromkeys(Placement, 0)
    assert (found["window"]["line"], found["window"]["state"]) == (LINE, "written")
    for missing in (theirs, uuid4()):
        assert narrow.get(f"/v1/reports/{missing}").status_code == 404
    assert [one["id"] for one in narrow.get("/v1/reports").json()["items"]] == [str(ours)]
    assert [one["id"] for one in program.get("/v1/reports").json()["items"]] == [str(theirs), str(ours)]
    (window,) = narrow.get("/v1/windows").json()["items"]
    assert window == found["window"]
    assert window["report_id"] == str(ours)


def test_costs_of_the_lines_that_are_shown(api: RunningApi, narrow: httpx2.Client, program: httpx2.Client) -> None:
    report(api, LINE)
    report(api, "line-b")
    found = narrow.get("/v1/costs", params={"days": 2}).json()
    assert (found["total"]["reports"], found["total"]["image_usd"]) == (1, "0.008000000000")
    assert [(day["line"], day["costs"]["reports"]) for day in found["items"]] == [(LINE, 1)]
    assert program.get("/v1/costs").json()["total"]["reports"] == 2
    assert program.get("/v1/costs", params={"line": "line-b"}).json()["total"]["reports"] == 1


def test_a_line_that_is_not_shown_cannot_be_asked_for(narrow: httpx2.Client) -> None:
    for path in ("frames", "findings", "verdicts", "windows", "reports", "costs", "cameras", "dead-letters"):
        answers = [narrow.get(f"/v1/{path}", params={"line": line}) for line in ("line-b", "line-of-nobody")]
        assert [one.status_code for one in answers] == [403, 403], path


def test_dead_letters_are_decided_by_operators_of_the_line(api: RunningApi, camera: httpx2.Client) -> None:
    first, second = submit(camera, frame_key="a"), submit(camera, frame_key="b")
    give_up(api, first)
    give_up(api, second)
    with api.client(api.add_program("elsewhere", Role.OPERATOR, lines=["line-b"])) as elsewhere:
        assert elsewhere.post(f"/v1/dead-letters/{first}/retry").status_code == 404
    with api.client(api.add_program("mes", Role.OPERATOR, lines=[LINE])) as operator:
        assert operator.post(f"/v1/dead-letters/{first}/retry").json() == {"frame_id": first, "decision": "retried"}
        assert operator.post(f"/v1/dead-letters/{second}/discard").status_code == 200
        assert operator.post(f"/v1/dead-letters/{second}/discard").status_code == 404
        decided = {one["frame_id"]: one for one in operator.get("/v1/dead-letters?open=false").json()["items"]}
        assert operator.get("/v1/dead-letters?open=true").json()["items"] == []
        assert operator.get("/v1/audit").status_code == 403
    assert (decided[first]["resolution"], decided[first]["resolved_by"]) == ("retried", "program mes")
    with api.client(api.add_program("root", Role.ADMIN)) as admin:
        newest = admin.get("/v1/audit", params={"subject": f"frame {second}"}).json()["items"][0]
    assert (newest["actor"], newest["action"]) == ("program mes", "frame.discard")


def test_wrong_queries_are_refused(program: httpx2.Client) -> None:
    for query in WRONG:
        answer = program.get(f"/v1/{query}")
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json"), query


def test_a_new_key_replaces_the_old_one_at_once_or_later(api: RunningApi, camera: httpx2.Client) -> None:
    frame_id = submit(camera)

    def statuses(*clients: httpx2.Client) -> list[int]:
        return [client.get(f"/v1/frames/{frame_id}").status_code for client in clients]

    with api.client(rekey_camera(api.sessions, CAMERA, overlap_h=1)) as second:
        assert statuses(camera, second) == [200, 200]
        with api.client(rekey_camera(api.sessions, CAMERA, overlap_h=0.2 / 3_600)) as third:
            assert statuses(third) == [200]
            wait_until(lambda: statuses(second) == [401], "the overlap is over")
            assert statuses(camera, second, third) == [401, 401, 200]
            with api.client(rekey_camera(api.sessions, CAMERA)) as fourth:
                assert statuses(third, fourth) == [401, 200]


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("PUT", "/v1/frames", 405)])
def test_unknown_routes_are_problems_too(camera: httpx2.Client, method: str, path: str, status: int) -> None:
    answer = camera.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["cure"] == "See /docs for the routes."
    assert answer.headers.get("allow") == ("GET, POST" if status == 405 else None)


def test_the_description_names_every_route(program: httpx2.Client) -> None:
    described = program.get("/openapi.json").json()
    post = described["paths"]["/v1/frames"]["post"]
    assert set(post["requestBody"]["content"]) == {"image/*", "multipart/form-data"}
    assert {field["name"] for field in post["parameters"]} == {
        "frame_key",
        "captured_at",
        "part_number",
        "line",
        "deadline_s",
    }
    assert post["security"] == [{"key": []}]
