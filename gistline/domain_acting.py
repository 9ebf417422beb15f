"""The words of what leaves the house: verdicts as a sorting gate hears them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from gistline.domain import VerdictKind


class VerdictSource(StrEnum):
    """Where a gate's verdict came from: an inspection, its failure, or a deadline that passed without either."""

    INSPECTION = "inspection"
    FAILURE = "failure"
    DEADLINE = "deadline"


@dataclass(frozen=True, slots=True)
class GateDecision:
    """What somebody would tell the gate about a frame; it counts if nobody told anything before."""

    frame_id: UUID
    kind: VerdictKind
    reason: str
    source: VerdictSource
    engine_id: int | None = None
    passport_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """The one verdict on a frame that its gate is told, for good.

    ``seq`` counts the verdicts of a camera from 1 on without a gap, in the order of decision. Times are timezone-aware
    UTC: ``captured_at`` by the camera's clock, the others by the database's. ``engine_id`` and ``passport_id`` are None
    when nobody looked.
    """

    seq: int
    kind: VerdictKind
    reason: str
    source: VerdictSource
    camera: str
    line: str
    frame_id: UUID
    frame_key: str
    part_number: str | None
    captured_at: datetime
    accepted_at: datetime
    decided_at: datetime
    engine_id: int | None
    passport_id: UUID | None
