"""The address of metrics and health: who may ask, which port, what it answers."""

from __future__ import annotations

import http.client
import json
from contextlib import ExitStack

import pytest
from prometheus_client import CollectorRegistry, Counter

from gistline.errors import SettingsError, StorageUnavailable
from gistline.settings_observability import MetricsSettings
from gistline.telemetry.listener import Answer, Exposed, Health, listening
from gistline.telemetry.places import Place
from tests.support.observed import free_ports


def ask(address: str, path: str, token: str = "") -> tuple[int, str]:
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.fixture
def exposed() -> Exposed:
    registry = CollectorRegistry()
    Counter("things_total", "Things.", registry=registry).inc(3)
    return Exposed(registry, Health(), {"/targets": lambda: Answer(json.dumps([]).encode())})


@pytest.fixture
def settings() -> MetricsSettings:
    return MetricsSettings.model_validate({"port": free_ports(6)})


def test_nothing_listens_by_default(exposed: Exposed) -> None:
    with listening(MetricsSettings(), Place.API, exposed) as address:
        assert address == ""


def test_metrics_and_health(exposed: Exposed, settings: MetricsSettings) -> None:
    with listening(settings, Place.EXPORTER, exposed) as address:
        assert address == f"127.0.0.1:{settings.port + 1}"
        status, text = ask(address, "/metrics")
        assert (status, "things_total 3.0" in text) == (200, True)
        assert ask(address, "/targets") == (200, "[]")
        assert ask(address, "/secrets")[0] == 404
        assert (ask(address, "/healthz")[0], ask(address, "/readyz")[0]) == (200, 503)
        exposed.health.alive, exposed.health.ready = (lambda: False), (lambda: True)
        assert (ask(address, "/healthz")[0], ask(address, "/readyz")[0]) == (503, 200)
    with pytest.raises(OSError, match="refused"):
        ask(address, "/metrics")


def test_a_token_guards_everything_but_health(exposed: Exposed, settings: MetricsSettings) -> None:
    guarded = settings.model_validate({"port": settings.port, "token": "t0ken"})
    with listening(guarded, Place.API, exposed) as address:
        for path in ("/metrics", "/targets"):
            assert ask(address, path)[0] == 401
            assert ask(address, path, "t0keX")[0] == 401
            assert ask(address, path, "t0ken")[0] == 200
        assert ask(address, "/healthz")[0] == 200


def test_workers_of_one_machine_take_one_port_after_the_other(exposed: Exposed, settings: MetricsSettings) -> None:
    few = settings.model_validate({"port": settings.port, "workers": 2})
    with ExitStack() as stack:
        taken = [stack.enter_context(listening(few, Place.WORKER, exposed)) for _ in range(2)]
        assert taken == [f"127.0.0.1:{settings.port + 3 + number}" for number in range(2)]
        with pytest.raises(SettingsError, match=f"port {settings.port + 3} to {settings.port + 4}: Address already"):
            stack.enter_context(listening(few, Place.WORKER, exposed))


def test_an_address_that_is_not_ours_is_refused_with_the_cure(exposed: Exposed, settings: MetricsSettings) -> None:
    elsewhere = settings.model_validate({"port": settings.port, "host": "192.0.2.1"})
    with pytest.raises(SettingsError, match=r"192\.0\.2\.1.*GISTLINE_METRICS__HOST"):
        _enter(listening(elsewhere, Place.API, exposed))


def test_a_page_whose_source_is_away_says_so(exposed: Exposed, settings: MetricsSettings) -> None:
    def fails() -> Answer:
        raise StorageUnavailable("The database at 10.0.0.7 does not answer.")

    broken = Exposed(exposed.registry, exposed.health, {"/targets": fails})
    with listening(settings, Place.API, broken) as address:
        assert ask(address, "/targets") == (503, "Storage unavailable\n")


def _enter(manager: object) -> None:
    with ExitStack() as stack:
        stack.enter_context(manager)  # type: ignore[arg-type]
