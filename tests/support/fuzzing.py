"""Schemathesis against a running API: requests made from its own description, each answer checked."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import schemathesis
from hypothesis import strategies as st
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, from_schema
from schemathesis.engine.events import FatalError, NonFatalError, ScenarioFinished

from tests.support import images

IMAGE: Final = "image/*"
CHECKS: Final = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "positive_data_acceptance",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "use_after_free",
    "ensure_resource_availability",
    "ignored_auth",
)


@dataclass
class Findings:
    """What a run did: requests by route, checks by name, and whatever did not hold, in words."""

    requests: Counter[str] = field(default_factory=Counter)
    checks: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def __add__(self, other: Findings) -> Findings:
        return Findings(
            self.requests + other.requests,
            self.checks + other.checks,
            self.statuses + other.statuses,
            self.broken + other.broken,
        )

    def __str__(self) -> str:
        told = f"{self.requests.total()} requests to {len(self.requests)} operations, {self.checks.total()} checks"
        return f"{told}, {len(self.broken)} broken; answers {dict(sorted(self.statuses.items()))}"


def fuzz(url: str, key: str, *, only: str, examples: int, max_s: int, reader: str = "") -> Findings:
    """Ask the API at ``url`` with ``key`` for operations whose path matches ``only``, so long at most.

    ``reader`` is a program's key, where ``key`` is a camera's: those do not read the description.
    """
    schemathesis.openapi.media_type(IMAGE, st.sampled_from([images.frame(number) for number in range(3)]))
    config = SchemathesisConfig.from_dict(_config(key, examples) | {"max-time": max_s})
    headers = {"Authorization": f"Bearer {reader or key}"}
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", config=config, headers=headers)
    schema.hook("map_case")(without_cursor)
    found = Findings()
    for event in from_schema(schema.include(path_regex=only)).execute():
        if isinstance(event, ScenarioFinished):
            _count(event, found)
        elif isinstance(event, NonFatalError):
            found.broken.append(f"{event.label}: {event.info.format()}")
        elif isinstance(event, FatalError):
            raise event.exception
    return found


def without_cursor(_: object, case: schemathesis.Case[Any]) -> schemathesis.Case[Any]:
    """Right requests carry no made-up cursor: any text is one by the description, and only those that we gave are."""
    meta = case.meta
    if meta is not None and meta.generation.mode is schemathesis.GenerationMode.POSITIVE and case.query:
        case.query.pop("cursor", None)
    return case


def _config(key: str, examples: int) -> dict[str, Any]:
    return {
        "seed": 1,
        "headers": {"Authorization": f"Bearer {key}"},
        "continue-on-failure": True,
        "generation": {"mode": "all", "max-examples": examples, "no-shrink": True, "database": "none"},
        "checks": {name: {"enabled": True} for name in CHECKS},
        "phases": {"stateful": {"enabled": False}},
        "request-timeout": 30,
    }


def _count(event: ScenarioFinished, found: Findings) -> None:
    recorder = event.recorder
    for case_id, interaction in recorder.interactions.items():
        found.requests[recorder.label] += 1
        if interaction.response is not None:
            found.statuses[interaction.response.status_code] += 1
        for check in recorder.checks.get(case_id, []):
            found.checks[check.name] += 1
            if check.status is Status.FAILURE and check.failure_info is not None:
                failure = check.failure_info.failure
                asked = interaction.request
                told = f"{asked.method} {asked.uri[:400]}: {check.name}: {failure.title}: {failure.message[:600]}"
                found.broken.append(f"{recorder.label}: {told}")
