"""Every error becomes a problem; pydantic's refusals are told shortly, whatever the input holds."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from api import problems
from gistline import errors

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.GistlineError)]
NEEDED: dict[type, dict[str, Any]] = {
    errors.BudgetExhausted: {"room_usd": Decimal(1), "runs_at": None},
    errors.BuyingStopped: {"room_usd": Decimal(1), "runs_at": None},
    errors.SpendLimitReached: {"code": "workspace_spend_limit_reached"},
    errors.AnswerPending: {"until": datetime(2026, 11, 26, tzinfo=UTC)},
}
HTTP_KINDS = [kind for kind in vars(problems).values() if isinstance(kind, type) and issubclass(kind, Exception)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_is_a_problem(kind: type[errors.GistlineError]) -> None:
    response = problems.problem(kind("what", cure="how", frame_id=7, **NEEDED.get(kind, {})))
    assert response.status_code == kind.status_code
    assert response.media_type == "application/problem+json"
    body = json.loads(bytes(response.body))
    assert body | {"type": ""} == {
        "type": "",
        "title": kind.title,
        "status": kind.status_code,
        "detail": "what",
        "cure": "how",
        "ids": {"frame_id": "7"},
    }
    assert re.fullmatch(r"urn:gistline:problem:[a-z-]+", body["type"])
    assert ("retry-after" in response.headers) == kind.retryable


class Strict(BaseModel):
    name: int


def refusal(value: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        Strict.model_validate({"name": value})
    return problems.rejected("Fields", caught.value).message


def test_refusals_name_field_value_and_reason() -> None:
    assert refusal("x").startswith("Fields: name = 'x': Input should be a valid integer")


def test_long_values_are_cut() -> None:
    assert len(refusal("x" * 10_000)) < 250


def test_values_that_are_no_text_are_escaped() -> None:
    assert refusal("\ud800").encode()
    assert "\n" not in refusal("a\nb")
