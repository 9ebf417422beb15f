"""Reviews as programs and Prometheus read them: filters, pages, what a line's people may see, the worst figure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
from prometheus_client import generate_latest

from gistline.domain import Role
from gistline.flows.expose_fleet import expose_fleet
from gistline.storage.engines import register_engine
from gistline.storage.session import transaction
from tests.support.api import RunningApi
from tests.support.observed import parsed
from tests.support.passports import add_measured
from tests.support.reviews import add_reviews
from tests.support.rows import ENGINE

DAYS, CAMERAS = 5, {"cam-1": "line-a", "cam-2": "line-b"}
ALL = DAYS * (3 + len(CAMERAS))


@pytest.fixture
def reviewed(api: RunningApi) -> RunningApi:
    now = datetime.now(UTC)
    with transaction(api.sessions) as session:
        passport_id = add_measured(session, ENGINE)
        session.flush()
        add_reviews(session, register_engine(session, ENGINE), passport_id, CAMERAS, now)
    return api


def listed(client: httpx2.Client, **params: str | int) -> list[dict[str, Any]]:
    """Every page of the list."""
    found: list[dict[str, Any]] = []
    while True:
        page = client.get("/v1/accuracy/reviews", params=params).raise_for_status().json()
        found += page["items"]
        if page["next"] is None:
            return found
        params["cursor"] = page["next"]


def test_programs_page_filter_and_see_their_own_lines_only(reviewed: RunningApi) -> None:
    with reviewed.client(reviewed.add_program()) as client:
        found = listed(client, limit=7)
        assert len({one["id"] for one in found}) == len(found) == ALL
        assert [one["reviewed_at"] for one in found] == sorted((one["reviewed_at"] for one in found), reverse=True)
        (lost,) = listed(client, verdict="lost")
        assert (lost["kind"], lost["measure"], lost["advice"]) == ("labelled", "mAP50-95", "roll_back")
        assert lost["value"] == pytest.approx(3.1)
        assert "gistline model rollback" in lost["text"]
        assert lost["evidence"]["same_set"] is True
        assert {one["camera"] for one in listed(client, line="line-b")} == {"cam-2"}
        assert len(listed(client, camera="cam-1", kind="drift", verdict="warn")) == 2
        assert client.get("/v1/accuracy/reviews", params={"kind": "x"}).status_code == 422
    with reviewed.client(reviewed.add_program("b", Role.VIEWER, lines=["line-b"])) as client:
        assert {one["camera"] for one in listed(client)} == {None, "cam-2"}
        assert client.get("/v1/accuracy/reviews", params={"line": "line-a"}).status_code == 403


def test_prometheus_reads_the_newest_reviews(reviewed: RunningApi) -> None:
    served = parsed(scraped(reviewed))

    def value(name: str, **labels: str) -> float:
        return served[f"gistline_accuracy_{name}", frozenset(labels.items())]

    assert value("reviews", kind="labelled", verdict="lost") == 1
    assert value("reviews", kind="drift", verdict="warn") == 1
    assert value("reviews", kind="drift", verdict="ok") == 1
    assert value("reviews", kind="feedback", verdict="unknown") == 0
    assert value("worst", kind="labelled") == pytest.approx(3.1)
    assert value("worst", kind="agreement") == pytest.approx(0.97 - 4 * 0.031)
    assert value("worst", kind="drift") == pytest.approx(2.4 / 0.56)
    assert value("review_age_seconds", kind="labelled") == pytest.approx(86_400, abs=600)


def scraped(api: RunningApi) -> str:
    exposed = expose_fleet(api.sessions, api.services.settings.metrics)
    return generate_latest(exposed.registry).decode()
