"""The kustomizations render, every object fits its schema, and the pods are what the processes need."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import kubernetes_validate
import pytest
import yaml

from gistline.settings import Settings, load_settings
from gistline.settings_base import FILE, secret_variables
from gistline.settings_report import describe
from tests.support.compose import services, tool, variables
from tests.support.processes import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
KEDA = json.loads((Path(__file__).with_name("keda.schema.json")).read_text())
SECRETS = "/run/secrets/gistline/"
COMMANDS = {
    "api": "api",
    "worker-detect": "worker-detect",
    "worker-report": "worker-report",
    "worker-verdicts": "worker-verdicts",
    "beat": "beat",
    "metrics": "metrics",
}
"""Deployment -> service of docker-compose.yml that runs the same."""


@pytest.fixture(scope="module", params=["base", "gpu"])
def objects(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    return rendered(request.param)


def rendered(name: str) -> list[dict[str, Any]]:
    done = subprocess.run([tool("kubectl"), "kustomize", FOLDER / name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def of_kind(objects: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in objects if one["kind"] == kind}


def pods(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    workloads = of_kind(objects, "Deployment") | of_kind(objects, "Job")
    return {name: one["spec"]["template"]["spec"] for name, one in workloads.items()}


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", ()), *pod["containers"]]


def test_every_object_fits_its_schema(objects: list[dict[str, Any]]) -> None:
    for one in objects:
        if one["apiVersion"].startswith("keda.sh/"):
            jsonschema.validate(one, KEDA)
        else:
            kubernetes_validate.validate(one, "1.33", strict=True)
        assert one["kind"] == "Namespace" or one["metadata"]["namespace"] == "gistline"


def test_a_misspelt_field_is_caught(objects: list[dict[str, Any]]) -> None:
    scaled = json.loads(json.dumps(of_kind(objects, "ScaledObject")["worker-detect"]))
    scaled["spec"]["triggers"][0]["metadata"]["targetQueryVal"] = "1"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(scaled, KEDA)
    job = json.loads(json.dumps(of_kind(objects, "Job")["migrate"]))
    job["spec"]["backofLimit"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, "1.33", strict=True)


def test_pods_run_the_same_commands_as_compose(objects: list[dict[str, Any]]) -> None:
    found = pods(objects)
    assert set(found) == {*COMMANDS, "migrate"}
    for deployment, service in COMMANDS.items():
        assert found[deployment]["containers"][0]["command"] == services()[service]["command"]
    upgrade, reader = containers(found["migrate"])
    assert upgrade["command"] == services()["migrate"]["command"]
    assert reader["command"][:4] == services()["reader"]["command"][:4]


def test_every_variable_is_a_setting_and_every_secret_file_is_mounted(
    objects: list[dict[str, Any]], clean_settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, secrets = {knob.variable for knob in describe(Settings())}, set(secret_variables(Settings))
    shared = of_kind(objects, "ConfigMap")["gistline"]["data"]
    for name, pod in pods(objects).items():
        (volume,) = [one for one in pod["volumes"] if one["name"] == "secrets"]
        mounted = {item["path"] for item in volume["secret"]["items"]}
        for container in containers(pod):
            own = {one["name"]: one["value"] for one in container.get("env", ())}
            for variable, value in (shared | own).items():
                if variable.endswith(FILE):
                    assert variable.removesuffix(FILE) in secrets
                    assert value.removeprefix(SECRETS) in mounted, f"{name} lacks {value}"
                else:
                    assert variable in known
                    monkeypatch.setenv(variable, value)
    load_settings()
    assert set(shared) >= {variable for variable in variables(services()["beat"]) if "STORE" not in variable}


def test_pods_are_shut_in(objects: list[dict[str, Any]]) -> None:
    for pod in pods(objects).values():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        for container in containers(pod):
            inner = container["securityContext"]
            assert inner["readOnlyRootFilesystem"] is True
            assert inner["allowPrivilegeEscalation"] is False
            assert inner["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]
            assert container["resources"]["requests"]["cpu"]


def test_every_lasting_pod_is_probed_where_it_answers(objects: list[dict[str, Any]]) -> None:
    offsets = {"api": 0, "metrics": 1, "beat": 2}
    for name in COMMANDS:
        (container,) = pods(objects)[name]["containers"]
        ports = {one["name"]: one["containerPort"] for one in container["ports"]}
        assert ports["metrics"] == 9464 + offsets.get(name, 3)
        for probe, path in (("startup", "/healthz"), ("liveness", "/healthz"), ("readiness", "/readyz")):
            asked = container[f"{probe}Probe"]["httpGet"]
            assert asked["path"] == path
            assert asked["port"] in ports


def test_nobody_is_stopped_in_the_middle_of_his_work(objects: list[dict[str, Any]], clean_settings: Path) -> None:
    settings = load_settings()
    grace = {name: pod["terminationGracePeriodSeconds"] for name, pod in pods(objects).items()}
    assert grace["worker-detect"] > settings.fleet.drain_s + settings.fleet.lease_s
    assert grace["worker-report"] > 2 * settings.reports.timeout_s


def test_disruptions_leave_one_of_each(objects: list[dict[str, Any]]) -> None:
    budgets = of_kind(objects, "PodDisruptionBudget")
    assert set(budgets) == {"api", "worker-detect", "worker-report", "worker-verdicts"}
    for name, budget in budgets.items():
        labels = of_kind(objects, "Deployment")[name]["spec"]["template"]["metadata"]["labels"]
        assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_scaling_is_left_to_keda(objects: list[dict[str, Any]]) -> None:
    assert "replicas" not in of_kind(objects, "Deployment")["worker-detect"]["spec"]
    scaled = of_kind(objects, "ScaledObject")["worker-detect"]
    assert scaled["spec"]["scaleTargetRef"]["name"] == "worker-detect"
    assert scaled["spec"]["triggers"][0]["authenticationRef"]["name"] in of_kind(objects, "TriggerAuthentication")


def test_gpus_are_chosen_tolerated_and_counted() -> None:
    base, gpu = (pods(rendered(name))["worker-detect"] for name in ("base", "gpu"))
    assert "nodeSelector" not in base
    assert gpu["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    assert gpu["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    (container,) = gpu["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert container["image"].startswith("gistline-gpu:")
