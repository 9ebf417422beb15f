"""Lists: filtered, cut into pages by cursors that rows inserted meanwhile do not disturb."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.support.api import CAMERA, LINE, RunningApi
from tests.support.rows import give_up, inspect, report, submit

PAGED = (
    "frames",
    "findings",
    "verdicts",
    "windows",
    "reports",
    "costs",
    "cameras",
    "engines",
    "passports",
    "dead-letters",
    "audit",
)


FILTERS: list[tuple[str, dict[str, Any], int]] = [
    ("frames", {"state": "inspected"}, 3),
    ("frames", {"state": "failed", "verdict": "reinspect"}, 2),
    ("frames", {"verdict": "ng", "part_number": "part-0"}, 2),
    ("frames", {"camera": "other-1"}, 0),
    ("frames", {"line": LINE, "since": "2020-01-01T00:00:00Z"}, 6),
    ("frames", {"until": "2020-01-01T00:00:00Z"}, 0),
    ("frames", {"since": "0001-01-01T00:00:00+14:00", "until": "9999-12-31T23:59:59-14:00"}, 6),
    ("findings", {}, 6),
    ("findings", {"label": "spur"}, 3),
    ("findings", {"min_confidence": 0.93}, 3),
    ("findings", {"min_severity": 3, "verdict": "ng"}, 3),
    ("findings", {"since": "2990-01-01T00:00:00Z"}, 0),
    ("verdicts", {"verdict": "reinspect"}, 2),
    ("verdicts", {"line": LINE}, 5),
    ("windows", {"line": LINE, "state": "written"}, 3),
    ("windows", {"until": "2020-01-01T00:00:00Z"}, 0),
    ("reports", {"line": "line-1"}, 1),
    ("cameras", {"line": "line-1"}, 1),
    ("passports", {"verdict": "failed"}, 0),
    ("dead-letters", {"open": True, "kind": "failed"}, 2),
    ("dead-letters", {"kind": "quarantined"}, 0),
    ("audit", {"action": "camera.add"}, 4),
    ("audit", {"subject": "camera other-1", "actor": "system"}, 1),
]
"""List, filter, and how many of the rows below it finds."""


def row(client: httpx2.Client, number: int) -> str:
    return submit(client, frame_key=f"frame-{number}", part_number=f"part-{number % 2}")


@pytest.fixture
def filled(api: RunningApi, camera: httpx2.Client) -> Iterator[httpx2.Client]:
    """Rows of every kind, and an admin who reads them: three frames inspected, two given up, one waiting."""
    for number in range(3):
        report(api, LINE)
        api.add_camera(f"other-{number}", f"line-{number}")
        report(api, f"line-{number}")
    frames = [row(camera, number) for number in range(6)]
    for one in frames[:3]:
        inspect(api, one)
    for one in frames[3:5]:
        give_up(api, one)
    with api.browser(api.add_admin()) as admin:
        yield admin


def pages(client: httpx2.Client, path: str, **query: Any) -> list[list[dict[str, Any]]]:
    """All pages of a list, each once."""
    found: list[list[dict[str, Any]]] = []
    cursor: dict[str, str] = {}
    while True:
        answer = client.get(f"/v1/{path}", params=query | cursor)
        assert answer.status_code == 200, answer.text
        found.append(answer.json()["items"])
        if answer.json()["next"] is None:
            return found
        cursor = {"cursor": answer.json()["next"]}


def test_pages_make_up_the_list(filled: httpx2.Client) -> None:
    for path in PAGED:
        (whole,) = pages(filled, path, limit=500)
        for limit in (1, 2):
            cut = pages(filled, path, limit=limit)
            assert [one for page in cut for one in page] == whole, path
            assert {len(page) for page in cut[:-1]} <= {limit}, path
            assert cut[-1], f"{path}: no page is empty"
        assert len(whole) >= (1 if path == "engines" else 2), path


def test_rows_that_come_meanwhile_neither_shift_nor_repeat(
    api: RunningApi, filled: httpx2.Client, camera: httpx2.Client
) -> None:
    first = filled.get("/v1/frames", params={"limit": 2}).json()
    (before,) = pages(filled, "frames")
    row(camera, 100)
    second = filled.get("/v1/frames", params={"limit": 2, "cursor": first["next"]}).json()
    assert first["items"] + second["items"] == before[:4]


def test_a_cursor_is_good_for_its_list_and_filter_only(filled: httpx2.Client) -> None:
    cursor = filled.get("/v1/frames", params={"limit": 1, "camera": CAMERA}).json()["next"]
    assert filled.get("/v1/frames", params={"limit": 3, "camera": CAMERA, "cursor": cursor}).status_code == 200
    for path, query in (("frames", {}), ("frames", {"camera": "x"}), ("verdicts", {"camera": CAMERA})):
        answer = filled.get(f"/v1/{path}", params={"cursor": cursor} | query)
        assert answer.status_code == 422
        assert "of another list or filter" in answer.json()["detail"]


def test_a_passport_has_its_evidence(filled: httpx2.Client) -> None:
    engine = filled.get("/v1/engines").json()["items"][0]
    assert engine["labels"] == ["open", "short"]
    passport = filled.get("/v1/passports", params={"engine": engine["id"]}).json()["items"][0]
    found = filled.get(f"/v1/passports/{passport['id']}").json()
    assert found["evidence"]["engine"]["weights_sha256"] == engine["weights_sha256"] == found["model_sha256"]


def test_filters(filled: httpx2.Client) -> None:
    found = [(path, query, len(filled.get(f"/v1/{path}", params=query).json()["items"])) for path, query, _ in FILTERS]
    assert found == FILTERS
