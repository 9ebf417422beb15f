"""Shapes of lists: what may be asked, and what one entry tells. ``GET`` of a single thing tells more."""

from __future__ import annotations

from datetime import date
from typing import Any
from uuid import UUID

from pydantic import Field

from api.cursors import Instant, Listed, PageQuery, RowId
from api.schemas import Answer, CostsAnswer, Dollars, EngineAnswer, FindingAnswer, Name, Utc, WindowAnswer
from gistline.domain import DeadLetterKind, DeadLetterResolution, FrameState, PassportVerdict, VerdictKind
from gistline.domain_accuracy import Advice, ReviewKind, ReviewVerdict
from gistline.storage.lists import FrameFilter, Period
from gistline.storage.sight import Lines
from gistline.storage.tables import WindowState


class LineQuery(PageQuery):
    """What belongs to a production line."""

    line: Name | None = Field(None, description="Only this line; one that you may see.")


class PeriodQuery(LineQuery):
    """What also has a time."""

    since: Instant | None = Field(None, description="From this time on (RFC 3339).")
    until: Instant | None = Field(None, description="Before this time (RFC 3339).")

    @property
    def period(self) -> Period:
        """Both ends."""
        return Period(self.since, self.until)


class OnFramesQuery(PeriodQuery):
    """What hangs on frames; ``since`` and ``until`` are when these were accepted."""

    camera: Name | None = Field(None, description="Only this camera.")
    part_number: Name | None = Field(None, description="Only this part.")

    def frames(self, lines: Lines) -> FrameFilter:
        """The filter of the frames."""
        narrowed = {name: getattr(self, name, None) for name in ("camera", "part_number", "state", "verdict", "frame")}
        return FrameFilter(lines, self.period, **narrowed)


class FramesQuery(OnFramesQuery):
    """Which frames."""

    state: FrameState | None = Field(None, description="Only those in this state.")
    verdict: VerdictKind | None = Field(None, description="Only those with this verdict.")


class FindingsQuery(OnFramesQuery):
    """Which findings."""

    frame: UUID | None = Field(None, description="Only those on this frame.")
    verdict: VerdictKind | None = Field(None, description="Only those on frames with this verdict.")
    label: Name | None = Field(None, description="Only this class of defect.")
    min_confidence: float | None = Field(None, ge=0, le=1, description="At least so confident.")
    min_severity: int | None = Field(None, ge=1, le=3, description="At least so grave.")


class VerdictsQuery(OnFramesQuery):
    """Which verdicts."""

    verdict: VerdictKind | None = Field(None, description="Only these.")


class DeadLettersQuery(OnFramesQuery):
    """Which dead letters."""

    kind: DeadLetterKind | None = Field(None, description="Only those given up for this reason.")
    open: bool | None = Field(None, description="Only those that nobody has decided about, or only the others.")


class WindowsQuery(PeriodQuery):
    """Which windows; ``since`` and ``until`` are when they start."""

    state: WindowState | None = Field(None, description="Only those in this state.")


class ReportsQuery(PeriodQuery):
    """Which reports; ``since`` and ``until`` are when they were written."""


class CamerasQuery(LineQuery):
    """Which cameras."""


class CostsQuery(LineQuery):
    """Which costs."""

    days: int = Field(30, ge=1, le=366, description="So many days (UTC), today included.")


class EnginesQuery(PageQuery):
    """Which engines: all of them."""


class PassportsQuery(PageQuery):
    """Which passports."""

    engine: RowId | None = Field(None, description="Only those of this engine.")
    verdict: PassportVerdict | None = Field(None, description="Only these.")


class ReviewsQuery(LineQuery):
    """Which reviews; ``line`` leaves those of whole engines out."""

    kind: ReviewKind | None = Field(None, description="Only what was measured so.")
    verdict: ReviewVerdict | None = Field(None, description="Only these.")
    camera: Name | None = Field(None, description="Only drift of this camera.")


class AuditQuery(PageQuery):
    """Which changes."""

    subject: Name | None = Field(None, description="Only those made to this, such as `camera gate-7`.")
    actor: Name | None = Field(None, description="Only those made by this one, such as `person anna`.")
    action: Name | None = Field(None, description="Only these, such as `camera.rekey`.")


