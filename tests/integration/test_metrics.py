"""A whole fleet of processes, scraped as Prometheus does it, and held against the database that it left."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from pathlib import Path

import httpx2
import pytest
from pydantic import SecretStr
from sqlalchemy import func, select, text, update

from gistline.cli.main import run
from gistline.dispatch import CelerySender
from gistline.domain import FrameState
from gistline.domain_money import BudgetPeriod, BudgetScope
from gistline.flows.add_camera import add_camera
from gistline.flows.budgets import set_budget
from gistline.flows.claimed_batch import claim
from gistline.flows.close_windows import close_now
from gistline.flows.expose_fleet import expose_fleet
from gistline.flows.inspect_frames import inspect_frames
from gistline.settings import DatabaseSettings
from gistline.settings_observability import LogSettings, MetricsSettings
from gistline.settings_report import as_environment
from gistline.storage.budget_book import BudgetKey
from gistline.storage.frames import Turn
from gistline.storage.session import Sessions, close_database, open_database, transaction
from gistline.storage.tables import BatchRow, FrameRow, LlmAttempt, ReportRow, VerdictRow
from gistline.telemetry.listener import written
from gistline.telemetry.places import Place
from tests.support.api import NO_TLS
from tests.support.fleet import Fleet, fleet, fleet_settings, picture
from tests.support.observed import Scrape, Started, free_ports, get, parsed, scrape, started, value, wait_for
from tests.support.processes import wait_until
from tests.support.twin_detector import Order, TwinDetector

TOKEN = "a-token-of-this-test"
ORDERS = [Order.DEFECT] * 24 + [Order.CLEAN] * 12
COMMANDS = {
    "api": ("-m", "api"),
    "metrics": ("-c", "from gistline.cli.main import main; main()", "metrics"),
    "beat": ("-m", "workers", "beat"),
    "detect-1": ("-m", "tests.support.twin_detector"),
    "report": ("-m", "workers", "report"),
}
PLACES = {"api": Place.API, "metrics": Place.EXPORTER, "beat": Place.BEAT, "detect-1": Place.WORKER}


@dataclass
class System:
    """Running processes, where each serves its metrics, and the database behind them."""

    line: Fleet
    url: str
    processes: dict[str, Started] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)

    def scrape(self, name: str) -> Scrape:
        return scrape(self.addresses[name], TOKEN)


@pytest.fixture(scope="module")
def system(
    module_database_url: str, redis_server_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("observed")
    first = free_ports(8)
    settings = fleet_settings(module_database_url, redis_server_url, folder)
    settings = settings.model_copy(
        update={
            "api": settings.api.model_copy(update={"port": first + 7}),
            "metrics": MetricsSettings(port=first, workers=4, token=SecretStr(TOKEN), refresh_s=0, totals_refresh_s=0),
            "log": LogSettings(format="json", access=True),
        }
    )
    with ExitStack() as stack:
        made = System(stack.enter_context(fleet(settings)), f"http://127.0.0.1:{settings.api.port}")
        for name, command in COMMANDS.items():
            run = started([sys.executable, *command], folder / f"{name}.log", as_environment(settings))
            made.processes[name] = stack.enter_context(run)
            made.addresses[name] = f"127.0.0.1:{first + PLACES.get(name, Place.WORKER + 1)}"
            if name.startswith("detect"):  # the report worker then takes the next port
                wait_for(made.processes[name], made.addresses[name], "/healthz", name)
        for name, process in made.processes.items():
            wait_for(process, made.addresses[name], "/readyz", name)
        yield made


@pytest.fixture(scope="module")
def worked(system: System) -> System:
    """After 36 frames over HTTP, two of them twice, and one report."""
    line = system.line
    key = add_camera(line.sessions, "cam-7", "line-7")[1]
    with httpx2.Client(base_url=system.url, headers={"Authorization": f"Bearer {key}"}, verify=NO_TLS) as camera:
        for number, order in enumerate(ORDERS):
            for _ in range(2 if number < 2 else 1):
                answer = camera.post("/v1/frames", content=picture(order, number), params={"frame_key": str(number)})
                assert answer.status_code == 202
        assert camera.post("/v1/frames", content=b"no image").status_code == 422
        assert camera.get("/v1/frame/" + "x" * 9).status_code == 404
    wait_until(lambda: len(line.in_state(FrameState.INSPECTED)) == len(ORDERS), "all are inspected")
    sender = CelerySender(line.settings.redis, line.settings.fleet)
    close_now(line.sessions, sender, line.settings.reports, "line-7")
    sender.close()
    wait_until(lambda: bool(count(line.sessions, ReportRow)), "the report is written")
    wait_until(lambda: counted(line.sessions) == len(ORDERS), "the last batch is noted")
    return system


def count(sessions: Sessions, table: type) -> int:
    with transaction(sessions) as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def counted(sessions: Sessions) -> int:
    with transaction(sessions) as session:
        return int(session.scalar(select(func.sum(BatchRow.frames))) or 0)


def test_the_door_counts_what_it_answered(worked: System) -> None:
    api = worked.scrape("api")
    requests = "gistline_http_requests_total"
    assert value(api, requests, method="POST", route="/v1/frames", status="202") == len(ORDERS) + 2
    assert value(api, requests, method="POST", route="/v1/frames", status="422") == 1
    assert value(api, requests, method="GET", route="unmatched", status="404") == 1
    assert value(api, "gistline_http_request_duration_seconds_count", route="/v1/frames") == len(ORDERS) + 3
    assert value(api, "gistline_bells_total", outcome="failed") == 0
    assert value(api, "gistline_bells_total", outcome="sent") > 0
    assert value(api, "process_resident_memory_bytes") > 10_000_000
    assert not [labels for _, labels in api if "x" * 9 in str(labels)], "a path became a label"


def test_the_detect_worker_counts_what_it_committed(worked: System) -> None:
    found = worked.scrape("detect-1")
    with transaction(worked.line.sessions) as session:
        kinds = session.execute(select(VerdictRow.kind, func.count()).group_by(VerdictRow.kind))
        verdicts = {kind.value: int(number) for kind, number in kinds}
        batches, infer_s, commit_s = session.execute(
            select(func.count(), func.sum(BatchRow.infer_s), func.sum(BatchRow.commit_s))
        ).one()
    finished = {
        dict(labels)["verdict"]: number
        for (name, labels), number in found.items()
        if name == "gistline_frames_finished_total"
        if dict(labels)["state"] == "inspected"
    }
    assert finished == {"reinspect": 0} | verdicts
    assert value(found, "gistline_frame_queue_seconds_count") == len(ORDERS)
    assert value(found, "gistline_frame_latency_seconds_count") == len(ORDERS)
    assert value(found, "gistline_batch_fill_ratio_count") == batches
    assert value(found, "gistline_batch_fill_ratio_sum") == pytest.approx(len(ORDERS) / 16)
    for stage in ("fetch", "decode", "infer", "post", "commit"):
        assert value(found, "gistline_batch_stage_seconds_count", stage=stage) == batches
    assert value(found, "gistline_engine_busy_seconds_total") == pytest.approx(infer_s)
    assert value(found, "gistline_batch_stage_seconds_sum", stage="commit") == pytest.approx(commit_s)
    queued = value(found, "gistline_frame_queue_seconds_sum")
    assert 0 < queued <= value(found, "gistline_frame_latency_seconds_sum")


def test_some_worker_sweeps_and_says_when(worked: System) -> None:
    found = [worked.scrape(name) for name in ("detect-1", "report")]
    last = max(value(one, "gistline_sweep_last_run_timestamp_seconds") for one in found)
    with transaction(worked.line.sessions) as session:
        now = float(session.scalar(select(func.extract("epoch", func.now()))) or 0)
    assert now - 5 < last <= now + 5
    assert sum(value(one, "gistline_sweeps_total") for one in found) > 1
    assert sum(value(one, "gistline_leases_expired_total", outcome="returned") for one in found) == 0


def is_ready(system: System, kind: str) -> bool:
    return value(system.scrape("metrics"), "gistline_workers", kind=kind, condition="ready") == 1


def test_the_exporter_tells_what_the_database_holds(worked: System) -> None:
    found = worked.scrape("metrics")
    with transaction(worked.line.sessions) as session:
        attempt = session.scalars(select(LlmAttempt)).one()
        report = session.scalars(select(ReportRow)).one()
    states = {state.value: 0.0 for state in FrameState} | {"inspected": float(len(ORDERS))}
    assert {state: value(found, "gistline_frames", state=state) for state in states} == states
    money = {"model": attempt.model, "billing": "simulated"}
    assert value(found, "gistline_llm_cost_usd_total", **money) == pytest.approx(float(attempt.usd or 0), abs=1e-12)
    assert value(found, "gistline_llm_tokens_total", kind="input", **money) == attempt.input_tokens
    assert value(found, "gistline_llm_tokens_total", kind="output", **money) == attempt.output_tokens
    assert value(found, "gistline_llm_attempts_total", state="paid", **money) == 1
    assert value(found, "gistline_reports_total", writer=report.writer) == 1
    assert value(found, "gistline_report_windows", state="written") == 1
    assert value(found, "gistline_image_plan_usd_total") == pytest.approx(float(report.image_usd))
    # A heartbeat may be late on a busy machine; whoever missed it looks again.
    for kind in ("detect", "report"):
        wait_until(partial(is_ready, worked, kind), f"{kind} is ready")
    found = worked.scrape("metrics")
    assert value(found, "gistline_workers", kind="detect", condition="unproven") == 1, "a twin has no passport"
    assert value(found, "gistline_oldest_pending_age_seconds") == 0
    assert value(found, "gistline_database_size_bytes") > 1_000_000
    assert {value(found, "gistline_collection_success", part=part) for part in ("queue", "totals")} == {1.0}


def test_the_exporter_sees_what_waits_what_is_overdue_and_what_was_given_up(database_url: str, tmp_path: Path) -> None:
    with fleet(fleet_settings(database_url, "redis://127.0.0.1:1/0", tmp_path)) as line:
        waiting = line.submit([Order.CLEAN] * 3)
        station = line.station(TwinDetector())
        with transaction(line.sessions) as session:
            session.execute(update(FrameRow).values(accepted_at=func.now() - text("interval '90 seconds'")))
        held = claim(line.sessions, Turn.FRESH_FIRST, limit=2, lease_s=60.0)
        assert held is not None
        with transaction(line.sessions) as session:
            first = update(FrameRow).where(FrameRow.id == held.ids[0])
            session.execute(first.values(lease_until=func.now() - text("interval '1 second'")))
        gone = next(one for one in waiting if one not in held.ids)
        line.store.delete(line.frames()[gone].sha256)
        inspect_frames([gone], station)
        station.close()
        line.submit([Order.CLEAN] * 3)
        exposed = expose_fleet(line.sessions, MetricsSettings(refresh_s=0))
        found = parsed(written(exposed.registry))
        assert exposed.health.ready()
    assert value(found, "gistline_frames_waiting", state="pending") == 3
    assert value(found, "gistline_frames_waiting", state="running") == 2
    assert value(found, "gistline_leases_overdue") == 1
    assert value(found, "gistline_dead_letters_open", kind="failed") == 1
    assert value(found, "gistline_workers", kind="detect", condition="ready") == 0
    assert value(found, "gistline_oldest_pending_age_seconds") < 60


def test_a_database_that_is_away_is_told_and_nothing_else_is(tmp_path: Path) -> None:
    sessions = open_database(DatabaseSettings(url=SecretStr("postgresql://nobody@127.0.0.1:9/none")))
    exposed = expose_fleet(sessions, MetricsSettings(refresh_s=0))
    found = parsed(written(exposed.registry))
    close_database(sessions)
    assert not exposed.health.ready()
    assert value(found, "gistline_collection_success", part="queue") == 0
    assert not [name for name, _ in found if not name.startswith("gistline_collection_")]


def test_workers_are_found_through_the_exporter(worked: System) -> None:
    status, body = get(worked.addresses["metrics"], "/targets", TOKEN)
    assert status == 200
    found = {entry["labels"]["kind"]: entry["targets"] for entry in json.loads(body)}
    assert found == {"detect": [worked.addresses["detect-1"]], "report": [worked.addresses["report"]]}
    assert get(worked.addresses["metrics"], "/targets")[0] == 401
    assert get(worked.addresses["detect-1"], "/metrics")[0] == 401


def test_every_line_of_every_process_is_an_object_with_ids(worked: System) -> None:
    lines = {}
    for name, process in worked.processes.items():
        said = [one for one in process.said().splitlines() if one.startswith("{")]
        lines[name] = [json.loads(one) for one in said]
        plain = [one for one in process.said().splitlines() if not one.startswith("{")]
        assert not [one for one in plain if not one.startswith(("Listening on", "Metrics on"))], plain
        assert TOKEN not in process.said()
    posts = [one for one in lines["api"] if one["logger"] == "api.access" and one["status"] == 202]
    assert len(posts) == len(ORDERS) + 2
    assert {(one["camera"], one["line"], one["path"]) for one in posts} == {("cam-7", "line-7", "/v1/frames")}


def test_the_command_prints_the_same_once(
    worked: System, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, variable in as_environment(worked.line.settings).items():
        monkeypatch.setenv(name, variable)
    assert run(["metrics", "--once"]) == 0
    printed = parsed(capsys.readouterr().out)
    assert printed.keys() >= worked.scrape("metrics").keys()
    assert run(["health", "api"]) == 0
    assert run(["health", "detect"]) == 0
    assert run(["health", "metrics", "--live"]) == 0
    assert "ready" in capsys.readouterr().out


def test_health_says_who_does_not_answer(
    clean_settings: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["health", "beat"]) == 2
    assert "GISTLINE_METRICS__PORT" in capsys.readouterr().err
    monkeypatch.setenv("GISTLINE_METRICS__PORT", str(free_ports(4)))
    assert run(["health", "beat"]) == 1
    assert "Nobody answers on 127.0.0.1:" in capsys.readouterr().err


def test_the_exporter_tells_budgets_alarms_and_what_gates_wait_for(database_url: str, tmp_path: Path) -> None:
    with fleet(fleet_settings(database_url, "redis://127.0.0.1:1/0", tmp_path)) as line:
        set_budget(line.sessions, BudgetKey(BudgetScope.SITE, "", BudgetPeriod.DAY), Decimal("2.5"))
        with transaction(line.sessions) as session:
            session.execute(
                text(
                    "INSERT INTO alarms (id, rule, kind, severity, state, text, facts, count, since) VALUES"
                    " (gen_random_uuid(), 'r', 'class', 'critical', 'firing', 't', '{}', 1, now())"
                )
            )
        found = parsed(written(expose_fleet(line.sessions, MetricsSettings(refresh_s=0)).registry))
    site = {"scope_kind": "site", "scope": "", "period": "day"}
    assert value(found, "gistline_budget_cap_usd", **site) == 2.5
    assert value(found, "gistline_budget_left_usd", **site) == 2.5
    assert value(found, "gistline_budget_held_usd", **site) == 0
    assert value(found, "gistline_alarms_firing", severity="critical") == 1
    assert value(found, "gistline_gate_verdicts_late") == 0
