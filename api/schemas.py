"""Shapes of requests and answers. Sizes are pixels of the image as it was sent, times are UTC, money is exact text."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
)

from gistline.domain import FrameState, Placement, Role, VerdictKind
from gistline.storage.tables import WindowState

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")


_UNSEEN = r"\x00-\x1f\x7f-\xa0\xad\u061c\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff\ufff0-\uffff"
"""Controls, spaces but the plain one, what turns or hides text, and the mark of a wrong character."""
_PRINTABLE = re.compile(rf"[^{_UNSEEN}\ud800-\udfff]*")


def _printable(value: str) -> str:
    if not _PRINTABLE.fullmatch(value):
        raise ValueError("only printable characters of valid UTF-8 are accepted")
    return value


def _rfc3339(value: Any) -> Any:
    if value is None or (isinstance(value, str) and _RFC3339.fullmatch(value)):
        return value
    raise ValueError("write it as in RFC 3339 with a time zone, such as 2027-01-31T13:45:00.250Z")


Name = Annotated[
    str,
    Field(min_length=1, max_length=200, json_schema_extra={"pattern": f"^[^{_UNSEEN}]+$"}),
    AfterValidator(_printable),
]
Typed = Annotated[str, Field(max_length=200), AfterValidator(_printable)]
"""A name in a page's filter, which may be empty."""
Moment = Annotated[AwareDatetime, BeforeValidator(_rfc3339)]
Utc = Annotated[
    datetime,
    PlainSerializer(lambda moment: moment.astimezone(UTC).isoformat().replace("+00:00", "Z"), return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]
Dollars = Annotated[
    Decimal,
    PlainSerializer(lambda amount: format(amount, "f"), return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^-?\d+(\.\d+)?$", "examples": ["0.000408"]}, mode="serialization"),
]


class FrameFields(BaseModel):
    """What a camera may say of an image; unknown names are refused, so that a typo is not silently ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    frame_key: Name | None = Field(None, description="Your name of the frame; repeated with the same bytes it is one.")
    captured_at: Moment | None = Field(None, description="When it was taken (RFC 3339); else when it was accepted.")
    part_number: Name | None = Field(None, description="The part that it shows.")
    line: Name | None = Field(None, description="Production line; refused unless it is the camera's own.")
    deadline_s: int | None = Field(
        None, ge=1, le=604_800, description="Seconds after which the frame expires unless it was inspected."
    )


class Answer(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(from_attributes=True)


class CallerAnswer(Answer):
    """Whoever asks; ``lines`` null sees all of them."""

    kind: str
    name: str
    role: Role
    lines: list[str] | None


class AcceptedFrame(Answer):
    """A frame that is durable now; ``duplicate`` when its key was known."""

    id: UUID
    frame_key: str
    state: FrameState
    duplicate: bool


class AcceptedFrames(Answer):
    """Accepted frames in the order of the images."""

    frames: list[AcceptedFrame]


class VerdictAnswer(Answer):
    """What a sorting gate does with the part."""

    kind: VerdictKind
    reason: str
    passport_id: UUID | None = Field(description="Passport of the engine that looked; null where none did.")
    decided_at: Utc


class EngineAnswer(Answer):
    """The detector as it really ran."""

    model: str
    weights_sha256: str
    runtime: str
    device: str
    precision: str
    convolutions: int
    int8_convolutions: int


class FindingAnswer(Answer):
    """A defect: ``x``, ``y`` is the upper left corner; ``severity`` is 1 (cosmetic) to 3 (the part is lost).

    ``passport_id`` names what the engine was measured to be worth; null where the finding is older than passports.
    """

    id: int
    frame_id: UUID
    passport_id: UUID | None
    label: str
    confidence: float
    severity: int
    x: float
    y: float
    w: float
    h: float


class FrameAnswer(Answer):
    """A frame and what is known of it so far."""

    id: UUID
    frame_key: str
    state: FrameState
    line: str
    part_number: str | None
    media_type: str
    byte_count: int
    width: int
    height: int
    captured_at: Utc
    accepted_at: Utc
    finished_at: Utc | None
    error: str | None
    verdict: VerdictAnswer | None
    engine: EngineAnswer | None
    findings: list[FindingAnswer]


class WindowAnswer(Answer):
    """A stretch of time of a line, and its report once it is written."""

    id: UUID
    line: str
    starts_at: Utc
    ends_at: Utc
    state: WindowState
    report_id: UUID | None


class ReportAnswer(Answer):
    """A written report, what it counts and what it cost beside sending the images."""

    id: UUID
    window: WindowAnswer
    writer: str
    model: str
    body: str
    totals: dict[str, Any]
    placements: dict[Placement, int]
    token_budget: int
    input_tokens: int
    output_tokens: int
    cost_usd: Dollars
    simulated: bool
    image_tokens: int
    image_usd: Dollars
    created_at: Utc


class CostsAnswer(Answer):
    """Sums over reports; ``unknown`` counts attempts that may have been billed without an answer."""

    reports: int
    frames: int
    findings: int
    input_tokens: int
    output_tokens: int
    billed_usd: Dollars
    simulated_usd: Dollars
    unknown: int
    image_tokens: int
    image_usd: Dollars
    saving_usd: Dollars


class DecisionAnswer(Answer):
    """What was decided about a frame that had been given up."""

    frame_id: UUID
    decision: Literal["retried", "discarded"]