class FrameEntry(Answer):
    """A frame in a list."""

    id: UUID
    frame_key: str
    state: FrameState
    camera: str
    line: str
    part_number: str | None
    verdict: VerdictKind | None
    captured_at: Utc
    accepted_at: Utc
    finished_at: Utc | None


class FindingEntry(FindingAnswer):
    """A finding in a list, with where and when it was seen."""

    camera: str
    line: str
    part_number: str | None
    captured_at: Utc


class VerdictEntry(Answer):
    """A verdict in a list."""

    frame_id: UUID
    camera: str
    line: str
    part_number: str | None
    verdict: VerdictKind
    reason: str
    passport_id: UUID | None
    captured_at: Utc
    decided_at: Utc


class ReportEntry(Answer):
    """A report in a list, without its text."""

    id: UUID
    line: str
    starts_at: Utc
    ends_at: Utc
    writer: str
    model: str
    cost_usd: Dollars
    simulated: bool
    image_usd: Dollars
    created_at: Utc


class CostDay(Answer):
    """Costs of one day (UTC), line and model."""

    day: date
    line: str
    model: str
    costs: CostsAnswer


class CameraEntry(Answer):
    """A camera; frames of a smaller ``priority`` are inspected first, ``keys`` counts those that are good."""

    name: str
    line: str
    priority: int
    keys: int
    created_at: Utc


class EngineEntry(EngineAnswer):
    """A detector as it really ran."""

    id: int
    labels: list[str]
    created_at: Utc


class PassportEntry(Answer):
    """What an engine was measured to be worth on a machine; `GET /v1/passports/{id}` has the evidence."""

    id: UUID
    engine_id: int
    machine: str
    model_sha256: str
    verdict: PassportVerdict
    measured_at: Utc


class PassportAnswer(PassportEntry):
    """A passport, evidence included (docs/passport.md names its parts)."""

    evidence: dict[str, Any]


class ReviewEntry(Answer):
    """A figure of an engine measured again in service (docs/accuracy.md); without one the verdict is `unknown`."""

    id: UUID
    kind: ReviewKind
    engine_id: int
    model: str
    machine: str
    passport_id: UUID | None
    line: str | None
    camera: str | None
    measure: str
    value: float | None
    low: float | None
    high: float | None
    bound: float | None
    sample: int
    verdict: ReviewVerdict
    advice: Advice
    text: str
    evidence: dict[str, Any]
    reviewed_at: Utc


class DeadLetterEntry(Answer):
    """A frame that was given up; ``bytes_stored`` says whether it can be tried again."""

    id: UUID
    frame_id: UUID
    camera: str
    line: str
    kind: DeadLetterKind
    reason: str
    attempts: int
    bytes_stored: bool
    created_at: Utc
    resolution: DeadLetterResolution | None
    resolved_at: Utc | None
    resolved_by: str | None


class AuditEntry(Answer):
    """A change, who made it and when."""

    id: int
    at: Utc
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]


class FrameList(Listed[FrameEntry]):
    """Frames, newest first."""


class FindingList(Listed[FindingEntry]):
    """Findings, those of the newest frame first."""


class VerdictList(Listed[VerdictEntry]):
    """Verdicts, that on the newest frame first."""


class WindowList(Listed[WindowAnswer]):
    """Windows, the latest first."""


class ReportList(Listed[ReportEntry]):
    """Reports, newest first."""


class CameraList(Listed[CameraEntry]):
    """Cameras by name."""


class EngineList(Listed[EngineEntry]):
    """Engines, newest first."""


class PassportList(Listed[PassportEntry]):
    """Passports, newest first."""


class ReviewList(Listed[ReviewEntry]):
    """Reviews, newest first."""


class DeadLetterList(Listed[DeadLetterEntry]):
    """Dead letters, newest first."""


class AuditList(Listed[AuditEntry]):
    """Changes, newest first."""


class CostList(Listed[CostDay]):
    """Costs by day, line and model, newest day first; ``total`` is the sum of all pages."""

    since: date
    total: CostsAnswer
