"""docker-compose.yml says what it should of every service, and names nothing that does not exist."""

from __future__ import annotations

import re
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from gistline.settings import Settings, load_settings
from gistline.settings_base import FILE, secret_variables
from gistline.settings_report import describe
from tests.support.compose import COMPOSE, SECRETS, is_ours, secret_files, services, variables
from tests.support.processes import ROOT

OURS = [name for name, service in services().items() if is_ours(service)]
ONCE = {"migrate", "reader"}


def seconds(text: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(s|m)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"s": 1, "m": 60}[unit]


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_a_setting_with_a_value_that_it_takes(
    name: str, clean_settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {knob.variable for knob in describe(Settings())}
    secrets = set(secret_variables(Settings))
    for variable, value in variables(services()[name]).items():
        if variable.endswith(FILE):
            assert variable.removesuffix(FILE) in secrets
            assert value.startswith(SECRETS)
            assert value.removeprefix(SECRETS) in secret_files(services()[name]), f"{name} does not get {value}"
            (clean_settings / variable).write_text("a-secret")
            monkeypatch.setenv(variable, str(clean_settings / variable))
        else:
            assert variable in known
            monkeypatch.setenv(variable, value)
    settings = load_settings()
    assert "a-secret" in settings.database.url.get_secret_value()
    assert settings.metrics.port
    assert settings.metrics.token.get_secret_value()


@pytest.mark.parametrize("name", services())
def test_every_service_is_shut_in(name: str) -> None:
    service = services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["pids_limit"] > 0
    assert set(service["deploy"]["resources"]["limits"]) >= {"cpus", "memory"}
    assert is_ours(service) or not str(service["user"]).startswith("0"), "our images name their user themselves"
    assert "privileged" not in service
    assert not re.search(r"[a-z0-9]{24}", str(service.get("environment", ""))), "a secret in the open"


@pytest.mark.parametrize("name", services())
def test_every_lasting_service_has_a_health_check(name: str) -> None:
    check = services()[name]["healthcheck"]
    if name in ONCE:
        assert check == {"disable": True}
        assert services()[name]["restart"] == "on-failure"
        return
    assert check["test"][0] in ("CMD", "CMD-SHELL")
    assert services()[name]["restart"] == "unless-stopped"
    if is_ours(services()[name]):
        kind = {"worker-detect-gpu": "detect"}.get(name, name.removeprefix("worker-"))
        assert check["test"] == ["CMD", "gistline", "health", kind]


def test_nobody_is_stopped_in_the_middle_of_his_work(clean_settings: Path) -> None:
    settings = load_settings()
    detect = seconds(services()["worker-detect"]["stop_grace_period"])
    assert detect >= settings.fleet.drain_s + settings.fleet.lease_s / 4
    assert seconds(services()["worker-report"]["stop_grace_period"]) > settings.reports.timeout_s


def test_the_gpu_s_worker_is_the_cpu_s_with_a_gpu() -> None:
    cpu, gpu = services()["worker-detect"], services()["worker-detect-gpu"]
    assert (cpu["profiles"], gpu["profiles"]) == (["cpu"], ["gpu"])
    assert cpu["command"] == gpu["command"]
    assert gpu["build"]["dockerfile"] == "deploy/Dockerfile.gpu"
    (device,) = gpu["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])


def test_only_what_outsiders_need_is_published_and_servers_reach_nobody() -> None:
    published = {name: service["ports"] for name, service in services().items() if "ports" in service}
    assert set(published) == {"api", "mosquitto", "prometheus", "grafana"}
    assert all(port.startswith("127.0.0.1:") for name in ("prometheus", "grafana") for port in published[name])
    whole = yaml.safe_load(COMPOSE.read_text())
    assert whole["networks"]["inside"] == {"internal": True}
    assert "outside" not in {net for name in ("postgres", "redis", "metrics") for net in services()[name]["networks"]}


def test_the_llm_s_key_goes_to_who_writes_and_to_nobody_else() -> None:
    assert [name for name in services() if "anthropic_api_key" in secret_files(services()[name])] == ["worker-report"]


def test_everything_that_is_mounted_or_built_is_there() -> None:
    whole = yaml.safe_load(COMPOSE.read_text())
    for service in services().values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert (ROOT / source).exists() if source.startswith("./") else source in whole["volumes"]
        if "build" in service:
            assert (ROOT / service["build"]["dockerfile"]).is_file()


def test_the_secrets_are_made_once_and_are_what_compose_names(tmp_path: Path) -> None:
    (tmp_path / "make-secrets").write_text((ROOT / "deploy" / "make-secrets").read_text())

    def made() -> dict[str, str]:
        subprocess.run(["sh", str(tmp_path / "make-secrets")], check=True, capture_output=True)
        return {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}

    first = made()
    named: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["secrets"]
    assert {name: f"./deploy/secrets/{name}" for name in first} == {name: one["file"] for name, one in named.items()}
    assert all(len(text) == 48 for name, text in first.items() if name != "anthropic_api_key")
    assert len(set(first.values())) == len(first)
    assert made() == first
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    assert "deploy/secrets/" in (ROOT / ".gitignore").read_text().splitlines()
    assert "deploy/secrets" in (ROOT / ".dockerignore").read_text().splitlines()
