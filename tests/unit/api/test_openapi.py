"""The description of the API: complete, with names that stay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from api.app import create_app
from gistline.settings import Settings


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    return create_app(Settings()).openapi()


def operations(described: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_every_route_says_who_may_and_which_errors_it_answers(described: dict[str, Any]) -> None:
    for name, operation in operations(described):
        assert operation["summary"], name
        assert operation["description"], name
        assert "security" in operation, name
        answers = operation["responses"]
        assert {"500", "503"} <= set(answers), name
        if operation["security"]:
            assert {"401", "403", "429"} <= set(answers), name
        for status, answer in answers.items():
            if int(status) >= 400:
                assert list(answer["content"]) == ["application/problem+json"], (name, status)


def test_every_parameter_and_field_is_described_or_named_for_itself(described: dict[str, Any]) -> None:
    for name, operation in operations(described):
        for parameter in operation.get("parameters", []):
            assert parameter.get("description") or parameter["in"] == "path", (name, parameter["name"])
    assert "HTTPValidationError" not in str(described)


def test_the_names_of_operations_stay(described: dict[str, Any]) -> None:
    """Code generators make functions of them; who renames one breaks the customers' programs."""
    assert sorted(operation["operationId"] for _, operation in operations(described)) == [
        "discard_dead_letter",
        "is_alive",
        "is_ready",
        "list_audit",
        "list_cameras",
        "list_costs",
        "list_dead_letters",
        "list_engines",
        "list_findings",
        "list_frames",
        "list_passports",
        "list_reports",
        "list_reviews",
        "list_verdicts",
        "list_windows",
        "read_caller",
        "read_frame",
        "read_frame_image",
        "read_passport",
        "read_report",
        "retry_dead_letter",
        "submit_frames",
    ]
