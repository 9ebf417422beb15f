"""The form in which a report is asked for: statements, each with what its numbers claim, and places by name alone.

A place names a camera and a class; its count, times, confidence and region are filled in from the database when the
report is rendered, so that a model can't get them wrong. Prose may hold numbers; each is to be claimed beside its
sentence, and the checker holds the sentence and the claim against each other and against the findings.
"""

from __future__ import annotations

import json
from enum import StrEnum
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from gistline.errors import AnswerUnusable

MOST_STATEMENTS = 12
"""Most statements of one section that are kept; a model that runs on is cut short."""


class Measure(StrEnum):
    """What a number counts or measures."""

    COUNT = "count"
    SHARE = "share"
    FRAMES = "frames"
    NG = "ng"
    REINSPECT = "reinspect"
    FAILED = "failed"
    EXPIRED = "expired"
    CAMERAS = "cameras"
    CLASSES = "classes"
    GROUPS = "groups"
    SEVERITY = "severity"
    HIGHEST = "highest"
    MEAN = "mean"
    CONFIDENCE = "confidence"
    PIXELS = "pixels"
    SECONDS = "seconds"
    FIRST = "first"
    LAST = "last"
    TIME = "time"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Claim(_Part):
    """What one number of a sentence is: ``said`` as it stands there, of one camera and class, or (empty) of all."""

    said: str
    measure: Measure
    camera: str
    defect: str


class Statement(_Part):
    """A sentence or two, names in backticks, and a claim for each of its numbers and times."""

    text: str
    numbers: tuple[Claim, ...]


class Place(_Part):
    """A group of findings that the report names."""

    camera: str
    defect: str


class Draft(_Part):
    """A report before it is rendered."""

    headline: Statement
    happened: tuple[Statement, ...]
    places: tuple[Place, ...]
    cause: Statement
    check_first: tuple[Statement, ...]
    confidence: Literal["low", "medium", "high"]


@cache
def schema() -> dict[str, Any]:
    """The JSON schema of :class:`Draft` as short as it can be: without titles and descriptions."""
    bare: dict[str, Any] = _bare(Draft.model_json_schema())
    return bare


def schema_text() -> str:
    """The schema as it counts in a request."""
    return json.dumps(schema(), sort_keys=True, ensure_ascii=False)


def read_draft(text: str) -> Draft:
    """Read a model's answer; fences around it are forgiven, surplus statements are dropped.

    Raises:
        AnswerUnusable: no JSON, or not of the schema; says where.

    """
    try:
        found = Draft.model_validate_json(_unfenced(text))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole answer"
        raise AnswerUnusable(f"The answer is no report of the asked form: {where}: {first['msg']}.") from error
    if not found.headline.text.strip():
        raise AnswerUnusable("The answer is no report of the asked form: its headline is empty.")
    return found.model_copy(
        update={
            "happened": found.happened[:MOST_STATEMENTS],
            "places": tuple(dict.fromkeys(found.places))[:MOST_STATEMENTS],
            "check_first": found.check_first[:MOST_STATEMENTS],
        }
    )


def _unfenced(text: str) -> str:
    bare = text.strip()
    if bare.startswith("```") and bare.endswith("```"):
        bare = bare.removesuffix("```").partition("\n")[2]
    return bare


def _bare(part: Any, *, named: bool = False) -> Any:
    """Without ``title`` and ``description``, except where these are names of properties."""
    if isinstance(part, dict):
        kept = part if named else {key: value for key, value in part.items() if key not in {"title", "description"}}
        return {key: _bare(value, named=key in {"properties", "$defs"}) for key, value in kept.items()}
    return [_bare(one) for one in part] if isinstance(part, list) else part
