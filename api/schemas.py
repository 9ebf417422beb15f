"""Shapes of requests and answers. Sizes are pixels of the image as it was sent, times are UTC, money is exact text."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from gistline.domain import FrameState, Placement, Role, VerdictKind
from gistline.storage.tables import WindowState

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")


def _printable(value: str) -> str:
    if not value.isprintable() or "\N{REPLACEMENT CHARACTER}" in value:
        raise ValueError("only printable characters of valid UTF-8 are accepted")
    return value


def _rfc3339(value: Any) -> Any:
    if value is None or (isinstance(value, str) and _RFC3339.fullmatch(value)):
        return value
    raise ValueError("write it as in RFC 3339 with a time zone, such as 2027-01-31T13:45:00.250Z")


Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
Moment = Annotated[AwareDatetime, BeforeValidator(_rfc3339)]
Utc = Annotated[datetime, PlainSerializer(lambda moment: moment.astimezone(UTC).isoformat().replace("+00:00", "Z"))]
Dollars = Annotated[Decimal, PlainSerializer(lambda amount: format(amount, "f"), return_type=str)]


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


class FindingsAnswer(Answer):
    """Findings, most confident first."""

    findings: list[FindingAnswer]


class WindowAnswer(Answer):
    """A stretch of time of a line, and its report once it is written."""

    window_id: UUID
    line: str
    starts_at: Utc
    ends_at: Utc
    state: WindowState
    report_id: UUID | None


class WindowsAnswer(Answer):
    """Windows, newest first."""

    windows: list[WindowAnswer]


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


class CostDay(Answer):
    """Costs of one day and model."""

    day: date
    model: str
    costs: CostsAnswer


class CostTable(Answer):
    """Costs of a line since a day, newest first, and their sum."""

    line: str
    since: date
    days: list[CostDay]
    total: CostsAnswer
