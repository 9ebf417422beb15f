"""A camera reads its own frames and its own line's reports and costs, and nobody else's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import httpx2
import pytest

from gistline.domain import Box, Detection, EngineInfo, Language, Placement, Verdict, VerdictKind
from gistline.flows.rekey_camera import rekey_camera
from gistline.storage.findings import Measure
from gistline.storage.frames import Lease, Outcome, claim_fresh, finish
from gistline.storage.passports import get_passport
from gistline.storage.reports import NewReport, save_report
from gistline.storage.session import transaction
from gistline.storage.windows import open_window
from tests.support import images
from tests.support.api import CAMERA, LINE, RunningApi
from tests.support.passports import add_engine

DATA = images.frame(1)
ENGINE = EngineInfo(
    model="board-v1",
    weights_sha256="ab" * 32,
    runtime="openvino",
    device="CPU",
    precision="INT8",
    labels=("open", "short"),
    input_size=(640, 640),
    convolutions=60,
    int8_convolutions=57,
)


def submit(camera: httpx2.Client, **fields: str) -> str:
    answer = camera.post("/v1/frames", content=DATA, params=fields)
    found: str = answer.json()["frames"][0]["id"]
    return found


def inspect(api: RunningApi, frame_id: str) -> None:
    """Let a worker's storage functions finish the frame with two findings."""
    seen = [
        (Detection("short", 0.91, Box(1.5, 2.5, 10.0, 20.0)), 3),
        (Detection("spur", 0.95, Box(30.0, 31.0, 4.0, 5.0)), 2),
    ]
    with transaction(api.sessions) as session:
        engine_id, passport_id = add_engine(session, ENGINE)
        measure = Measure(engine_id, min_confidence=0.25, ng_confidence=0.5, passport_id=passport_id)
        lease = Lease(uuid4(), 60.0)
        claim_fresh(session, lease, limit=1, ids=[UUID(frame_id)])
        verdict = Verdict(VerdictKind.NG, "short at 0.91")
        finish(session, [Outcome.inspected(UUID(frame_id), verdict, seen)], token=lease.token, measure=measure)


def report(api: RunningApi, line: str) -> UUID:
    """Store a report of a window of a line."""
    now = datetime.now(UTC)
    with transaction(api.sessions) as session:
        window = open_window(session, line=line, starts_at=now - timedelta(minutes=15), ends_at=now)
        written = NewReport(
            window_id=window,
            writer="offline",
            model="claude-haiku-5-5",
            language=Language.ENGLISH,
            body="Nothing of note.",
            evidence=[],
            totals={"frames": {"inspected": 5, "ng": 1, "reinspect": 0, "failed": 1, "expired": 0}, "findings": 2},
            token_budget=4_000,
            prompt_tokens=900,
            prompt_ceiling_tokens=1_000,
            input_tokens=900,
            output_tokens=100,
            cost_usd=Decimal("0.001400000001"),
            simulated=True,
            image_tokens=8_000,
            image_usd=Decimal("0.0080"),
            image_plan={"requests": 1},
        )
        return save_report(session, written, {})


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


def test_an_inspected_frame(api: RunningApi, camera: httpx2.Client) -> None:
    frame_id = submit(camera)
    inspect(api, frame_id)
    found = camera.get(f"/v1/frames/{frame_id}").json()
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
    assert camera.get("/v1/findings", params={"frame": frame_id}).json() == {"findings": found["findings"]}


def test_other_cameras_see_nothing_of_a_frame(api: RunningApi, camera: httpx2.Client) -> None:
    frame_id = submit(camera)
    with api.client(api.add_camera("cam-2", LINE)) as other:
        for path in (f"/v1/frames/{frame_id}", f"/v1/findings?frame={frame_id}", f"/v1/frames/{uuid4()}"):
            answer = other.get(path)
            assert (answer.status_code, answer.json()["title"]) == (404, "Not found")


def test_reports_are_those_of_the_line(api: RunningApi, camera: httpx2.Client) -> None:
    ours, theirs = report(api, LINE), report(api, "line-b")
    found = camera.get(f"/v1/reports/{ours}").json()
    assert found["body"] == "Nothing of note."
    assert (found["cost_usd"], found["image_usd"]) == ("0.001400000001", "0.008000000000")
    assert found["placements"] == dict.fromkeys(Placement, 0)
    assert (found["window"]["line"], found["window"]["state"]) == (LINE, "written")
    for missing in (theirs, uuid4()):
        assert camera.get(f"/v1/reports/{missing}").status_code == 404
    (window,) = camera.get("/v1/reports").json()["windows"]
    assert window == found["window"]
    assert window["report_id"] == str(ours)


def test_costs_are_those_of_the_line(api: RunningApi, camera: httpx2.Client) -> None:
    report(api, LINE)
    report(api, "line-b")
    found = camera.get("/v1/costs", params={"days": 2}).json()
    assert found["line"] == LINE
    assert (found["total"]["reports"], found["total"]["image_usd"]) == (1, "0.008000000000")
    assert [day["costs"]["reports"] for day in found["days"]] == [1]


@pytest.mark.parametrize("path", ["/v1/costs?days=0", "/v1/costs?days=x", "/v1/reports?limit=1000", "/v1/findings"])
def test_wrong_queries_are_refused(camera: httpx2.Client, path: str) -> None:
    answer = camera.get(path)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "path", ["/v1/frames/{0}", "/v1/findings?frame={0}", "/v1/reports", "/v1/reports/{0}", "/v1/costs"]
)
def test_nothing_is_read_without_a_key(api: RunningApi, path: str) -> None:
    with api.client("") as nobody:
        answer = nobody.get(path.format(uuid4()))
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "Authorization: Bearer" in answer.json()["cure"]


def test_a_new_key_replaces_the_old_one_unless_it_is_kept(api: RunningApi, camera: httpx2.Client) -> None:
    with api.client(rekey_camera(api.sessions, CAMERA, overlap_h=1)) as second:
        assert [one.get("/v1/costs").status_code for one in (camera, second)] == [200, 200]
        with api.client(rekey_camera(api.sessions, CAMERA)) as third:
            assert [one.get("/v1/costs").status_code for one in (camera, second, third)] == [401, 401, 200]


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("PUT", "/v1/frames", 405)])
def test_unknown_routes_are_problems_too(camera: httpx2.Client, method: str, path: str, status: int) -> None:
    answer = camera.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["cure"] == "See /docs for the routes."


def test_the_description_names_every_route(camera: httpx2.Client) -> None:
    described = camera.get("/openapi.json").json()
    post = described["paths"]["/v1/frames"]["post"]
    assert set(post["requestBody"]["content"]) == {"image/*", "multipart/form-data"}
    assert {field["name"] for field in post["parameters"]} == {
        "frame_key",
        "captured_at",
        "part_number",
        "line",
        "deadline_s",
    }
    assert post["security"] == [{"HTTPBearer": []}]
