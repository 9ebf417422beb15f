"""docker-compose.yml without containers: each service's own command, environment and health check, frames to report."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
import yaml

from gistline.simulator.cameras import camera_frames
from gistline.telemetry.places import Place
from tests.support.api import NO_TLS
from tests.support.broker import find_mosquitto
from tests.support.compose import Composed, composed, secret_files, services, tool
from tests.support.dashboards import DASHBOARDS, POSTGRES, alerts, questions, wanted_metrics, written_out
from tests.support.observed import get, scrape
from tests.support.processes import ROOT, wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]  # a busy machine takes long to start ten processes
FRAMES = 12
PLACES = {"api": Place.API, "metrics": Place.EXPORTER, "beat": Place.BEAT}
LASTING = ("api", "worker-detect", "worker-report", "worker-verdicts", "beat", "metrics")
CLOSE = """
from gistline.dispatch import CelerySender
from gistline.flows.close_windows import close_now
from gistline.settings import load_settings
from gistline.storage.session import open_database
settings = load_settings()
sender = CelerySender(settings.redis, settings.fleet)
close_now(open_database(settings.database), sender, settings.reports, "line-1")
sender.close(5.0)
"""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    """All services that are not on GPUs, healthy by their own checks, in the order that compose would start them in."""
    find_mosquitto()
    with composed(tmp_path_factory.mktemp("compose")) as made, made.stack:
        for name in ("redis", "mosquitto"):
            made.start(name)
        assert "Tables went from empty" in made.run_once("migrate")
        assert "gistline_reader may read" in made.run_once("reader")
        for name in LASTING:
            made.start(name)
        made.wait_until_healthy("mosquitto", *LASTING)
        yield made


@pytest.fixture(scope="module")
def report(system: Composed) -> dict[str, Any]:
    """The report on twelve boards that a camera sent in."""
    key = made_key(system, "cameras", "add", "cam-1", "--line", "line-1")
    reads = made_key(system, "keys", "create", "erp")
    system.execute("api", ["gistline", "budgets", "set", "5", "--site", "--per", "day"])
    base = f"http://{system.api}"
    with client(base, key) as camera, client(base, reads) as program:
        for shot in camera_frames(camera="cam-1", seed=3, count=FRAMES):
            answer = camera.post("/v1/frames", content=shot.jpeg, params={"frame_key": shot.frame_key})
            assert answer.status_code == 202, answer.text
        wait_until(lambda: sample(system, "metrics", "gistline_frames_waiting") == 0, "nothing waits", within_s=120)
        system.execute("worker-report", ["python", "-c", CLOSE])

        def listed() -> list[str]:
            return [one["id"] for one in program.get("/v1/reports").json()["items"]]

        wait_until(lambda: bool(listed()), "the report is written", within_s=120)
        found: dict[str, Any] = program.get(f"/v1/reports/{listed()[0]}").json()
    return found


def made_key(system: Composed, *command: str) -> str:
    key: str = json.loads(system.execute("api", ["gistline", *command, "--json"]))["key"]
    return key


def client(base: str, key: str) -> httpx2.Client:
    return httpx2.Client(base_url=base, headers={"Authorization": f"Bearer {key}"}, verify=NO_TLS, timeout=20)


def address(system: Composed, name: str) -> str:
    return f"127.0.0.1:{system.metrics[name] + PLACES.get(name, Place.WORKER)}"


def sample(system: Composed, name: str, metric: str) -> float:
    """Sum of one metric over its labels."""
    found = scrape(address(system, name), system.secret("metrics_token"))
    return sum(value for (found_name, _), value in found.items() if found_name == metric)


def test_frames_go_in_and_a_priced_report_comes_out(report: dict[str, Any]) -> None:
    assert report["totals"]["frames"]["inspected"] == FRAMES
    assert report["totals"]["findings"] > 0
    assert report["simulated"] is True, "the file for the LLM's key is empty"
    assert 0 < float(report["cost_usd"]) < float(report["image_usd"])


@pytest.mark.parametrize("name", ["redis", "mosquitto", *LASTING])
def test_no_process_shows_a_secret(system: Composed, report: dict[str, Any], name: str) -> None:
    said = system.running[name].said()
    for secret in secret_files(services()[name]):
        assert not system.secret(secret) or system.secret(secret) not in said
    if name in LASTING:
        fields = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
        assert all({"time", "level", "service", "message"} <= set(one) for one in fields)


def test_redis_is_a_broker_that_refuses_rather_than_forgets(system: Composed) -> None:
    cli = system.environment("api")
    url = urllib.parse.urlsplit(cli["GISTLINE_REDIS__URL"])
    from redis import Redis

    with Redis(host=url.hostname or "", port=url.port or 0, password=system.secret("redis_password")) as client:
        kept = client.config_get("*")
    assert (kept["maxmemory-policy"], kept["appendonly"], kept["appendfsync"]) == ("noeviction", "yes", "everysec")
    assert int(kept["maxmemory"]) < memory(services()["redis"]["deploy"]["resources"]["limits"]["memory"])


def memory(text: str) -> int:
    return int(text[:-1]) * {"m": 2**20, "g": 2**30}[text[-1]]


def test_every_metric_that_a_dashboard_or_a_rule_names_is_served(system: Composed, report: dict[str, Any]) -> None:
    served = {"up"}
    for name in LASTING:
        served |= {metric for metric, _ in scrape(address(system, name), system.secret("metrics_token"))}
    missing = {name: place for name, place in wanted_metrics().items() if name not in served}
    assert missing == {}
    assert len(wanted_metrics()) > 20


@pytest.mark.parametrize("path", sorted(DASHBOARDS.glob("*.json")), ids=lambda path: path.stem)
def test_every_query_of_a_dashboard_runs_as_its_reader(system: Composed, report: dict[str, Any], path: Path) -> None:
    asked = [one for one in questions(path) if one.kind == POSTGRES]
    with reader(system) as connection:
        empty = [one.place for one in asked if not connection.execute(written_out(one.text)).fetchall()]
    assert asked
    # nothing went wrong and nobody promoted anything
    assert {place.rpartition(" / ")[2] for place in empty} <= {"Dead letters", "Promotions", "Alarms that fire"}


@pytest.mark.parametrize(
    ("statement", "refused"),
    [
        ("SELECT key_sha256 FROM api_keys", "permission denied"),
        ("SELECT * FROM people", "permission denied"),
        ("SELECT content FROM models", "permission denied"),
        ("INSERT INTO cameras (name, line) VALUES ('x', 'y')", "read-only transaction"),
        ("SET default_transaction_read_only = off; DELETE FROM dead_letters", "permission denied"),
        ("CREATE TABLE mine (id int)", "read-only transaction|permission denied"),
    ],
)
def test_the_reader_sees_no_secret_and_writes_nothing(system: Composed, statement: str, refused: str) -> None:
    *before, last = statement.split("; ")
    with reader(system) as connection:
        for one in before:
            connection.execute(one)
        with pytest.raises(psycopg.Error, match=refused):
            connection.execute(last)


def reader(system: Composed) -> psycopg.Connection[tuple[Any, ...]]:
    url = system.environment("api")["GISTLINE_DATABASE__URL"]
    folder = url.partition("host=")[2]
    password = system.secret("reader_password")
    return psycopg.connect(
        host=folder, dbname="gistline", user="gistline_reader", password=password, autocommit=True, connect_timeout=5
    )


def test_kubernetes_scales_by_what_waits_and_runs(system: Composed, report: dict[str, Any]) -> None:
    text = (ROOT / "deploy" / "kubernetes" / "base" / "scaling.yaml").read_text()
    scaled = next(one for one in yaml.safe_load_all(text) if one["kind"] == "ScaledObject")
    (trigger,) = scaled["spec"]["triggers"]
    assert trigger["type"] == "postgresql"
    with reader(system) as connection:
        assert connection.execute(trigger["metadata"]["query"]).fetchone() == (0,)


def test_prometheus_scrapes_every_process_and_takes_the_rules(system: Composed, report: dict[str, Any]) -> None:
    binary = tool("prometheus")
    port = system.metrics["prometheus-itself"]
    config = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    for job in config["scrape_configs"]:
        job["authorization"]["credentials_file"] = system.words(job["authorization"]["credentials_file"])
        job.pop("dns_sd_configs", None)
        job["static_configs"] = [{"targets": [address(system, SERVICE_OF[job["job_name"]])]}]
    (system.folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    (system.folder / "rules.yml").write_text((ROOT / "deploy" / "prometheus" / "rules.yml").read_text())
    mounted = {"web.listen-address": f"127.0.0.1:{port}", "config.file": f"{system.folder}/prometheus.yml"}
    mounted["storage.tsdb.path"] = f"{system.folder}/tsdb"
    given = dict(word.removeprefix("--").split("=", 1) for word in services()["prometheus"]["command"])
    command = [binary, *(f"--{name}={value}" for name, value in (given | mounted).items())]
    system.start("prometheus", command)
    base = f"127.0.0.1:{port}"

    def answer(path: str) -> Any:
        status, body = get(base, path)
        return json.loads(body)["data"] if status == 200 else None

    def all_up() -> bool:
        found = answer("/api/v1/targets?state=active")
        return bool(found) and {one["health"] for one in found["activeTargets"]} == {"up"}

    wait_until(all_up, "every target is up")
    rules = {rule["name"]: rule for group in answer("/api/v1/rules")["groups"] for rule in group["rules"]}
    assert set(rules) == set(alerts())
    finished = "sum(gistline_frames_finished_total)"
    wait_until(lambda: [one["value"][1] for one in asked(answer, finished)] == [str(FRAMES)], "Prometheus has counted")
    firing = {rule["name"] for rule in rules.values() if rule["state"] == "firing"}
    assert firing == set(), "nothing is wrong"
    assert system.running["prometheus"].terminate() == 0


SERVICE_OF = {
    "gistline-api": "api",
    "gistline-metrics": "metrics",
    "gistline-beat": "beat",
    "gistline-detect": "worker-detect",
    "gistline-report": "worker-report",
    "gistline-verdicts": "worker-verdicts",
}


def asked(answer: Any, expression: str) -> list[dict[str, Any]]:
    found = answer("/api/v1/query?query=" + urllib.parse.quote(expression))
    return list(found["result"]) if found else []


def test_everything_ends_in_good_order_when_it_is_told_to(system: Composed, report: dict[str, Any]) -> None:
    for name in reversed(LASTING):
        assert system.running[name].terminate() == 0, system.running[name].said()
    assert system.running["redis"].terminate() == 0
