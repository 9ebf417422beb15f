"""A trace from the POST of a frame to its report, across processes, received by an OTLP receiver of the test's own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID, uuid4

import httpx2
import pytest
from sqlalchemy import func, select

from gistline.dispatch import CelerySender, NullDispatcher
from gistline.flows.add_camera import add_camera
from gistline.flows.close_windows import close_now
from gistline.flows.inspect_frames import inspect_frames
from gistline.flows.observed_report import observed_report
from gistline.flows.report_tools import open_report_tools
from gistline.settings_observability import TracingSettings
from gistline.settings_report import as_environment
from gistline.storage.session import transaction
from gistline.storage.tables import FrameRow, ReportRow
from gistline.telemetry import tracing
from tests.support.api import NO_TLS, serving, settings_for
from tests.support.fleet import Fleet, fleet, fleet_settings, picture
from tests.support.observed import free_ports, started
from tests.support.otlp import Receiver, receiving
from tests.support.processes import ROOT, wait_until
from tests.support.twin_detector import Order, TwinDetector

NOWHERE = "redis://127.0.0.1:1/0"
TRACEPARENT = f"00-{uuid4().hex}-00f067aa0ba902b7-01"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


def settings_of(receiver: Receiver, **more: object) -> TracingSettings:
    return TracingSettings.model_validate({"endpoint": receiver.url, "share": 1.0} | more)


@pytest.mark.long
def test_from_the_post_to_the_report_across_processes(
    database_url: str, redis_url: str, tmp_path: Path, receiver: Receiver
) -> None:
    settings = fleet_settings(database_url, redis_url, tmp_path)
    api = settings.api.model_copy(update={"port": free_ports(1)})
    settings = settings.model_copy(update={"tracing": settings_of(receiver), "api": api})
    with ExitStack() as stack:
        line = stack.enter_context(fleet(settings))
        environment = as_environment(settings)
        door = stack.enter_context(started([sys.executable, "-m", "api"], tmp_path / "api.log", environment))
        worker = line.start_worker()
        report = stack.enter_context(
            started([sys.executable, "-m", "workers", "report"], tmp_path / "report.log", environment)
        )
        wait_until(lambda: "Listening on" in door.said(), "the API listens", within_s=90)
        worker.wait_until_ready()
        frame_id = post(line, api.port)
        line.wait_until_finished([frame_id])
        wait_until(lambda: " ready." in report.said(), "the report worker is ready", within_s=90)
        sender = CelerySender(settings.redis, settings.fleet)
        close_now(line.sessions, sender, settings.reports, "line-9")
        sender.close()
        wait_until(lambda: has_report(line), "the report is written", within_s=60)
        for process in (door, report):
            assert process.terminate() == 0
        assert worker.terminate() == 0
    (posted,) = [one for one in receiver.named("POST") if one.attributes["http.response.status_code"] == 202]
    (batch,) = receiver.named("inspect batch")
    (frame,) = receiver.named("inspect frame")
    (written,) = receiver.named("write report")
    (chat,) = [one for one in receiver.spans if one.name.startswith("chat ")]
    assert [one.service for one in (posted, batch, written)] == [
        "gistline-api",
        "gistline-worker-detect",
        "gistline-worker-report",
    ]
    assert (posted.trace_id, posted.parent) == (TRACEPARENT[3:35], TRACEPARENT[36:52]), "the camera's trace goes on"
    assert posted.attributes["gistline.camera"] == "cam-9"
    assert batch.links == ((posted.trace_id, posted.span_id),)
    assert (frame.trace_id, frame.parent) == (posted.trace_id, posted.span_id)
    assert frame.links == ((batch.trace_id, batch.span_id),)
    assert (frame.attributes["gistline.frame"], frame.attributes["gistline.verdict"]) == (str(frame_id), "ng")
    assert written.links == ((batch.trace_id, batch.span_id),)
    assert written.attributes["gistline.state"] == "written"
    assert (chat.trace_id, chat.parent) == (written.trace_id, written.span_id)
    assert chat.attributes["gen_ai.usage.output_tokens"] > 0
    assert 0 < batch.seconds < 60


def post(line: Fleet, port: int) -> UUID:
    key = add_camera(line.sessions, "cam-9", "line-9")[1]
    headers = {"Authorization": f"Bearer {key}", "traceparent": TRACEPARENT}
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, verify=NO_TLS, timeout=20) as camera:
        answer = camera.post("/v1/frames", content=picture(Order.DEFECT, 1))
        assert answer.status_code == 202
    with transaction(line.sessions) as session:
        return session.scalars(select(FrameRow.id)).one()


def has_report(line: Fleet) -> bool:
    with transaction(line.sessions) as session:
        return bool(session.scalar(select(func.count()).select_from(ReportRow)))


@pytest.fixture
def line(database_url: str, tmp_path: Path) -> Iterator[Fleet]:
    with fleet(fleet_settings(database_url, NOWHERE, tmp_path, batch_size=8)) as made:
        yield made


def submit_traced(line: Fleet, parents: list[str | None]) -> list[UUID]:
    ids = line.submit([Order.DEFECT] * len(parents))
    with transaction(line.sessions) as session:
        for frame_id, parent in zip(ids, parents, strict=True):
            session.get_one(FrameRow, frame_id).traceparent = parent
    return ids


def test_a_batch_links_to_what_is_kept_and_a_report_to_its_batches(line: Fleet, receiver: Receiver) -> None:
    kept = [f"00-{number:032x}-{number:016x}-01" for number in (1, 2)]
    dropped = f"00-{3:032x}-{3:016x}-00"
    submit_traced(line, [kept[0], None, dropped, kept[1], "no traceparent"])
    station = line.station(TwinDetector())
    with tracing.tracing(settings_of(receiver, share=0.0, authorization="Bearer t0ken"), service="test"):
        inspect_frames((), station)
        station.close()
        line.submit([Order.CLEAN])  # a frame that nobody traces makes no batch that is kept
        untraced = line.station(TwinDetector())
        inspect_frames((), untraced)
        untraced.close()
        (window,) = close_now(line.sessions, NullDispatcher(), line.settings.reports, "line-1").closed
        tools = open_report_tools(line.settings, line.sessions)
        observed_report(window, tools)
        tools.writer.close()
    (batch,) = receiver.named("inspect batch")
    assert batch.links == tuple((one[3:35], one[36:52]) for one in kept)
    assert batch.attributes["gistline.frames"] == 5
    assert {one.trace_id for one in receiver.named("inspect frame")} == {one[3:35] for one in kept}
    (report,) = receiver.named("write report")
    assert report.links == ((batch.trace_id, batch.span_id),)
    assert receiver.authorizations == {"Bearer t0ken"}


def test_nothing_is_sent_of_what_chance_does_not_choose(line: Fleet, receiver: Receiver) -> None:
    with tracing.tracing(settings_of(receiver, share=0.0), service="test"):
        span = tracing.request_span("POST", "", {})
        assert span.traceparent == ""
        span.end()
        continued = tracing.request_span("POST", f"00-{3:032x}-{3:016x}-00", {})
        assert continued.traceparent == "", "whoever does not keep the caller's trace does not keep ours"
        continued.end()
        with tracing.span("alone", {}):
            pass
    assert receiver.spans == []


def test_the_share_is_kept_about_as_often_as_it_says(receiver: Receiver) -> None:
    with tracing.tracing(settings_of(receiver, share=0.25), service="test"):
        for _ in range(400):
            tracing.request_span("POST", "", {}).end()
    assert 60 <= len(receiver.spans) <= 145


def test_a_receiver_that_is_away_costs_the_work_nothing(line: Fleet, receiver: Receiver) -> None:
    receiver.status = 503
    ids = submit_traced(line, [TRACEPARENT])
    station = line.station(TwinDetector())
    with tracing.tracing(settings_of(receiver, timeout_s=0.2), service="test"):
        inspect_frames((), station)
    station.close()
    line.assert_inspected_once(ids)


def test_an_unsampled_request_keeps_the_camera_s_own_traceparent(
    database_url: str, clean_settings: Path, receiver: Receiver
) -> None:
    settings = settings_for(database_url, clean_settings)
    given = f"00-{7:032x}-{7:016x}-00"
    with tracing.tracing(settings_of(receiver), service="api"), serving(settings) as api, api.client() as camera:
        answer = camera.post("/v1/frames", content=picture(Order.CLEAN, 1), headers={"traceparent": given})
        assert api.row(answer.json()["frames"][0]["id"]).traceparent == given


def test_off_it_loads_nothing_and_on_it_says_what_is_missing() -> None:
    source = """
import sys
sys.modules["opentelemetry.sdk"] = None  # the API package comes with FastAPI
import api.app, workers.__main__, gistline.flows.observed_report
from gistline.errors import SettingsError
from gistline.settings_observability import TracingSettings
from gistline.telemetry import tracing
with tracing.tracing(TracingSettings(), service="test"):
    assert tracing.span("x", {}).__enter__().traceparent == ""
try:
    with tracing.tracing(TracingSettings(endpoint="http://127.0.0.1:9"), service="test"):
        pass
except SettingsError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, check=False, timeout=100
    )
    assert "OpenTelemetry is not installed (opentelemetry" in done.stdout, done.stderr
    assert "pip install gistline[trace]" in done.stdout
